"""vLLM as a server: token ids over HTTP, weights through a folder that both sides see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import ConfigError, Interruption, TrainingError, import_extra
from agentdistill_engines.vllm_backend import ADAPTER, Answer, Ask, Draw
from agentdistill_engines.vllm_weights import Folders, write_adapter, write_checkpoint

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill_engines.vllm_config import Way

TRIES, FIRST_WAIT = 5, 0.5
"""Attempts at a request whose connection breaks, and seconds before the second one; doubled each time."""

WORDS = 400
"""Most characters of a server's own words in an error."""


class Server:
    """A vLLM server, started by the user or by this engine.

    Args:
        url: its address, ending in /v1.
        folder: where weights for it are written; it must see the same path.
        model: name of the served model; None takes the only one.
        key: sent as a bearer token, "" for none.
        concurrency: most requests under way.
        timeout: seconds a request may take.
        alive: says why the server is gone, "" while it is there.

    Raises:
        MissingExtraError: the HTTP client is not installed.
        ConfigError: it serves no model, or several and none was named.
        Interruption: it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        folder: Path,
        model: str | None = None,
        key: str = "",
        concurrency: int = 128,
        timeout: float = 600.0,
        alive: Callable[[], str] = lambda: "",
    ) -> None:
        self._http: Any = import_extra("httpx2", "api", "The engine `vllm` with a server")
        self._url, self._root = url, url.rstrip("/").removesuffix("/v1")
        self._alive = alive
        self._client: Any = self._http.Client(
            timeout=timeout,
            headers={"authorization": f"Bearer {key}"} if key else {},
            limits=self._http.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        )
        self._pool = ThreadPoolExecutor(concurrency, "agentdistill-vllm")
        self._cancelled = threading.Event()
        self._folders = Folders(folder)
        self.fresh = False
        served = {str(one["id"]): one for one in self._call("GET", "/v1/models").get("data", ())}
        base = [name for name, one in served.items() if not one.get("parent")]
        if (model is None and len(base) != 1) or (model is not None and model not in served):
            raise ConfigError(
                f"The server at {url} serves {', '.join(served) or 'no model'}.",
                "engine.model does not name one of them." if model else "It is not clear which one to use.",
                "Set engine.model to the name of the student's model there.",
            )
        self._model = model or base[0]
        self.context_length = int(served[self._model].get("max_model_len") or 0)
        version = self._call("GET", "/version").get("version", "")
        self.name = f"vllm {version} at {url}".replace("  ", " ")

    def sample(self, asks: Sequence[Ask], draw: Draw) -> list[Answer]:
        """One response for each, in order; all of them are under way together, and the server batches them."""
        self._cancelled.clear()
        waiting = [self._pool.submit(self._one, ask, draw) for ask in asks]
        try:
            return [one.result() for one in waiting]
        except BaseException:
            self._cancelled.set()
            for one in waiting:
                one.cancel()
            raise

    def _one(self, ask: Ask, draw: Draw) -> Answer:
        prompt = [int(index) for index in ask.prompt]
        body = {name: value for name, value in draw.body(ask).items() if value is not None}
        body |= {"model": self._model, "prompt": prompt, "return_token_ids": True, "return_tokens_as_token_ids": True}
        reply = self._call("POST", "/v1/completions", body)
        try:
            (choice,) = reply["choices"]
            ids, said = choice["token_ids"], choice["logprobs"]
            echo = choice.get("prompt_token_ids")
            logprobs = [float(value) for value in said["token_logprobs"]]
            top = [
                {int(name.removeprefix("token_id:")): float(value) for name, value in place.items()}
                for place in said["top_logprobs"]
            ]
            finish = str(choice["finish_reason"])
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"The server at {self._url} answered without token ids or log-probabilities.",
                f"{type(error).__name__}: {error}. It may be no vLLM, or one before 0.10.",
                "Sample from vLLM 0.32 or later.",
            ) from error
        if echo != prompt:
            raise TrainingError(
                f"The server at {self._url} answered another prompt than it was asked.",
                f"It read {len(echo or ())} tokens, {len(prompt)} were sent.",
                "Ask vLLM itself, without a proxy that rewrites or reorders requests.",
            )
        return Answer([int(index) for index in ids], logprobs, finish, top)

    def push(self, model: LoadedModel, way: Way) -> None:
        """Writes the adapter or the whole checkpoint and tells the server to read it."""
        path = self._folders.next(way)
        if way == "adapter":
            write_adapter(model, path)
            body = {"lora_name": ADAPTER, "lora_path": str(path), "load_inplace": True}
            self._call(
                "POST",
                "/v1/load_lora_adapter",
                body,
                missing="Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and --enable-lora.",
            )
            self._model = ADAPTER
            return
        write_checkpoint(model, path)
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(path)}}
        self._call("POST", "/collective_rpc", body, missing="Start it with VLLM_SERVER_DEV_MODE=1 in its environment.")

    def reset(self) -> None:
        """Empties the prefix cache.

        Raises:
            TrainingError: it could not be emptied.
        """
        flag = "Start it with VLLM_SERVER_DEV_MODE=1 in its environment."
        for attempt in range(20):
            if self._call("POST", "/reset_prefix_cache", missing=flag).get("success", True):
                return
            time.sleep(0.05 * (attempt + 1))  # blocks of requests that have just ended are given back a moment later
        raise TrainingError(
            f"The server at {self._url} does not empty its prefix cache.",
            "Requests of somebody else are running there.",
            "Give the student a server of its own.",
        )

    def close(self) -> None:
        """Lets go of the connections."""
        self._cancelled.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, missing: str = ""
    ) -> Mapping[str, Any]:
        """One request; a broken connection is tried again, since seeds make a repeated request the same one."""
        for attempt in range(1, TRIES + 1):
            try:
                reply = self._client.request(method, self._root + path, json=body)
                break
            except self._http.HTTPError as error:
                gone = self._alive()
                if attempt == TRIES or gone or self._cancelled.is_set():
                    raise Interruption(
                        f"The vLLM server at {self._url} does not answer.",
                        gone or f"{type(error).__name__}: {error}.",
                        "Start it again and go on with --resume.",
                    ) from error
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
        if reply.status_code == 200:
            try:
                found: Any = reply.json()
            except ValueError:
                found = {}
            return found if isinstance(found, Mapping) else {}
        words = " ".join(reply.text.split())[:WORDS]
        if reply.status_code in (403, 404, 405) and missing:
            raise ConfigError(f"The server at {self._url} has no route {path}.", f"It says: {words}", missing)
        raise TrainingError(
            f"The vLLM server at {self._url} refused {path} with status {reply.status_code}.",
            f"It says: {words}",
            "Its log says more; a request that does not fit its context or its weights is refused this way.",
        )
