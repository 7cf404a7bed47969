"""Servers on real sockets for tests: how one starts, reads, sends and ends. What it says is its handler's."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """What is known of every running server.

    Attributes:
        url: base address of its API.
        most_at_once: largest number of counted requests under way together.
        lock: held by whoever changes what is here.
    """

    url: str = field(default="", init=False)
    most_at_once: int = field(default=0, init=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _now: int = field(default=0, init=False, repr=False)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts a request while it is under way."""
        with self.lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self.lock:
                self._now -= 1


class Handler(BaseHTTPRequestHandler):
    """Reads JSON and sends bytes, over connections that stay open."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def body(self) -> dict[str, Any]:
        """What was posted."""
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        return found

    def reply(
        self, data: bytes, status: int = 200, headers: Mapping[str, str] | None = None, trickle: float = 0.0
    ) -> None:
        """Sends an answer; with `trickle`, byte by byte with so many seconds after each."""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        for piece in (data[n : n + 1] for n in range(len(data))) if trickle else (data,):
            self.wfile.write(piece)
            time.sleep(trickle)

    def hang_up(self) -> None:
        """Cuts the connection instead of answering."""
        self.close_connection = True
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may go away, a handler may not fail
            super().handle_error(request, client_address)


@contextmanager
def serving(state: Served, handler: type[Handler]) -> Iterator[None]:
    """Serves on a free port of this machine, which `state.url` names, until the block ends."""
    server = _Server(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
