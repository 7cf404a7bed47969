"""The environment's own reward for each step.

    r_k = scale * (the environment's reward of step k)

What was earned in turns that came before the student's first one (a replayed prefix) is left out unless `prefix` is
set: the student did not earn it, and a curriculum that starts deeper would look like a better policy. Turns that a
guide played in between count, because what the student did before led there.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import Rewards, finite, first_own, nothing


class EnvironmentRewardConfig(PluginConfig):
    """The environment's rewards.

    Attributes:
        scale: factor on all of them.
        prefix: count what was earned before the student's first turn, too.
    """

    scale: float = Field(default=1.0, allow_inf_nan=False)
    prefix: bool = False


def environment_reward(trajectory: Trajectory, config: EnvironmentRewardConfig) -> Rewards:
    """The rewards as they came, scaled; float32 [steps].

    Raises:
        DataError: the environment gave a reward that is not a finite number.
    """
    reward = nothing(trajectory)
    for place in range(0 if config.prefix else first_own(trajectory), len(reward)):
        step = trajectory.steps[place]
        reward[place] = config.scale * finite(step.reward, f"The reward of step {step.index}", trajectory)
    return reward
