"""Potential-based shaping (Ng, Harada and Russell, 1999): pay for progress without changing which policy is best.

    r_k = gamma Phi(s_k+1) - Phi(s_k)

with a potential Phi of states and Phi = 0 where an episode has ended (Grzes, 2017: otherwise the optimum may move). The
discounted sum from the first state on is then -Phi(s_0), whatever the policy does, and every comparison of policies
stays as it was. The shaping only says earlier that things go well.

`potential` is what tells how far things are:

* "return": the sum of the environment's rewards so far, times `scale`.
* "annotation:NAME": the number that something wrote into a turn's annotations about the state after it, times `scale`;
  0 before the first turn.

When the curriculum cut the episode the last potential stays: its rest, where it would have been paid back, was never
played. Turns before the student's first one earn nothing, and the potential they reached is where the student begins.

`gamma` must be the discount of the returns that the advantage computes (1 where it does not discount).
Proofs: tests/rewards/test_potential.py (the telescoping sum, all policies of random decision processes keep their
order, with a potential that stays at the end they do not).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, field_validator

from agentdistill.errors import DataError
from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import ENDED, Rewards, finite, first_own, nothing


class ProgressConfig(PluginConfig):
    """Shaping by a potential.

    Attributes:
        potential: "return", or "annotation:NAME".
        scale: factor on the potential.
        gamma: the discount of returns, in (0, 1].
    """

    potential: str = "return"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    gamma: float = Field(default=1.0, gt=0.0, le=1.0)

    @field_validator("potential")
    @classmethod
    def _known(cls, potential: str) -> str:
        if potential != "return" and not potential.removeprefix("annotation:").strip(": ") != "":
            raise ValueError('a potential is "return" or "annotation:NAME"')
        if potential != "return" and not potential.startswith("annotation:"):
            raise ValueError(f'a potential is "return" or "annotation:NAME", got "{potential}"')
        return potential


def progress(trajectory: Trajectory, config: ProgressConfig) -> Rewards:
    """Pays gamma Phi' - Phi for the student's part of the episode; float32 [steps].

    Raises:
        DataError: a turn lacks the annotation, or a potential is not a finite number.
    """
    reward = nothing(trajectory)
    first = first_own(trajectory)
    if first == len(reward):
        return reward
    after = _potentials(trajectory, config, first)
    if trajectory.stop in ENDED:
        after[-1] = 0.0
    before = np.concatenate([[_begin(trajectory, config, first)], after[:-1]])
    reward[first:] = config.gamma * after - before
    return reward


def _begin(trajectory: Trajectory, config: ProgressConfig, first: int) -> float:
    if config.potential == "return":
        return config.scale * sum(step.reward for step in trajectory.steps[:first])
    name = config.potential.removeprefix("annotation:")
    found = trajectory.steps[first - 1].info.get("annotations", {}).get(name) if first else None
    return 0.0 if found is None else config.scale * finite(found, f"The annotation {name!r}", trajectory)


def _potentials(trajectory: Trajectory, config: ProgressConfig, first: int) -> np.ndarray:
    """The potential after each step from the student's first on; float64 [steps - first]."""
    if config.potential == "return":
        rewards = [finite(s.reward, f"The reward of step {s.index}", trajectory) for s in trajectory.steps]
        return config.scale * np.cumsum(rewards)[first:]
    name = config.potential.removeprefix("annotation:")
    found = [step.info.get("annotations", {}).get(name) for step in trajectory.steps[first:]]
    if any(value is None for value in found):
        raise DataError(
            f"The reward `progress` found no annotation {name!r} on a turn of the task {trajectory.task.key!r}.",
            "Its potential is what something else wrote about each turn.",
            "Put the reward that writes it before this one, with weight 0 if it shall not count itself.",
        )
    values = [finite(float(value), f"The annotation {name!r}", trajectory) for value in found if value is not None]
    return config.scale * np.array(values)
