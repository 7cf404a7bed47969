"""AdaptThink (arXiv 2505.13417): skip the thinking where that costs no accuracy.

The constrained problem "think as rarely as possible, but be no worse than the reference" has the Lagrangian advantage

    A_t = delta 1[turn t did not think] + R - R_ref(task)                    (Eq. 6, with the group's mean for R_ref)

delta is what an answer without thinking is worth: one is only learned where it loses less than that. A turn did not
think when its response has nothing but white space between `open` and `close`, or no thinking at all.

R_ref is the mean return of the reference policy on the task. The paper samples it beforehand (16 answers of the
initial model); give those numbers with `reference`, a JSON file of task key -> mean return. Without the file the mean
return of those episodes of the group that did think stands in (of all, when none or all of them did): a moving
reference, which is our approximation. The paper's other half, sampling the first token of half of the answers to be
`</think>`, belongs to the rollout and is not done here: a student that always thinks has nothing to learn from.

Defaults: delta 0.05. In the paper a turn is the whole answer; an agent's episode counts each turn by itself, and an
episode counts as thinking when any of its turns does.
Proofs: tests/advantages/test_adaptthink.py (delta 0 is return minus reference, only turns without thinking get delta,
the reference file and tasks missing from it, groups of one).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from agentdistill.conversation.thinking import thought
from agentdistill.errors import DataError
from agentdistill.records import LossRole, Trajectory
from agentdistill.training.rewarded import RewardedBatch
from agentdistill_advantages.groups import GROUPS, GroupConfig, groups, returns


class AdaptThinkConfig(GroupConfig):
    """The constraint.

    Attributes:
        delta: what a turn without thinking is worth.
        open: where thinking begins.
        close: where it ends.
        reference: JSON file of task key -> mean return of the reference policy; false for the group's own mean.
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """

    delta: float = Field(default=0.05, ge=0.0)
    open: str = Field(default="<think>", min_length=1)
    close: str = Field(default="</think>", min_length=1)
    reference: str | None = None


def adaptthink(batch: RewardedBatch, config: AdaptThinkConfig) -> list[npt.NDArray[np.float32]]:
    """One float32 [steps] for each episode, see the module."""
    total = returns(batch)
    silent = [
        np.array([not thought(s.response, config.open, config.close) for s in t.steps], dtype=bool)
        for t in batch.trajectories
    ]
    thinking = np.array([_thinks(t, s) for t, s in zip(batch.trajectories, silent, strict=True)], dtype=bool)
    result = [np.zeros(len(t.steps), dtype=np.float32) for t in batch.trajectories]
    for members in groups(batch, config.count_cut):
        if config.reference is not None:
            reference = _reference(config.reference, batch.trajectories[members[0]].task.key)
        else:
            compared = total[members][thinking[members]]
            compared = compared if len(compared) else total[members]
            reference = float(compared[0] if np.ptp(compared) == 0 else compared.mean())
        for i in members:
            result[i] = (config.delta * silent[i] + (total[i] - reference)).astype(np.float32)
    return result


adaptthink.needs = lambda config: frozenset() if config.reference is not None else GROUPS  # type: ignore[attr-defined]


def _thinks(trajectory: Trajectory, silent: npt.NDArray[np.bool_]) -> bool:
    own = [
        not quiet for step, quiet in zip(trajectory.steps, silent, strict=True) if step.loss_role is LossRole.DISTILL
    ]
    return any(own)


def _reference(path: str, key: str) -> float:
    """The reference's mean return on a task."""
    table = _table(path)
    if key not in table:
        raise DataError(
            f"The reference returns in {path} have no task {key!r}.",
            f"They name {len(table)} tasks.",
            "Measure the reference policy on the split that is trained on, or leave `advantage.reference` out.",
        )
    return float(table[key])


@lru_cache(maxsize=4)
def _table(path: str) -> dict[str, float]:
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"The reference returns in {path} cannot be read.",
            f"{error}.",
            "It is a JSON object of task key -> number.",
        ) from error
    if not isinstance(table, dict):
        raise DataError(f"The reference returns in {path} are no JSON object.", "", "Write task key -> mean return.")
    return table
