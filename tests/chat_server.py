"""A real chat endpoint on a real socket, that answers what a test says and fails how a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """A scripted reply as it is: status, body, headers, after a pause; `drop` cuts the connection instead."""

    status: int = 200
    body: bytes | str = b""
    wait: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    trickle: float = 0.0


@dataclass
class ChatServer:
    """What a running server saw, and what it will say.

    Attributes:
        answer: text for a request body, when no scripted reply is left.
        script: replies used up one by one, before `answer` is asked.
        requests: (path, headers, body) of every request.
        most_at_once: the largest number of requests under way together.
        wait: seconds every answer takes.
        models: names that it lists.
    """

    answer: Callable[[dict[str, Any]], str | dict[str, Any]] = lambda body: "ok"
    script: list[Any] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    most_at_once: int = 0
    wait: float = 0.0
    models: tuple[str, ...] = ("the-model",)
    url: str = ""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def prompts(self) -> list[str]:
        """The last message of every request."""
        return [body["messages"][-1]["content"] for _, _, body in self.requests]


def completion(text: str, body: dict[str, Any], finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion as vLLM sends it; a token is a word."""
    prompt = sum(len(m["content"].split()) for m in body["messages"])
    written = len(text.split())
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
    }


@contextmanager
def chat_server(
    answer: Callable[[dict[str, Any]], str | dict[str, Any]] | str = "ok", script: Sequence[Any] = (), wait: float = 0.0
) -> Iterator[ChatServer]:
    """Runs a server on a free port of this machine until the block ends."""
    state = ChatServer(script=list(script), wait=wait)
    state.answer = (lambda body: answer) if isinstance(answer, str) else answer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            found = self.path.endswith("/models")
            data = json.dumps({"data": [{"id": name} for name in state.models]} if found else {}).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            with state._lock:
                state._now += 1
                state.most_at_once = max(state.most_at_once, state._now)
            try:
                self._reply()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with state._lock:
                    state._now -= 1

        def _reply(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state._lock:
                state.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                reply = state.script.pop(0) if state.script else state.answer(body)
            time.sleep(state.wait)
            if not isinstance(reply, Fault):
                reply = Fault(body=json.dumps(reply if isinstance(reply, dict) else completion(reply, body)))
            time.sleep(reply.wait)
            if reply.drop:
                self.close_connection = True
                self.connection.close()
                return
            data = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.trickle:
                for place in range(len(data)):
                    self.wfile.write(data[place : place + 1])
                    self.wfile.flush()
                    time.sleep(reply.trickle)
            else:
                self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
