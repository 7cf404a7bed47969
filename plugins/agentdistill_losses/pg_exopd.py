"""ExOPD / G-OPD (arXiv 2602.12125): go past the teacher, away from where the student began.

    maximise E[ lambda log(pi_T / pi_ref) ] - KL(pi || pi_ref)
    A = lambda (log pi_T - log pi_ref) - (log pi_old - log pi_ref)

pi_ref is the student as the run began. lambda = 1 is on-policy distillation (pi_ref drops out); the optimum is
pi_ref (pi_T / pi_ref)^lambda, so lambda > 1 extrapolates what makes the teacher better than the reference, and
lambda < 1 stops on the way: a reference KL.

Defaults: lambda 1.25, as published. Proofs: tests/losses/test_pg_shapes.py (lambda 1 is "opd" exactly, lambda 0 is the
reverse KL to the reference, the gradient vanishes at the optimum by enumeration).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest


class ExOpdConfig(PluginConfig):
    """How far.

    Attributes:
        extrapolation: lambda; 1 is the teacher, more is past it.
        advantage_clip: advantages are clipped to +- this.
    """

    extrapolation: float = Field(default=1.25, ge=0.0, allow_inf_nan=False)
    advantage_clip: float = Field(default=20.0, gt=0.0)


class ExOpdLoss:
    """See `ExOpdConfig`."""

    needs = frozenset({"reference"})
    request = ScoreRequest(sampled=True)

    def __init__(self, config: ExOpdConfig) -> None:
        self.config = config

    def advantage(self, tokens: TokenStatistics) -> Tensor:
        """The extrapolated log-ratio of each token, [N]."""
        # (log pi_T - log pi_old) + (lambda - 1)(log pi_T - log pi_ref): at lambda = 1 exactly the usual advantage.
        beyond = (self.config.extrapolation - 1.0) * (tokens.teacher_logprob - tokens.reference_logprob)
        return (tokens.teacher_logprob - tokens.old_logprob) + beyond

    @property
    def objective(self) -> Objective:
        """The advantage through the surrogate."""
        return PolicyGradient(self.advantage, self.config.advantage_clip)
