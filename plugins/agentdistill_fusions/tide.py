"""TIDE: hand over from teacher to rewards as their disagreement stops falling; credit by value x disagreement.

    A_tj = beta D~_t Q_t + lambda Q~_t D~_t Delta_tj
    lambda = max - (max - min) r,   beta = min + (max - min) r,   min 0.1, max 1
    r rises by 0.02 when the average disagreement (EMA 0.9) has fallen by I of itself over 10 updates, 0 < I <= 0.02
    D~_t: mean |Delta| of the turn, min-max over the turns of its episode (1 when flat)
    Q_t:  the turn's action value among turns of the same state; 0, and Q~_t = 1, where no group tells

Q_t is the run's advantage: use `[advantage] type = "gigpo"` with episode = 0. The product matters: adding value and
disagreement instead costs ten points in the paper, and scheduling r by step or by success costs four to twelve.

How Q~ is made of Q is not printed in the sources we have; by analogy with D~ it is min-max here over those turns of the
episode that a group tells about (`value = "signed"`), or of |Q| ("magnitude"). A worsening disagreement (I <= 0) does
not move r.

Defaults: the paper's. Proofs: tests/fusions/test_tide.py (r only within the band and at most 1, both ends of lambda and
beta, a worked episode, flat episodes, turns without a group), tests/fusions/test_state.py (resume).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_fusions.schedule import Progressing
from agentdistill_fusions.turns import means, min_max, turn_of_token


class TideConfig(PluginConfig):
    """The hand-over and the credit.

    Attributes:
        tolerance: a relative fall of the disagreement in (0, this] moves the hand-over on.
        window: updates that the fall is measured over.
        memory: of the disagreement's exponential average.
        rate: what each such update moves the hand-over by; 1 is all of it.
        smallest: smallest scale of either signal.
        largest: largest scale of either signal.
        value: whether the teacher's weight follows the action value or its size.
    """

    tolerance: float = Field(default=0.02, gt=0.0, lt=1.0)
    window: int = Field(default=10, ge=1)
    memory: float = Field(default=0.9, ge=0.0, lt=1.0)
    rate: float = Field(default=0.02, gt=0.0, le=1.0)
    smallest: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    largest: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    value: Literal["signed", "magnitude"] = "signed"

    @model_validator(mode="after")
    def _ordered(self) -> TideConfig:
        if self.smallest > self.largest:
            raise ValueError(f"smallest ({self.smallest}) is larger than largest ({self.largest})")
        return self


class Tide(FusionBase):
    """See `TideConfig`."""

    needs = frozenset({"advantage"})

    def __init__(self, config: TideConfig) -> None:
        self.config = config
        self.progress = Progressing(config.window, config.memory)
        self.handed = 0.0

    def scales(self, progress: LearnerProgress) -> Scales:
        """The two scales as far as it has been handed over."""
        low, high = self.config.smallest, self.config.largest
        return Scales(kd=high - (high - low) * self.handed, rl=low + (high - low) * self.handed)

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """Q~ D~ for the teacher, D~ for the rewards."""
        if not len(tokens):
            return None
        turn, owner = turn_of_token(tokens)
        count = len(owner)
        disagreement = min_max(means(tokens.log_ratio.abs(), turn, count), owner, flat=1.0)
        value = means(tokens.advantage, turn, count)
        told = value != 0
        value = value.abs() if self.config.value == "magnitude" else value
        relative = torch.ones_like(value)
        relative[told] = min_max(value[told], owner[told], flat=1.0)
        dtype = tokens.old_logprob.dtype
        return {"kd": (relative * disagreement)[turn].to(dtype), "rl": disagreement[turn].to(dtype)}

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Moves the hand-over on where the disagreement hardly falls any more."""
        if "kl/abs_token" not in metrics:
            return
        self.progress.see(metrics["kl/abs_token"])
        fall = self.progress.improvement
        if fall is not None and 0.0 < fall <= self.config.tolerance:
            self.handed = min(1.0, self.handed + self.config.rate)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"handed": self.handed, "progress": self.progress.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        self.handed = float(state["handed"])
        self.progress.load_state_dict(state["progress"])
