"""The sum of both signals, each with a scale that may move: the frame that most published fusions fit in.

    A = s_rl(step) A_rl + s_kd(step) A_kd,    s(step) = start + (end - start) p,   p = min(step / over, 1)

Without ends the scales are constant. KDRL and ATOD are this with their own numbers; for those use their names.

Defaults: 1 and 1, constant.
Proofs: tests/fusions/test_schedules.py (end points, midpoint of both shapes, constant without ends).
"""

from __future__ import annotations

from pydantic import Field, model_validator

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.plugins import PluginConfig
from agentdistill_fusions.schedule import Shape, ramp


class AdditiveConfig(PluginConfig):
    """Scales and their way.

    Attributes:
        kd: scale of the teacher's signal at the first step.
        rl: scale of the rewards' signal at the first step.
        kd_end: scale of the teacher's signal at the end of the ramp; false stays at `kd`.
        rl_end: scale of the rewards' signal at the end of the ramp; false stays at `rl`.
        over: steps of the ramp; false is the whole run.
        shape: "linear", or "cosine" (slow at both ends).
    """

    kd: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    rl: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    kd_end: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    rl_end: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    over: int | None = Field(default=None, ge=1)
    shape: Shape = "linear"

    @model_validator(mode="after")
    def _something(self) -> AdditiveConfig:
        if not any((self.kd, self.rl, self.kd_end, self.rl_end)):
            raise ValueError("with both scales at 0 all the way nothing is learned")
        if self.over is not None and self.kd_end is None and self.rl_end is None:
            raise ValueError("`over` is the length of a ramp: give kd_end or rl_end, too, or leave it out")
        return self


class Additive(FusionBase):
    """See `AdditiveConfig`."""

    def __init__(self, config: AdditiveConfig) -> None:
        self.config = config

    def scales(self, progress: LearnerProgress) -> Scales:
        """The scales at a step."""
        config = self.config
        over = config.over if config.over is not None else progress.total_steps

        def at(start: float, end: float | None) -> float:
            return start if end is None else ramp(start, end, progress.step, over, config.shape)

        return Scales(kd=at(config.kd, config.kd_end), rl=at(config.rl, config.rl_end))
