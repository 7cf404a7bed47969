"""KDRL: distillation as a differentiated term beside RL, with a coefficient that anneals (arXiv 2506.02208).

    L = L_RL(A) + beta(step) mean 0.5 (log pi_S - sg log pi_T)^2,     beta(step) = max(beta_0 - delta step, beta_min)

The k2 estimator differentiated on on-policy tokens has the reverse KL's gradient; the paper measures +1.4 over k3,
which has the forward KL's. RL comes from [[reward]] and [advantage] (GRPO in the paper); the two terms share the
reduction and are clipped separately. beta falls from 0.2 to 0.002, over the run unless `decay` is given. With
`failures_only` episodes that succeeded are left to RL (the paper's reward-guided mask).

Differs from the paper: the end points of beta are those of a third party's reproduction; the mask leaves the
denominator alone. The fusion `kdrl` is the same schedule for losses that are advantages. Proofs: the expected gradient
is beta times the reverse KL's, by enumeration; the schedule's ends; the mask zeroes successes and nothing else;
teacher = student gives zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.losses import Objective, OnSampled, TeacherView, TokenLoss
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.estimators import k2


class KdrlConfig(PluginConfig):
    """A joint distillation term with an annealed coefficient.

    Attributes:
        beta: the coefficient at the first step.
        beta_min: the coefficient at the end.
        decay: how much the coefficient falls per step; None reaches `beta_min` with the run's last step.
        failures_only: distil failed episodes only.
    """

    beta: float = Field(default=0.2, ge=0.0)
    beta_min: float = Field(default=0.002, ge=0.0)
    decay: float | None = Field(default=None, ge=0.0)
    failures_only: bool = False

    @model_validator(mode="after")
    def _falls(self) -> KdrlConfig:
        if self.beta_min > self.beta:
            raise ValueError(f"beta_min = {self.beta_min} lies above beta = {self.beta}; the coefficient only falls")
        return self


@dataclass(frozen=True, slots=True)
class JointTerm:
    """beta k2 of each token, for the episodes that are distilled."""

    beta: float
    failures_only: bool = False
    needs_hidden: bool = False

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `agentdistill.learner.losses.Objective`."""
        goal = tokens.teacher_logprob
        scale = self.beta * (~tokens.success if self.failures_only else tokens.success | True).to(goal.dtype)

        def values(logprob: Tensor, span: slice) -> Tensor:
            return scale[span] * k2(logprob, goal[span])

        return OnSampled(tokens.token_id, values)


class KdrlLoss:
    """See `KdrlConfig`."""

    request = ScoreRequest(sampled=True)

    def __init__(self, config: KdrlConfig) -> None:
        """Keeps the options."""
        self.config = config

    def beta(self, progress: LearnerProgress) -> float:
        """The coefficient of the next batch."""
        c = self.config
        decay = (c.beta - c.beta_min) / max(1, progress.total_steps - 1) if c.decay is None else c.decay
        return max(c.beta - decay * progress.step, c.beta_min)

    def at(self, progress: LearnerProgress) -> Objective:
        """The term with the coefficient of now."""
        return JointTerm(self.beta(progress), self.config.failures_only)
