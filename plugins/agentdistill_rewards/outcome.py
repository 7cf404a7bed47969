"""The environment's own verdict as the only reward.

    r_last = success   if the episode was won
             failure   if it was lost: ended by the environment, or at a limit of steps or of context
             0         if nobody knows: the curriculum cut it, or the environment died

Defaults: 1 and 0. `failure = -1` is the +-1 form of most verifiers; with advantages that subtract the group's mean and
divide by its standard deviation the two forms give the same numbers.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import ENDED, Rewards, at_the_end


class OutcomeConfig(PluginConfig):
    """What a verdict is worth.

    Attributes:
        success: a won episode.
        failure: a lost one.
    """

    success: float = Field(default=1.0, allow_inf_nan=False)
    failure: float = Field(default=0.0, allow_inf_nan=False)


def outcome(trajectory: Trajectory, config: OutcomeConfig) -> Rewards:
    """The verdict on the last step; float32 [steps]."""
    if trajectory.success:
        return at_the_end(trajectory, config.success)
    return at_the_end(trajectory, config.failure if trajectory.stop in ENDED else 0.0)
