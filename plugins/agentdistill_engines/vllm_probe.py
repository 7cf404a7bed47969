"""Does vLLM serve the weights that the learner has? One fixed sequence, scored on both sides.

vLLM reads the sequence and says how likely the next token is, for its twenty most likely ones; the learner says the
same with its own weights. The request goes through the prefix cache as every other one does, so that keys and values
left over from older weights show as well as the weights themselves. (Prompt log-probabilities would go past the cache.)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agentdistill.errors import TrainingError

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel

LONG, SHORT = 300, 9
"""Tokens of the two sequences. The long one fills two cache blocks of 128 tokens, the largest usual size."""

TOP = 20
"""Ids compared at each; vLLM's default limit."""

TEXT = "You are in the middle of a room. Looking quickly around you, you see a desk 1, a lamp 2 and a drawer 3. "


@dataclass(frozen=True, slots=True)
class Gap:
    """What a probe found.

    Attributes:
        gap: largest |difference| of a log-probability, nats.
        moved: how far the learner's own log-probabilities of the same ids moved since the last probe, nats; NaN for the
            first.
        frozen: vLLM's answer is the last one, digit for digit.
    """

    gap: float
    moved: float
    frozen: bool


class Probe:
    """Compares, and remembers the last comparison.

    Args:
        model: the student as the learner has it.
        context: most tokens of a row.
        tolerance: largest difference allowed when weights are known to be the same, nats; None is 1e-3 for float32
            and 0.15 for 16-bit models, whose engines round differently.
    """

    def __init__(self, model: LoadedModel, context: int, tolerance: float | None) -> None:
        import torch

        self._model = model
        ids = list(model.tokenizer.encode(TEXT * 30, add_special_tokens=False)) or [0]
        while len(ids) < LONG:
            ids += ids
        self.prompts = [ids[: max(1, min(length, context - 1))] for length in (LONG, SHORT)]
        exact = model.model.dtype in (torch.float32, torch.float64)
        self.tolerance = tolerance if tolerance is not None else (1e-3 if exact else 0.15)
        self._floor = min(self.tolerance, 2e-5 if exact else 0.05)
        self._noise: float | None = None
        self._last: tuple[Any, Sequence[Mapping[int, float]]] | None = None

    def compare(self, served: Sequence[Mapping[int, float]]) -> Gap:
        """Compares what vLLM said after each prompt with the learner; nothing is judged yet.

        Args:
            served: log-probability by id, one mapping for each of `prompts`.
        """
        own = [self._own(prompt) for prompt in self.prompts]
        gap, moved, frozen = _largest(own, served), float("nan"), False
        if self._last is not None:
            before, answer = self._last
            moved = _largest(own, [{i: float(old[i]) for i in at} for old, at in zip(before, served, strict=True)])
            frozen = [dict(one) for one in served] == [dict(one) for one in answer]
        self._last = (own, served)
        return Gap(gap, moved, frozen)

    def accept(self, found: Gap, when: str) -> None:
        """Judges a comparison.

        The first accepted one says how differently the two sides round. From then on ten times that is too much, or
        already four times that where it is a quarter of what the learner moved; and so is an answer that did not change
        at all though the learner's did, by more than rounding explains.

        Args:
            found: the comparison.
            when: when it was made, for the error.

        Raises:
            TrainingError: vLLM serves other weights than the learner has.
        """
        allowed, stuck = self.tolerance, False
        if self._noise is not None:
            noise = max(self._noise, 1e-7)
            part = found.moved / 4 if found.moved == found.moved else 10 * noise
            allowed = min(self.tolerance, max(self._floor, min(10 * noise, max(4 * noise, part))))
            stuck = found.frozen and found.moved > 2 * noise
        if found.gap <= allowed and not stuck:
            if self._noise is None:  # and never again: a noise that follows would let the engine fall behind slowly
                self._noise = found.gap
            return
        if stuck:
            why = (
                f"Its answer to a fixed sequence is the one it gave before, digit for digit, while the learner's moved "
                f"by {found.moved:.2g} nats."
            )
        else:
            why = (
                f"On a fixed sequence its log-probabilities differ from the learner's by up to {found.gap:.2g} nats; "
                f"{allowed:.2g} is what rounding explains."
            )
        raise TrainingError(
            f"vLLM serves other weights than the learner has ({when}).",
            f"{why} Every sample from here on would come from another policy than the one that learns.",
            "Either the weights did not arrive (all of them, the output layer of a tied model too), or keys and values "
            "of older weights are still in the prefix cache, or vLLM computes in another dtype or on a quantised copy. "
            "Resume with --resume; for a difference that is right, raise engine.tolerance.",
        )

    def _own(self, prompt: Sequence[int]) -> Any:
        """The learner's log-probabilities after a prompt, float32 [V] on the CPU."""
        import torch

        model: Any = self._model.model
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        training = bool(model.training)
        options = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        model.eval()
        try:
            with torch.no_grad():
                ids = torch.tensor([list(prompt)], device=model.device)
                logits = model(input_ids=ids, use_cache=False, **options).logits[0, -1]
                return logits.float().log_softmax(-1).cpu()
        finally:
            model.train(training)


def _largest(own: Sequence[Any], other: Sequence[Mapping[int, float]]) -> float:
    """Largest |difference| of a log-probability; NaN where one is NaN, which a plain `max` would lose."""
    gaps = [abs(float(mine[i]) - value) for mine, at in zip(own, other, strict=True) for i, value in at.items()]
    return float(np.max(gaps))
