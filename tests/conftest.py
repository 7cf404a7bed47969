"""Shared fixtures. One torch thread per process: the suite's timings and bit-equality tests depend on it."""

from __future__ import annotations

import os
import signal
import tarfile
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
