"""Engine `vllm`: sampling by vLLM, in this process or as a server, with the learner's weights after every update.

Token ids in, token ids out; nothing is tokenised on the way. Every sampling parameter is named in the request, because
what is left out would come from the model's generation config; the stop ids are those of the run's chat template and
no others, and a response that ends elsewhere stops the run. Log-probabilities are those of the sampled tokens at
temperature 1, before top_p and before any restriction; the learner logs how far its own are from them in every step
(`gap/logprob_mean`, `gap/logprob_max`), and the surrogate `truncated` bounds what a difference can do.

After every optimiser step the weights are handed over, the prefix cache is emptied, and a probe is made: vLLM reads a
fixed sequence of 300 tokens through its cache, and its twenty most likely next tokens must have the log-probabilities
that the learner gives them. The run stops where they part by more than ten times what they did at the start, or by
a quarter of what the learner has just moved; so an update that did not arrive, a tied output layer that was left out
and keys and values of older weights are found in steps of 1e-5 and more in every weight (float32). In 16-bit arithmetic
smaller steps hide behind rounding; there an answer that is the last one digit for digit, while the learner's moved
visibly, stops the run, and what stays behind is found once it is larger than rounding.

How weights get there: in this process as an iterator of tensors; to a server as a checkpoint in a folder that both see
(`/collective_rpc` `reload_weights`), or as an adapter loaded in place under a new path (`/v1/load_lora_adapter`). A
checkpoint names the output layer of a tied model too: without it vLLM keeps the old one, and says so in its log only.

Defaults: prefix caching on, `logprobs_mode = "raw_logprobs"`, 40% of a GPU that the learner uses as well. Seeds belong
to requests, so that a response does not depend on what else is in the batch, up to rounding: batches of other sizes
round differently, and two tokens that are that close may change places. A server's batches depend on timing.

The differences between the arithmetic of the two sides, and truncated weights against them: TIS (flash-rl), arXiv
2506.13585 for the bounded weight without a clip.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import ConfigError, TrainingError
from agentdistill_engines.vllm_backend import Answer, Ask, Backend, Draw
from agentdistill_engines.vllm_config import VllmConfig, Way
from agentdistill_engines.vllm_constrained import constrained
from agentdistill_engines.vllm_probe import TOP, Gap, Probe
from agentdistill_engines.vllm_start import start

__all__ = ["VllmConfig", "VllmEngine"]

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill.records import Trajectory


class VllmEngine:
    """Samples with vLLM. Weights are handed over at the start and after every optimiser step, and each time probed.

    Args:
        config: options.
        model: the student.

    Raises:
        MissingExtraError: vLLM, or the HTTP client for a server, is not installed.
        ConfigError: vLLM does not start, or an option does not fit the student.
        TrainingError: vLLM serves other weights than the student's.
    """

    capabilities: frozenset[str] = frozenset({"top_ids"})

    def __init__(self, config: VllmConfig, model: LoadedModel) -> None:
        self._model = model
        self._way: Way = config.way(model)
        self._numbers: dict[str, float] = {}
        self._tokens = 0
        self._cleanup = ExitStack()
        try:
            self._backend: Backend = start(config, model, self._cleanup)
            self._context = _context(self._backend.context_length, config.max_context)
            self._probe = Probe(model, self._context, config.tolerance)
            if self._way != "off" and not (self._backend.fresh and self._way == "weights"):
                self._backend.push(model, self._way)
                self._backend.reset()
            self._judge("at the start" + (", with sync = off" if self._way == "off" else ""))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def available() -> bool:
        """Whether vLLM can be imported here; nothing is imported to find out."""
        import importlib.util

        return importlib.util.find_spec("vllm") is not None

    @property
    def context_length(self) -> int:
        """Most tokens of a row, prompt and response together."""
        return self._context

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """Samples one response for each request; results are in the order of the requests.

        Raises:
            ConfigError: entropies were asked for, which vLLM does not report.
            TrainingError: an answer does not hold what was asked for.
            Interruption: the server does not answer.
        """
        if sampling.entropy:
            raise ConfigError(
                "vLLM does not report the entropy of a sampled token's distribution.", "", 'Use engine.type = "hf".'
            )
        draw = Draw(sampling.temperature, sampling.top_p, tuple(sampling.stop_ids), sampling.top_k)
        results: list[Generation | None] = [None] * len(requests)
        free: list[int] = []
        bound: list[int] = []
        for index, request in enumerate(requests):
            if len(request.prompt) + 1 > self._context:
                results[index] = Generation([], [], "context")
            else:
                (free if request.allowed is None else bound).append(index)
        asks = [self._ask(requests[index], sampling) for index in free]
        for index, ask, answer in zip(free, asks, self._backend.sample(asks, draw) if asks else (), strict=True):
            results[index] = _generation(answer, ask, draw)
        if bound:
            answers = constrained(self._backend, [requests[index] for index in bound], draw, self._context, sampling)
            for index, generation in zip(bound, answers, strict=True):
                results[index] = generation
        found = [generation for generation in results if generation is not None]
        self._tokens += sum(len(generation.token_ids) for generation in found)
        return found

    def release(self, sessions: Iterable[str]) -> None:
        """Nothing to forget: vLLM's prefix cache drops what is unused for longest."""

    def sync(self, policy_version: int) -> None:
        """Hands the learner's weights over, empties the prefix cache, and probes.

        Raises:
            TrainingError: vLLM serves other weights than the learner has.
        """
        began = time.perf_counter()
        if self._way != "off":
            self._backend.push(self._model, self._way)
        self._backend.reset()
        self._judge(f"after optimiser step {policy_version}")
        self._numbers["sync_seconds"] = time.perf_counter() - began

    def metrics(self) -> Mapping[str, float]:
        """Seconds and probe of the last sync, and the tokens sampled since the last call."""
        found = {**self._numbers, "sampled_tokens": float(self._tokens)}
        self._tokens = 0
        return found

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """A line about what samples and how well it agrees with the learner."""
        gap = self._numbers.get("probe_gap", float("nan"))
        ways = {"weights": "all weights", "adapter": "the adapter", "off": "nothing"}
        return [f"{self._backend.name} · hands over {ways[self._way]} after each step · probe |Δ| {gap:.0e} ok"]

    def close(self) -> None:
        """Ends a server that the engine started and removes what was written."""
        self._cleanup.close()

    def _judge(self, when: str) -> Gap:
        asks = [Ask(prompt, 0, 1) for prompt in self._probe.prompts]
        answers = self._backend.sample(asks, Draw(0.0, 1.0, (), TOP))
        found = self._probe.compare([answer.top[0] for answer in answers])
        self._numbers["probe_gap"] = found.gap
        if found.moved == found.moved:
            self._numbers["probe_moved"] = found.moved
        self._probe.accept(found, when)
        return found

    def _ask(self, request: GenerationRequest, sampling: Sampling) -> Ask:
        room = self._context - len(request.prompt)
        return Ask(request.prompt, request.seed, min(sampling.max_new_tokens, room))


