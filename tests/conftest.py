"""Shared fixtures. One torch thread per process: the suite's timings and bit-equality tests depend on it."""

from __future__ import annotations

import gc
import os
import signal
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

torch.set_num_threads(1)

# A shell that runs the tests in the background ignores Ctrl-C for all its children; some tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


def _real_games_archive() -> Path:
    """The archive of real games: beside the checkout, or where AGENTDISTILL_TEST_DATA points."""
    configured = os.environ.get("AGENTDISTILL_TEST_DATA")
    return Path(configured) if configured else REPOSITORY.parent / "shared" / "data" / "alfworld" / "json_2.1.1.tar.xz"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many slow tests come first: no process is left alone with one of them when the others are done.

    Raises:
        pytest.UsageError: a test of the real server lies where scripts/test does not look for it.
    """
    elsewhere = [item for item in items if item.get_closest_marker("vllm") and item.path.parent.name != "vllm"]
    if elsewhere:
        raise pytest.UsageError(f"tests of the real server belong in tests/vllm: {elsewhere[0].nodeid}")
    every = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -every[item.path]))


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """What lives between two files is not looked at again: tests that collect garbage would see every import."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def alfworld_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `$ALFWORLD_DATA` names it, holding real games."""
    archive = _real_games_archive()
    if not archive.is_file():
        pytest.fail(
            f"the real ALFWorld games are needed for this test: {archive} is missing; set AGENTDISTILL_TEST_DATA"
        )
    target = tmp_path_factory.mktemp("alfworld_data")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return target


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder() -> Iterator[None]:
    """A temporary folder for each of several test processes: some tests look whether anything was left there."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        yield
        return
    # A short name: sockets lie in it.
    with (
        tempfile.TemporaryDirectory(prefix=worker, ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        Path(folder).chmod(0o755)
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder that starts empty and that no user shares."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTDISTILL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three tiny models that nobody may change: `student`, `teacher` and `third`."""
    from tiny_runs import save_models

    return save_models(tmp_path_factory.mktemp("models"), student=1, teacher=2, third=3)
