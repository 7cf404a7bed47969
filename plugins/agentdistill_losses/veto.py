"""Veto: a target between teacher and student (arXiv 2601.07155).

A student far from its teacher is asked first for what lies between: the teacher's distribution, vetoed by what the
student thinks possible. The bridge is a geometric mean in logit space and is withdrawn in the course of the run.

    log Q = log_softmax(log pi_T + beta sg log pi_S),   loss = KL(Q || pi_S) or KL(pi_S || Q),   beta -> 0 linearly

Tokens the student gives no mass have no mass in Q, so the forward KL's gradient pi_S - Q stays small there. Paper:
beta 0.8 for reasoning, 1.0 for code, 0.3 for summaries; beta also sharpens (at beta = 1 and pi_S = pi_T, Q ~ pi_T^2).

Differs from the paper: nothing known. Proofs: beta = 0 is the forward or reverse KL, values and gradients; Q by
enumeration; its gradient against automatic differentiation. Teacher = student gives zero only at beta = 0: before, the
target is sharper than both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import FullDivergence, Objective
from agentdistill.learner.progress import LearnerProgress
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.divergences import ForwardKL, ReverseKL


class VetoConfig(PluginConfig):
    """A target between teacher and student.

    Attributes:
        beta: how much the student counts in the target at the beginning.
        until: share of the run over which beta falls to 0, linearly.
        divergence: "forward-kl" KL(Q || student) or "reverse-kl" KL(student || Q).
        temperature: softens student and teacher.
    """

    beta: float = Field(default=0.8, ge=0.0)
    until: float = Field(default=1.0, gt=0.0, le=1.0)
    divergence: Literal["forward-kl", "reverse-kl"] = "forward-kl"
    temperature: float = Field(default=1.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class BridgedTarget:
    """A divergence towards log_softmax(teacher + beta sg student).

    Attributes:
        base: the divergence.
        beta: how much the student counts.
    """

    base: ForwardKL | ReverseKL
    beta: float

    def target(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The target log Q, [n, V], constant."""
        if self.beta == 0.0:
            return teacher
        bridge = teacher + self.beta * student.detach()
        return bridge.sub_(torch.logsumexp(bridge, dim=-1, keepdim=True))

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        return self.base(student, self.target(student, teacher))

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the base: Q is constant."""
        return self.base.with_gradient(student, self.target(student, teacher))


class VetoLoss:
    """See `VetoConfig`."""

    request = ScoreRequest(sampled=True, hidden=True)

    def __init__(self, config: VetoConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.rests_at_teacher = not config.beta

    def beta(self, progress: LearnerProgress) -> float:
        """The student's share in the target, falling to 0."""
        return self.config.beta * max(0.0, 1.0 - progress.fraction / self.config.until)

    def at(self, progress: LearnerProgress) -> Objective:
        """The divergence towards the target of now."""
        base = ForwardKL() if self.config.divergence == "forward-kl" else ReverseKL()
        return FullDivergence(BridgedTarget(base, self.beta(progress)), self.config.temperature)
