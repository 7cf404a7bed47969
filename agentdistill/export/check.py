"""What was written plays as the student does: in transformers, and in another engine if one is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.conversation.base import Message
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import DataError
from agentdistill.models import LoadedModel, load_model

if TYPE_CHECKING:
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.engines.base import Engine
    from agentdistill.plugins.registry import PluginRegistry

TEXTS = (
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, a lamp 2 and a drawer 3.",
    "You open the drawer 3. In it, you see a key 1.",
    "Nothing happens.",
    "Your task is to: put some mug in the cabinet 2.",
)
"""What the student is shown."""

TOKENS = 24
"""Most tokens of each answer."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the student answers, greedily.

    Attributes:
        prompts: token ids shown.
        answers: token ids it answers, the terminator included.
        logprobs: of each of those, nats.
        stop_ids: ids that end an answer.
        tolerance: largest difference of a log-probability that rounding explains.
    """

    prompts: Sequence[Sequence[int]]
    answers: Sequence[Sequence[int]]
    logprobs: Sequence[Sequence[float]]
    stop_ids: tuple[int, ...]
    tolerance: float


def reference_of(student: LoadedModel, renderer: ChatRenderer) -> Reference:
    """Lets the student answer, as it was trained: its adapter, if it has one, is not merged."""
    import torch

    prompts = [renderer.prompt([Message("user", text)]) for text in TEXTS]
    stops = renderer.stop_ids
    answers: list[list[int]] = []
    logprobs: list[list[float]] = []
    with torch.no_grad():
        for prompt in prompts:
            ids = list(prompt)
            values: list[float] = []
            while len(values) < TOKENS and (not values or ids[-1] not in stops):
                logits = student.model(input_ids=torch.tensor([ids], device=student.model.device)).logits[0, -1]
                scores = logits.float().log_softmax(-1)
                ids.append(int(scores.argmax()))
                values.append(float(scores[ids[-1]]))
            answers.append(ids[len(prompt) :])
            logprobs.append(values)
    exact = student.model.dtype in (torch.float32, torch.float64)
    return Reference(prompts, answers, logprobs, stops, 1e-3 if exact else 0.15)


def check_in_transformers(directory: Path, reference: Reference, dtype: str) -> tuple[LoadedModel, str]:
    """Loads the directory and lets `generate` answer as its own generation config says.

    Returns:
        What was loaded, and a sentence about the comparison.

    Raises:
        DataError: it answers otherwise than the student.
    """
    import torch
    import transformers

    loaded = load_model(str(directory), dtype=dtype)
    worst = 0.0
    with torch.no_grad():
        for prompt, answer, known in zip(reference.prompts, reference.answers, reference.logprobs, strict=True):
            ids = torch.tensor([list(prompt)])
            found = loaded.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS
            )[0, len(prompt) :].tolist()
            _same(found, answer, "transformers")
            row = torch.tensor([[*prompt, *answer]])
            scores = loaded.model(input_ids=row).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
            mine = scores.gather(-1, torch.tensor(list(answer))[:, None]).squeeze(-1).tolist()
            worst = max(worst, _difference(mine, known, reference.tolerance, "transformers"))
    return loaded, (
        f"transformers {transformers.__version__}: the same {_tokens(reference)} greedy tokens as the trained student, "
        f"log-probabilities within {worst:.0e} nats"
    )


def check_in_engine(
    name: str, options: Mapping[str, Any], loaded: LoadedModel, reference: Reference, registry: PluginRegistry
) -> str:
    """Lets an engine read the directory and answer.

    Args:
        name: the engine.
        options: its options.
        loaded: what `check_in_transformers` loaded from the directory: its weights are those on disk, bit for bit.
        reference: what the student answers.
        registry: the loaded plugins.

    Returns:
        A sentence about the comparison.

    Raises:
        DataError: it answers otherwise than the student.
        AgentDistillError: it cannot be started.
    """
    engine: Engine = registry.build("engine", {"type": name, **options}, "engine", model=loaded)
    try:
        requests = [GenerationRequest(f"export-{i}", prompt) for i, prompt in enumerate(reference.prompts)]
        found = engine.generate(requests, Sampling(TOKENS, reference.stop_ids, 0.0))
        lines = engine.check(()) if hasattr(engine, "check") else []
    finally:
        if hasattr(engine, "close"):
            engine.close()
    worst = 0.0
    for one, answer, known in zip(found, reference.answers, reference.logprobs, strict=True):
        _same(one.token_ids, answer, name)
        worst = max(worst, _difference(one.logprobs, known, reference.tolerance, name))
    who = lines[0].partition(" · ")[0] if lines else name
    return (
        f"{who}: the same {_tokens(reference)} greedy tokens as the trained student, "
        f"log-probabilities within {worst:.0e} nats"
    )


def engines_here(registry: PluginRegistry) -> list[str]:
    """Engines that say they can serve a directory on this machine: those whose class has `available()`."""
    found = []
    for name in registry.names("engine"):
        available = getattr(registry.get("engine", name).load(), "available", None)
        if available is not None and available():
            found.append(name)
    return found


def _tokens(reference: Reference) -> int:
    return sum(len(answer) for answer in reference.answers)


def _same(found: Sequence[int], wanted: Sequence[int], who: str) -> None:
    if list(found) != list(wanted):
        raise DataError(
            f"The exported student answers otherwise in {who} than it was trained.",
            f"Greedily it writes the tokens {list(found)[:12]} where the student writes {list(wanted)[:12]}.",
            "Nothing was exported. Report it with the student's architecture; a 16-bit student may part on near ties.",
        )


def _difference(found: Sequence[float], known: Sequence[float], tolerance: float, who: str) -> float:
    worst = max((abs(a - b) for a, b in zip(found, known, strict=True)), default=0.0)
    if not worst <= tolerance:
        raise DataError(
            f"The exported student has other probabilities in {who} than it was trained with.",
            f"Log-probabilities differ by up to {worst:.3g} nats; rounding explains {tolerance:.3g}.",
            "Nothing was exported. Report it with the student's architecture.",
        )
    return worst
