"""A vLLM server of the run's own: started by an interpreter that has vLLM, ended with the run however that ends."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentdistill.envs.workers.janitor import Janitor
from agentdistill.errors import ConfigError, MissingExtraError

DEFAULTS: Mapping[str, Any] = {"enable_prefix_caching": True}
LAST = 600
"""Characters of the log's end in an error."""


class Launched:
    """The server's process.

    Args:
        python: an interpreter that has vLLM.
        source: directory or hub id of the model.
        dtype: what vLLM computes in.
        context: most tokens of a row, None for the model's own.
        rank: rank vLLM reserves for an adapter; 0 is none.
        options: command line options of vLLM, with underscores.
        folder: for its log, which is named after its port.
        start_timeout: seconds until it must answer.
        janitor: ends it when the run is killed.

    Attributes:
        url: its address.

    Raises:
        MissingExtraError: that interpreter has no vLLM.
        ConfigError: it does not start.
    """

    def __init__(
        self,
        python: str,
        source: str,
        *,
        dtype: str,
        context: int | None,
        rank: int,
        options: Mapping[str, Any],
        folder: Path,
        start_timeout: float,
        janitor: Janitor,
    ) -> None:
        _require_vllm(python)
        self._janitor = janitor
        port = _free_port()
        self.log = folder / f"vllm-{port}.log"
        self.url = f"http://127.0.0.1:{port}/v1"
        given: dict[str, Any] = {
            "model": source,
            "host": "127.0.0.1",
            "port": port,
            "served_model_name": "student",
            "dtype": dtype,
            "seed": 0,
            "logprobs_mode": "raw_logprobs",
            "generation_config": "vllm",
            **DEFAULTS,
            **options,
        }
        if context is not None:
            given["max_model_len"] = context
        if rank:
            given |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
        environment = {
            **os.environ,
            "VLLM_SERVER_DEV_MODE": "1",  # weights are reloaded and caches emptied over HTTP
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        }
        command = [python, "-m", "vllm.entrypoints.openai.api_server", *flags(given)]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        janitor.watch(self._process.pid)
        atexit.register(self.stop)
        try:
            self._wait(start_timeout)
        except BaseException:
            self.stop()
            raise

    def gone(self) -> str:
        """Why the server is no longer there; "" while it is."""
        code = self._process.poll()
        return "" if code is None else f"Its process ended with code {code}: {self._tail()}"

    def stop(self) -> None:
        """Ends the process and all of its own."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # workers that outlived it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._janitor.forget(self._process.pid)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if why := self.gone():
                raise ConfigError(
                    "The vLLM server does not start.",
                    why,
                    "Its options are under engine.options; less memory is taken with a smaller engine.max_context, "
                    "options.gpu_memory_utilization, or on a CPU a smaller VLLM_CPU_KVCACHE_SPACE.",
                )
            try:
                with urllib.request.urlopen(self.url.removesuffix("/v1") + "/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise ConfigError(
            f"The vLLM server did not answer within {seconds:g} s.",
            f"Its log ends with: {self._tail()}",
            "Raise engine.start_timeout, or start the server yourself and give its engine.url.",
        )

    def _tail(self) -> str:
        if not self.log.is_file():
            return "its log is gone."
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line and "Traceback" not in line]
        return " ".join(" ".join((errors or lines)[-3:]).split())[-LAST:]


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options as vLLM's command line takes them: {"max_num_seqs": 8} is `--max-num-seqs 8`."""
    words: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, Mapping | list):
            words += [f"--{name}", json.dumps(value)]
        elif value is not None:
            words += [f"--{name}", str(value)]
    return words


def _require_vllm(python: str) -> None:
    look = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('vllm') else 3)"
    try:
        code = subprocess.run([python, "-c", look], capture_output=True, timeout=60, check=False).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"`engine.python` is {python!r}, which cannot be run.", f"{error}.", "Give a Python that has vLLM."
        ) from error
    if code:
        raise MissingExtraError(
            f"The interpreter `{python}` has no vLLM.",
            "It comes with the optional extra `vllm`.",
            "Install it there with: pip install 'agentdistill[vllm]'",
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
