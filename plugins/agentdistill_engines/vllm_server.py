"""vLLM as a server: token ids over HTTP, weights through a folder that both sides see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.clients import EndpointError
from agentdistill.clients.completions import BadReply, CompletionsClient
from agentdistill.clients.server_settings import ServerConfig
from agentdistill.errors import ConfigError, Interruption, TrainingError
from agentdistill_engines.vllm_backend import ADAPTER, Answer, Ask, Draw
from agentdistill_engines.vllm_weights import Folders, write_adapter, write_checkpoint

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill_engines.vllm_config import Way

DEVELOPMENT = "Start the server with VLLM_SERVER_DEV_MODE=1 in its environment; who can reach it can then change it."
ADAPTERS = "Start the server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment."


class Server:
    """A vLLM server, started by the user or by this engine.

    Args:
        config: where it is.
        folder: where weights for it are written; it must see the same path.
        gone: says why the server is no longer there, "" while it is or nobody knows.

    Raises:
        MissingExtraError: the HTTP client is not installed.
        ConfigError: it serves no model, or several and none was named.
        Interruption: it cannot be reached.
    """

    def __init__(self, config: ServerConfig, *, folder: Path, gone: Callable[[], str] = lambda: "") -> None:
        self._client = CompletionsClient(config, _advise)
        self._config, self._gone = config, gone
        self._folders = Folders(folder)
        self.fresh = False
        found = self._call(self._client.get, f"{config.url}/models")
        served = {str(one["id"]): one for one in found.get("data", ())}
        base = [name for name, one in served.items() if not one.get("parent")]
        if (config.model is None and len(base) != 1) or (config.model is not None and config.model not in served):
            raise ConfigError(
                f"The server at {config.url} serves {', '.join(served) or 'no model'}.",
                "engine.model does not name one of them." if config.model else "It is not clear which one to use.",
                "Set engine.model to the name of the student's model there.",
            )
        self._model = config.model or base[0]
        self.context_length = int(served[self._model].get("max_model_len") or 0)
        self.name = f"vllm {self._version()} at {config.url}"

    def sample(self, asks: Sequence[Ask], draw: Draw) -> list[Answer]:
        """One response for each, in order; all of them are under way together, and the server batches them."""
        bodies = [self._body(ask, draw) for ask in asks]

        def read(reply: Mapping[str, Any], number: int) -> Answer:
            return _answer(reply, bodies[number]["prompt"], self._config.url)

        answers = self._call(self._client.complete, bodies, read)
        for answer in answers:
            if isinstance(answer, EndpointError):
                raise self._interrupted(answer) from answer
        return list(answers)

    def _version(self) -> str:
        try:
            return str(self._call(self._client.get, f"{self._config.root}/version").get("version", "?"))
        except EndpointError:  # behind a proxy that passes only the API
            return "?"

    def _body(self, ask: Ask, draw: Draw) -> dict[str, Any]:
        body = {name: value for name, value in draw.body(ask).items() if value is not None}
        prompt = [int(index) for index in ask.prompt]
        return body | {
            "model": self._model,
            "prompt": prompt,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def push(self, model: LoadedModel, way: Way) -> None:
        """Writes the adapter or the whole checkpoint and tells the server to read it."""
        path = self._folders.next(way)
        if way == "adapter":
            write_adapter(model, path)
            body: dict[str, Any] = {"lora_name": ADAPTER, "lora_path": str(path), "load_inplace": True}
            self._call(self._client.post, f"{self._config.url}/load_lora_adapter", body, missing=ADAPTERS, text=True)
            self._model = ADAPTER
            return
        write_checkpoint(model, path)
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(path)}}
        self._call(self._client.post, f"{self._config.root}/collective_rpc", body, missing=DEVELOPMENT)

    def reset(self) -> None:
        """Empties the prefix cache.

        Raises:
            TrainingError: it could not be emptied.
        """
        address = f"{self._config.root}/reset_prefix_cache"
        for attempt in range(20):
            if self._call(self._client.post, address, {}, missing=DEVELOPMENT).get("success", True):
                return
            time.sleep(0.05 * (attempt + 1))  # blocks of requests that have just ended are given back a moment later
        raise TrainingError(
            f"The server at {self._config.url} does not empty its prefix cache.",
            "Requests of somebody else are running there.",
            "Give the student a server of its own.",
        )

    def close(self) -> None:
        """Nothing stays open between two calls."""

    def _call(self, send: Callable[..., Any], *arguments: Any, missing: str = "", text: bool = False) -> Any:
        """One call of the client, its failures told apart: cannot be reached, has no such route, refuses.

        Args:
            send: a method of the client.
            *arguments: for it.
            missing: what to do when the server does not know the route.
            text: the route answers in words that nobody needs.
        """
        try:
            found = send(*arguments)
        except BadReply:
            if text:
                return {}
            raise
        except EndpointError as error:
            if missing and error.status in (403, 404, 405):
                raise ConfigError(
                    f"The server at {self._config.url} takes no new weights.", f"{error.what} {error.why}", missing
                ) from error
            if error.transient and error.status is None:
                raise self._interrupted(error) from error
            raise
        return {} if found == "" else found

    def _interrupted(self, error: EndpointError) -> Interruption:
        why = self._gone() or f"{error.what} {error.why}"
        return Interruption(
            "The student's vLLM server does not answer.", why, "Start it again, and go on with --resume."
        )


def _answer(reply: Mapping[str, Any], prompt: Sequence[int], url: str) -> Answer:
    """Takes one completion apart.

    Raises:
        BadReply: it is cut off, of another shape, or the answer to another prompt.
    """
    try:
        (choice,) = reply["choices"]
        ids = [int(index) for index in choice["token_ids"]]
        said = choice["logprobs"]
        logprobs = [float(value) for value in said["token_logprobs"]]
        top = [
            {int(name.removeprefix("token_id:")): float(value) for name, value in place.items()}
            for place in said["top_logprobs"]
        ]
        finish, echo = str(choice["finish_reason"]), choice["prompt_token_ids"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadReply(
            f"{url} answered without token ids or log-probabilities.",
            f"{type(error).__name__}: {error}. It may be another server than vLLM, or an old one.",
            "Sample from vLLM 0.32 or later.",
        ) from error
    if echo != prompt:
        raise BadReply(
            f"{url} answered another prompt than it was asked.",
            f"It read {len(echo or ())} tokens; {len(prompt)} were sent.",
            "Ask vLLM itself, without a proxy that rewrites or reorders requests.",
        )
    return Answer(ids, logprobs, finish, top)


def _advise(status: int, words: str) -> str | None:
    """What to do about a refusal of vLLM."""
    if status == 400 and "logprob" in words:
        return "Start the server with --max-logprobs 20 or more."
    if status == 500:
        return "Its log says why: weights of another model, for example, do not fit into the served one."
    return None
