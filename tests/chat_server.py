"""A real chat endpoint on a real socket, that answers what a test says and fails how a test says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serving import Handler, Served, serving


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
class ChatServer(Served):
    """What a running server saw, and what it will say.

    Attributes:
        answer: text for a request body, when no scripted reply is left.
        script: replies used up one by one, before `answer` is asked.
        requests: (path, headers, body) of every request.
        wait: seconds every answer takes.
        models: names that it lists.
    """

    answer: Callable[[dict[str, Any]], str | dict[str, Any]] = lambda body: "ok"
    script: list[Any] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    wait: float = 0.0
    models: tuple[str, ...] = ("the-model",)

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

    class Chat(Handler):
        def do_GET(self) -> None:
            found = self.path.endswith("/models")
            listed = {"data": [{"id": name} for name in state.models]} if found else {}
            self.reply(json.dumps(listed).encode(), 200 if found else 404)

        def do_POST(self) -> None:
            with state.counted():
                body = self.body()
                with state.lock:
                    state.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    said = state.script.pop(0) if state.script else state.answer(body)
                time.sleep(state.wait)
                if not isinstance(said, Fault):
                    said = Fault(body=json.dumps(said if isinstance(said, dict) else completion(said, body)))
                time.sleep(said.wait)
                if said.drop:
                    self.hang_up()
                    return
                data = said.body.encode() if isinstance(said.body, str) else said.body
                self.reply(data, said.status, said.headers, said.trickle)

    with serving(state, Chat):
        yield state
