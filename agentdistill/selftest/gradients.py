"""Two things every objective must do, whatever its weights: rest at the teacher, and not mind how a batch is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agentdistill.errors import TrainingError
from agentdistill.learner.learner import Learner
from agentdistill.records import TeacherScores
from agentdistill.selftest.material import Material, numbers_of

EXACT = 1e-3
"""Largest gradient at the teacher, as a share of the gradient a slightly other teacher gives, in float32."""

CUT = 1e-3
"""Largest difference between the gradients of one pass and of many, as a share of the gradient, in float32."""

IMITATION = "not asked: only turns that others write are trained"
"""What a check of the student's own turns says in a run without a loss and without an advantage."""

ROUGH = 50.0
"""How much more 16-bit weights may differ."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A gradient.

    Attributes:
        loss: the loss.
        gradient: of each parameter.
        metrics: of the learner.
    """

    loss: float
    gradient: list[Tensor]
    metrics: dict[str, float]

    @property
    def norm(self) -> float:
        """Its Euclidean length."""
        return float(torch.stack([g.double().norm() for g in self.gradient]).norm())

    def distance(self, other: Measured) -> float:
        """Length of the difference of two gradients."""
        pairs = zip(self.gradient, other.gradient, strict=True)
        return float(torch.stack([(a.double() - b.double()).norm() for a, b in pairs]).norm())


def measure(
    material: Material, learner: Learner, scores: Sequence[Sequence[TeacherScores]], *, random: bool
) -> Measured:
    """The gradient of a batch, which is not taken; the student's gradients are cleared afterwards.

    Args:
        material: the episodes.
        learner: the learner.
        scores: the teacher's.
        random: whether rewards are random; otherwise they are 0.
    """
    given = scores if learner.loss is not None else None
    try:
        with material.without_dropout():
            metrics = learner.accumulate(material.episodes, given, material.extras(random))
        gradient = [(torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()) for p in learner.parameters]
    finally:
        learner.optimizer.zero_grad(set_to_none=True)
    return Measured(metrics["loss"], gradient, metrics)


def _tolerance(learner: Learner, share: float) -> float:
    return share * (1.0 if learner.parts.weight.dtype in (torch.float32, torch.float64) else ROUGH)


def check_teacher_is_student(material: Material) -> str:
    """See `SelfTest.teacher_is_student`.

    A loss with a goal besides the teacher (pushing failures down, say) declares `rests_at_teacher = False`.

    Raises:
        TrainingError: the student would be moved away from its teacher.
    """
    if not material.trains_own_turns:
        return IMITATION
    learner = material.learner()
    loss = learner.loss
    name = material.parts.config.loss.type if material.parts.config.loss is not None else "no loss"
    if loss is not None and not getattr(loss, "rests_at_teacher", True):
        return f"not asked: the loss `{name}` has a goal besides the teacher"
    rest = measure(material, learner, material.own_scores, random=False)
    moved = measure(material, learner, material.other_scores, random=True)
    allowed = _tolerance(learner, EXACT)
    scale = moved.norm
    if rest.norm > allowed * max(scale, 1e-12) + 1e-12 or abs(rest.loss) > allowed * (1.0 + abs(moved.loss)):
        raise TrainingError(
            f"The self-test failed: with the student as its own teacher the loss `{name}` is {rest.loss:.2e} and its "
            f"gradient {rest.norm:.2e}.",
            f"Both must be 0 there; another teacher's gradient is {scale:.2e}. Such a loss moves a student that has "
            "nothing left to learn, by a wrong normalisation, a shifted position or a temperature on one side.",
            "Mend the loss or its options; one with a goal of its own says `rests_at_teacher = False`.",
        )
    rows, tokens = numbers_of(material.episodes)
    told = "" if scale else "; another teacher has no gradient either (weights of 0 on these turns)"
    return f"teacher = {material.who}: gradient {rest.norm:.0e} of {scale:.0e}, {tokens} tokens in {rows} rows{told}"


def check_micro_batches(material: Material) -> str:
    """See `SelfTest.micro_batches`.

    Raises:
        TrainingError: the gradients differ.
    """
    if not material.trains_own_turns:
        return IMITATION
    rows, _ = numbers_of(material.episodes)
    whole = measure(material, material.learner(10**9), material.other_scores, random=True)
    single = measure(material, material.learner(1), material.other_scores, random=True)
    distance, norm = whole.distance(single), whole.norm
    passes = int(single.metrics["batch/passes"])
    if distance > _tolerance(material.learner(), CUT) * norm + 1e-12:
        raise TrainingError(
            f"The self-test failed: one pass over {rows} rows and {passes} passes over one each give gradients that "
            f"differ by {distance / norm if norm else distance:.1%}.",
            "A loss or weight looks at the tokens of its own pass only, though a batch must count the same however it "
            "is cut (`optim.micro_batch_tokens`).",
            "Make it look at the whole batch (`prepare`), or at each token alone.",
        )
    return f"1 x {rows} rows = {passes} x 1: gradients differ by {distance / norm if norm else 0.0:.0e}"
