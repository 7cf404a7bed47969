"""The environment's final score, scaled: partial credit where an environment gives some (ScienceWorld, WebShop).

    r_last = scale (score - zero), cut to [low, high] where given

Scores have the environment's own units; `scale = 0.01` makes a percentage a number in [0, 1]. An episode that the
curriculum cut has the score it had by then.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import Rewards, at_the_end, finite


class ScoreConfig(PluginConfig):
    """The score as a reward.

    Attributes:
        scale: reward per point.
        zero: the score that is worth nothing.
        low: smallest reward; false for none.
        high: largest reward; false for none.
    """

    scale: float = Field(default=1.0, allow_inf_nan=False)
    zero: float = Field(default=0.0, allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}: no reward lies between them")
        return self


def score(trajectory: Trajectory, config: ScoreConfig) -> Rewards:
    """The scaled score on the last step; float32 [steps].

    Raises:
        DataError: the score is not a finite number.
    """
    value = config.scale * (finite(trajectory.score, "The score", trajectory) - config.zero)
    value = value if config.low is None else max(value, config.low)
    return at_the_end(trajectory, value if config.high is None else min(value, config.high))
