"""SOD's outcome with credit for trying tools (arXiv 2605.07725, released code).

    r_last = success                                     if won
             min(cap, failure + bonus * (messages - 2))  if lost, with 2 messages per turn

A lost episode that called tools is less bad than one that gave up at once, up to `cap`, which stays below any won one.
The released code counts the messages of both sides, of which an answer without tools has two; here a turn is a response
and the observation it met, so an episode of K turns has 2 K messages, and K turns are K - 1 calls and the answer.

Defaults: 1, -1, 0.05 per message (0.1 per call), cap -0.6: five turns reach it. The paper does not mention this term.
Episodes that the curriculum cut earn 0. This shaping changes the optimum among lost episodes, on purpose.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import ENDED, Rewards, at_the_end, own


class ToolUseConfig(PluginConfig):
    """Outcome with credit for calls.

    Attributes:
        success: a won episode.
        failure: a lost one without a call.
        bonus: credit for a message beyond the first two.
        cap: most that a lost episode earns.
    """

    success: float = Field(default=1.0, allow_inf_nan=False)
    failure: float = Field(default=-1.0, allow_inf_nan=False)
    bonus: float = Field(default=0.05, ge=0.0, allow_inf_nan=False)
    cap: float = Field(default=-0.6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _winning_pays(self) -> Self:
        if not self.failure <= self.cap < self.success:
            raise ValueError(
                f"failure = {self.failure:g}, cap = {self.cap:g} and success = {self.success:g} must rise in this "
                "order, or losing slowly would pay as much as winning"
            )
        return self


def tool_use(trajectory: Trajectory, config: ToolUseConfig) -> Rewards:
    """The verdict on the last step; float32 [steps]."""
    if trajectory.success:
        return at_the_end(trajectory, config.success)
    if trajectory.stop not in ENDED:
        return at_the_end(trajectory, 0.0)
    turns = sum(own(step) for step in trajectory.steps)
    return at_the_end(trajectory, min(config.cap, config.failure + config.bonus * max(2 * turns - 2, 0)))
