"""KDRL (arXiv 2506.02208): maximise reward minus beta times the reverse KL to the teacher, beta fading.

    J = J_GRPO - beta(step) KL,   beta(step) = max(beta - decay step, minimum)
    KL as k2 = (log pi - log pi_T)^2 / 2, differentiated, or as the policy gradient with A = log pi_T - log pi_old

Both forms have the gradient of the reverse KL on the student's own samples; the paper found k2 the better one, which
is `[loss] type = "opd"` with gradient = "direct", estimator = "k2". The paper's reward-guided mask leaves episodes
that were won to the rewards: `spare_won`. This fades whatever loss the run has; the loss "kdrl" is k2 with the same
schedule built in, for runs without a fusion. With both, beta would count twice.

Defaults: beta from 0.2 to 0.002 along the whole run (a third party's settings; the paper's are not known to us), no
mask. `decay` = 0 keeps beta constant.
Proofs: tests/fusions/test_schedules.py (end points and formula), tests/fusions/test_routing.py (the mask; beta 0 is
the rewards alone).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig


class KdrlConfig(PluginConfig):
    """The fading KL.

    Attributes:
        beta: coefficient of the KL at the first step.
        minimum: beta never falls below this.
        decay: how much beta falls per step; false is so that the last step has the minimum.
        spare_won: no KL in episodes that were won.
    """

    beta: float = Field(default=0.2, ge=0.0, allow_inf_nan=False)
    minimum: float = Field(default=0.002, ge=0.0, allow_inf_nan=False)
    decay: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    spare_won: bool = False

    @model_validator(mode="after")
    def _falls(self) -> KdrlConfig:
        if self.minimum > self.beta:
            raise ValueError(f"beta falls from {self.beta} to its minimum, which cannot be {self.minimum}")
        return self


class Kdrl(FusionBase):
    """See `KdrlConfig`."""

    def __init__(self, config: KdrlConfig) -> None:
        self.config = config

    def scales(self, progress: LearnerProgress) -> Scales:
        """beta(step) for the teacher, 1 for the rewards."""
        config, decay = self.config, self.config.decay
        if decay is None:
            decay = (config.beta - config.minimum) / max(progress.total_steps - 1, 1)
        return Scales(kd=max(config.beta - decay * progress.step, config.minimum), rl=1.0)

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """No KL in won episodes, if they are spared."""
        return {"kd": (~tokens.success).to(tokens.old_logprob.dtype)} if self.config.spare_won else None
