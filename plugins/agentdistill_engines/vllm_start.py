"""Gets the vLLM that the options ask for: in this process, at an address, or as a server of the run's own."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from agentdistill.clients.server_settings import ServerConfig
from agentdistill.envs.workers.janitor import Janitor
from agentdistill.errors import ConfigError
from agentdistill_engines.vllm_config import VllmConfig, adapter_rank
from agentdistill_engines.vllm_weights import write_checkpoint

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill_engines.vllm_backend import Backend

_TAKEN: set[str] = set()
"""Addresses of servers whose weights an engine of this process hands over."""


def start(config: VllmConfig, model: LoadedModel, cleanup: ExitStack) -> Backend:
    """Starts vLLM, or connects to it.

    Args:
        config: options.
        model: the student.
        cleanup: gets what must be undone when the engine is closed.

    Raises:
        MissingExtraError: vLLM, or the HTTP client for a server, is not installed.
        ConfigError: vLLM does not start, or serves something else.
        Interruption: the server cannot be reached.
    """
    if config.url is not None:
        from agentdistill_engines.vllm_server import Server

        if config.sync != "off":
            _take(config.url, cleanup)
        return Server(_at(config, config.url), folder=_folder(config, cleanup))
    dtype = config.dtype or str(model.model.dtype).removeprefix("torch.")
    rank = adapter_rank(model) if config.way(model) == "adapter" else 0
    if config.python is not None:
        return _own_server(config, model, dtype, rank, cleanup)
    from agentdistill_engines.vllm_inprocess import InProcess

    folder = _folder(config, cleanup)
    source, fresh = source_of(model, folder / "start")
    local = InProcess(
        source, fresh=fresh, dtype=dtype, context=config.max_context, rank=rank, folder=folder, options=config.options
    )
    cleanup.callback(local.close)
    return local


def _take(url: str, cleanup: ExitStack) -> None:
    """Keeps a server for one engine of this process: two that hand over weights would undo each other.

    Raises:
        ConfigError: it is taken.
    """
    if url in _TAKEN:
        raise ConfigError(
            f"Two models of this run would be put on the one server at {url}.",
            "The engine is used twice, for a guide of the curriculum for example, and each hands over its weights.",
            "Set engine.python, so that each gets a server of its own, or let vLLM run in this process.",
        )
    _TAKEN.add(url)
    cleanup.callback(_TAKEN.discard, url)


def _own_server(config: VllmConfig, model: LoadedModel, dtype: str, rank: int, cleanup: ExitStack) -> Backend:
    from agentdistill_engines.vllm_launch import Launched
    from agentdistill_engines.vllm_server import Server

    janitor = Janitor()
    cleanup.callback(janitor.close)
    folder = Path(config.folder) if config.folder else janitor.directory
    source, fresh = source_of(model, folder / "start")
    launched = Launched(
        str(config.python),
        source,
        dtype=dtype,
        context=config.max_context,
        rank=rank,
        options=config.options,
        folder=folder,
        start_timeout=config.start_timeout,
        janitor=janitor,
    )
    cleanup.callback(launched.stop)
    server = Server(_at(config, launched.url), folder=folder, gone=launched.gone)
    server.fresh = fresh
    return server


def _at(config: VllmConfig, url: str) -> ServerConfig:
    shared = {name: getattr(config, name) for name in ("model", "key_variable", "concurrency", "timeout", "retries")}
    return ServerConfig(url=url, **shared)


def _folder(config: VllmConfig, cleanup: ExitStack) -> Path:
    if config.folder is not None:
        return Path(config.folder)
    return Path(cleanup.enter_context(TemporaryDirectory(prefix="agentdistill-vllm-", ignore_cleanup_errors=True)))


def source_of(model: LoadedModel, folder: Path) -> tuple[str, bool]:
    """Where vLLM can read the student from, and whether what lies there is the student to the last bit.

    Args:
        model: the student.
        folder: where to write it when it lies nowhere.
    """
    from agentdistill.models import fingerprint

    inner = model.model.get_base_model() if hasattr(model.model, "get_base_model") else model.model
    known = str(getattr(inner.config, "_name_or_path", "") or "")
    if model.path is None and (not known or (known.startswith(("/", ".")) and not Path(known).is_dir())):
        if folder.exists():  # of a run that was killed
            shutil.rmtree(folder)
        write_checkpoint(model, folder, whole=True)
        return str(folder), True
    same = fingerprint(model.model, model.tokenizer) == model.fingerprint
    return str(model.path or known), same
