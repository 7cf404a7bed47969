"""The teacher first, then the rewards, one after the other ("sequential beats joint", arXiv 2609.04108).

    A = A_kd before the switch, A_rl after it

Distillation brings the student near the teacher and then has nothing more to say; rewards take it from there. Mixing
the two from the start does worse in the paper than this hard switch. It happens at step `at`, or where the measured
disagreement stops falling: when the exponential average of a metric has fallen by less than `tolerance` of itself over
a window of steps. The paper watches the validation score instead; the disagreement is measured at every step for free.
With both, whichever comes first. It never switches back.

Defaults: at step 60. For a plateau: 2% over 10 steps, memory 0.9, not before step 20.
Proofs: tests/fusions/test_schedules.py (by step, by plateau, by whichever is first, resume), tests/fusions/
test_state.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.plugins import PluginConfig
from agentdistill_fusions.schedule import Progressing


class SwitchConfig(PluginConfig):
    """When.

    Attributes:
        at: the first step that learns from the rewards; false leaves it to the plateau.
        plateau: switch where the metric stops falling.
        metric: what should fall, in nats: mean |log pi_old - log pi_T| of the batch's tokens.
        tolerance: a smaller relative fall over the window is none.
        window: steps that the fall is measured over.
        memory: of the metric's exponential average.
        earliest: no plateau is seen before this step.
    """

    at: int | None = Field(default=60, ge=0)
    plateau: bool = False
    metric: str = "kl/abs_token"
    tolerance: float = Field(default=0.02, ge=0.0, lt=1.0)
    window: int = Field(default=10, ge=1)
    memory: float = Field(default=0.9, ge=0.0, lt=1.0)
    earliest: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _ever(self) -> SwitchConfig:
        if self.at is None and not self.plateau:
            raise ValueError("this would never switch: give a step `at`, or plateau = true")
        return self


class Switch(FusionBase):
    """See `SwitchConfig`."""

    def __init__(self, config: SwitchConfig) -> None:
        self.config = config
        self.progress = Progressing(config.window, config.memory)
        self.seen = 0
        self.flat = False

    def scales(self, progress: LearnerProgress) -> Scales:
        """The teacher alone or the rewards alone."""
        after = self.flat or (self.config.at is not None and progress.step >= self.config.at)
        return Scales(kd=0.0, rl=1.0) if after else Scales(kd=1.0, rl=0.0)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Looks for the plateau."""
        self.seen += 1
        if not self.config.plateau or self.flat or self.config.metric not in metrics:
            return
        self.progress.see(metrics[self.config.metric])
        fall = self.progress.improvement
        self.flat = fall is not None and fall < self.config.tolerance and self.seen >= self.config.earliest

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"seen": self.seen, "flat": self.flat, "progress": self.progress.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        self.seen, self.flat = int(state["seen"]), bool(state["flat"])
        self.progress.load_state_dict(state["progress"])
