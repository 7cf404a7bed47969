r"""Reward for the form of a turn: the environment accepted it, and its text follows a pattern.

    r_k = good   if turn k is well formed
          bad    if it is not

for turns of the student, divided by their number when `mean` is set (the default), so that the sum lies between `bad`
and `good` and a longer episode is not a better one. Well formed is: the response was not cut off for its length, the
action was read and accepted (unless `valid` is off), and `pattern`, a regular expression, is found in the response
(where given; "(?s)\A<think>.+</think>.+\Z" is the form most published rewards ask for).

Defaults: 0 and -1 with `mean`, a pure penalty: paying for form alone is what a policy learns to collect.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic import Field, field_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import Step, Trajectory
from agentdistill_rewards.turns import Rewards, nothing, own


class FormatConfig(PluginConfig):
    """What form is asked for and what it is worth.

    Attributes:
        good: a well-formed turn.
        bad: any other.
        valid: the environment must have accepted the turn.
        pattern: regular expression that must be found in the response; false for none.
        mean: divide by the number of the student's turns.
    """

    good: float = Field(default=0.0, allow_inf_nan=False)
    bad: float = Field(default=-1.0, allow_inf_nan=False)
    valid: bool = True
    pattern: str | None = None
    mean: bool = True

    @field_validator("pattern")
    @classmethod
    def _can_be_read(cls, pattern: str | None) -> str | None:
        try:
            _compiled(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


def validity(trajectory: Trajectory, config: FormatConfig) -> Rewards:
    """Rewards of the student's turns; float32 [steps]."""
    reward = nothing(trajectory)
    turns = [place for place, step in enumerate(trajectory.steps) if own(step)]
    share = len(turns) if config.mean else 1
    for place in turns:
        reward[place] = (config.good if well_formed(trajectory.steps[place], config) else config.bad) / share
    return reward


def well_formed(step: Step, config: FormatConfig) -> bool:
    """Whether a turn has the form that is asked for."""
    if step.info.get("finish") == "length" or (config.valid and not step.valid):
        return False
    return config.pattern is None or _compiled(config.pattern).search(step.response) is not None


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