def _context(served: int, wanted: int | None) -> int:
    """The shorter of what vLLM serves and what the recipe wants.

    Raises:
        ConfigError: nobody says, or the recipe wants more than is served.
    """
    if wanted is not None and served and wanted > served:
        raise ConfigError(
            f"`engine.max_context` is {wanted}, and vLLM serves {served}.",
            "",
            "Start it with a larger --max-model-len, or lower engine.max_context.",
        )
    if not served and wanted is None:
        raise ConfigError("The server does not say how long its context is.", "", "Set engine.max_context.")
    return wanted or served


def _generation(answer: Answer, ask: Ask, draw: Draw) -> Generation:
    """Takes an answer, if it ends exactly where the run's own stop ids say.

    Raises:
        TrainingError: it does not.
    """
    ids = answer.ids
    early = [index for index in ids[:-1] if index in draw.stop_ids]
    stopped = bool(ids) and ids[-1] in draw.stop_ids
    whole = stopped or len(ids) == ask.most
    if early or not whole or len(answer.logprobs) != len(ids) or (answer.finish == "stop") != stopped:
        raise TrainingError(
            f"vLLM ended a response of {len(ids)} tokens where the chat template does not (it says "
            f"{answer.finish!r}; the last token is {ids[-1] if ids else 'missing'}).",
            f"Responses of this run end with one of the ids {list(draw.stop_ids)} or after {ask.most} tokens.",
            "A server may add stop tokens or limits of its own: start it with --generation-config vllm.",
        )
    top = [sorted(place, key=lambda index: -place[index])[: draw.top] for place in answer.top] if draw.top else None
    return Generation(ids, answer.logprobs, "stop" if stopped else "length", top_ids=top)
