"""ATOD's annealing (arXiv 2606.27814): the teacher first, the rewards more and more, both along a line.

    A = kappa(s) w_t Delta_t + rho(s) A_GRPO,   p = min(s / 80, 1)
    kappa = max(0.1, 1 - 0.9 p),   rho = 1 + p

The turn weights w are a step weight of their own (`[step_weight] type = "atod"`, which weighs the teacher's branch
alone). In the paper's ablation the annealing is worth 7 points on ALFWorld.

Defaults: the paper's. Proofs: tests/fusions/test_schedules.py (both ends, the middle, constant after the ramp).
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.plugins import PluginConfig
from agentdistill_fusions.schedule import ramp


class AtodConfig(PluginConfig):
    """The two lines.

    Attributes:
        over: steps of the ramp.
        kappa: scale of the teacher's signal at the first step.
        kappa_end: and from the end of the ramp.
        rho: scale of the rewards' signal at the first step.
        rho_end: and from the end of the ramp.
    """

    over: int = Field(default=80, ge=1)
    kappa: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    kappa_end: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    rho: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    rho_end: float = Field(default=2.0, ge=0.0, allow_inf_nan=False)


class Atod(FusionBase):
    """See `AtodConfig`."""

    def __init__(self, config: AtodConfig) -> None:
        self.config = config

    def scales(self, progress: LearnerProgress) -> Scales:
        """The two scales at a step."""
        config = self.config
        return Scales(
            kd=ramp(config.kappa, config.kappa_end, progress.step, config.over),
            rl=ramp(config.rho, config.rho_end, progress.step, config.over),
        )
