"""What a turn costs: each one, an invalid one, and one that repeats itself.

    r_k = -(step + invalid 1[turn k was invalid] + repeat 1[turn k repeats an action under the same observation])

for turns of the student. This changes what is optimal, on purpose: a shorter way is a better one, and where every way
costs more than winning gains the best thing is to lose fast. Keep `step` times the longest episode below the worth of
winning. (`progress` shapes without changing the optimum.)

Defaults: 0.01 for a turn, 0.1 more for an invalid one. Invalid is what the environment did not accept or the context
policy could not read.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import Rewards, nothing, own


class PenaltyConfig(PluginConfig):
    """Costs, as positive numbers.

    Attributes:
        step: of each turn of the student.
        invalid: of one that was invalid, besides.
        repeat: of one whose action was played before in the same episode under the same observation, besides.
    """

    step: float = Field(default=0.01, ge=0.0, allow_inf_nan=False)
    invalid: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    repeat: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


def penalty(trajectory: Trajectory, config: PenaltyConfig) -> Rewards:
    """Costs of the student's turns as negative numbers; float32 [steps]."""
    reward = nothing(trajectory)
    seen: set[tuple[str, str]] = set()
    for place, step in enumerate(trajectory.steps):
        deed = (step.observation, step.action)
        if own(step):
            reward[place] = -(config.step + config.invalid * (not step.valid) + config.repeat * (deed in seen))
        seen.add(deed)
    return reward
