"""The environment's own verdict as the only reward."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory


def outcome(trajectory: Trajectory, config: PluginConfig) -> npt.NDArray[np.float32]:
    """1 on the last step of a won episode, 0 everywhere else.

    Returns:
        float32 [steps].
    """
    reward = np.zeros(len(trajectory.steps), dtype=np.float32)
    if trajectory.success and len(reward):
        reward[-1] = 1.0
    return reward
