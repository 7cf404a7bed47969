"""A completions server on a real socket, with vLLM 0.32's JSON: a tiny real model scores, and it fails on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from serving import Handler, Served, serving

Fault = Callable[[dict[str, Any]], Any]
"""Makes another answer from the right one: a changed JSON value, `(status, words)`, raw bytes, or None to hang up."""


@dataclass
class ScoringServer(Served):
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
    on_completion: Callable[[ScoringServer], None] | None = None

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
        with self.lock, torch.no_grad():
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

    class Scoring(Handler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(self.body())

        def _answer(self, body: dict[str, Any]) -> None:
            value = None if state.down else self._value(body)
            if value is None:
                self.hang_up()
                return
            status = 200
            if isinstance(value, tuple):
                status, words = value
                value = {"error": {"message": words, "type": "BadRequestError", "param": None, "code": status}}
            self.reply(value if isinstance(value, bytes) else json.dumps(value).encode(), status)

        def _value(self, body: dict[str, Any]) -> Any:
            if self.path != "/v1/completions":
                return state.other(self.path, body)
            with state.counted():
                with state.lock:
                    state.bodies.append(body)
                    fault = state.faults.pop(0) if state.faults else None
                if state.on_completion is not None:
                    state.on_completion(state)
                if state.down:
                    return None
                time.sleep(state.wait)
                value = state.completion(body)
                return value if fault is None else fault(value)

    with serving(state, Scoring):
        yield state
