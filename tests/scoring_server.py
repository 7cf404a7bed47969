"""A completions server on a real socket, with vLLM 0.32's JSON: a tiny real model scores, and it fails on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

Fault = Callable[[dict[str, Any]], Any]
"""Makes another answer from the right one: a changed JSON value, `(status, words)`, raw bytes, or None to hang up."""


@dataclass
class ScoringServer:
    """What a running server is, was asked, and how it fails.

    Attributes:
        model: scores.
        tokenizer: answers /tokenize and /detokenize; None has none, as with --skip-tokenizer-init.
        name: what the model is served under.
        root: what it says it was loaded from.
        limit: its --max-model-len.
        max_logprobs: its --max-logprobs.
        faults: used up one by one by completions.
        down: hangs up on everybody.
        wait: seconds every completion takes.
        bodies: bodies of the completions it answered or failed.
        most_at_once: largest number of completions under way together.
        on_completion: called before each completion.
    """

    model: Any
    tokenizer: Any
    name: str = "tiny"
    root: str = "models/tiny"
    limit: int = 4096
    max_logprobs: int = 20
    faults: list[Fault] = field(default_factory=list)
    down: bool = False
    wait: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    on_completion: Callable[[ScoringServer], None] | None = None
    url: str = ""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def completion(self, body: dict[str, Any]) -> Any:
        """The answer to a completion, or (status, words)."""
        ids, k = body["prompt"], body["prompt_logprobs"]
        if body["model"] != self.name:
            return 404, f"The model `{body['model']}` does not exist. Valid aliases: {self.name}."
        if k > self.max_logprobs:
            return 400, (
                f"Requested prompt logprobs of {k}, which is greater than max allowed: {self.max_logprobs} "
                f"(parameter=prompt_logprobs, value={k})"
            )
        if len(ids) >= self.limit:
            return 400, "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"
        with self._lock, torch.no_grad():
            logits = self.model(input_ids=torch.tensor([ids])).logits[0]
        entries: list[Any] = [None]
        for line, token in zip(logits[:-1].log_softmax(-1), ids[1:], strict=True):
            own = float(line[token])
            entry = {str(token): {"logprob": own, "rank": int((line >= own).sum()), "decoded_token": "?"}}
            best = line.topk(k)
            for rank, (index, value) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True), 1):
                entry[str(index)] = {"logprob": value, "rank": rank, "decoded_token": "?"}
            entries.append(entry)
        usage = {"prompt_tokens": len(ids), "total_tokens": len(ids) + 1, "completion_tokens": 1}
        choice = {
            "index": 0, "text": "?", "logprobs": None, "finish_reason": "length", "stop_reason": None,
            "token_ids": [5], "prompt_logprobs": entries, "prompt_token_ids": ids, "routed_experts": None,
        }  # fmt: skip
        return {"id": "cmpl-1", "object": "text_completion", "model": self.name, "choices": [choice], "usage": usage}

    def other(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to anything else."""
        if path == "/health":
            return b""
        if path == "/v1/models":
            card = {"id": self.name, "object": "model", "root": self.root, "parent": None, "max_model_len": self.limit}
            return {"object": "list", "data": [card]}
        if path in ("/tokenize", "/detokenize"):
            if self.tokenizer is None:
                return 400, "Tokenizer not available when `skip_tokenizer_init=True`"
            if path == "/detokenize":
                return {"prompt": self.tokenizer.decode(body["tokens"])}
            if "messages" in body:
                options = {"add_generation_prompt": body["add_generation_prompt"], "return_dict": False}
                ids = self.tokenizer.apply_chat_template(body["messages"], **options)
            else:
                ids = self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
            return {"count": len(ids), "max_model_len": self.limit, "tokens": list(ids), "token_strs": None}
        return 404, "Not Found"


@contextmanager
def scoring_server(model: Any, tokenizer: Any, **settings: Any) -> Iterator[ScoringServer]:
    """Runs a server on a free port of this machine until the block ends."""
    state = ScoringServer(model, tokenizer, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            try:
                value = None if state.down else self._value(body)
                self._send(value)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _value(self, body: dict[str, Any]) -> Any:
            if self.path != "/v1/completions":
                return state.other(self.path, body)
            with state._lock:
                state._now += 1
                state.most_at_once = max(state.most_at_once, state._now)
                state.bodies.append(body)
                fault = state.faults.pop(0) if state.faults else None
            try:
                if state.on_completion is not None:
                    state.on_completion(state)
                if state.down:
                    return None
                time.sleep(state.wait)
                value = state.completion(body)
                return value if fault is None else fault(value)
            finally:
                with state._lock:
                    state._now -= 1

        def _send(self, value: Any) -> None:
            if value is None:
                self.close_connection = True
                self.connection.close()
                return
            status = 200
            if isinstance(value, tuple):
                status, words = value
                value = {"error": {"message": words, "type": "BadRequestError", "param": None, "code": status}}
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
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
