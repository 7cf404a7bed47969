"""POPE (arXiv 2601.18779): a hard task is also played from the end of a short guided prefix, beside its plain twin.

A task the student never solves teaches it nothing about its end. A twin of it begins after the first few actions of a
known solution, which are context and never a target; what is learned after the prefix carries over to the plain task
through the states they share.

Formula: a share `guided` of the episodes is guided: with i counting the episodes of a task in the batch, and u drawn
once for the task and step, episode i is guided where floor(u + (i + 1) g) > floor(u + i g), so that n episodes have
n g guided ones up to rounding, in every order of tasks. A guided episode replays the first ceil(f L) of the L actions
of a successful demonstration, with f drawn in [`shortest`, `longest`], and leaves the student at least one.

Defaults: half of the episodes guided, prefixes of a tenth to a half of the solution, no guidance for tasks that the
student has solved on its own (the paper guides the problems the model fails at: pass@128 near 0).

Differences: the paper puts the prefix of a solution into the prompt and asks to continue; in an episode of turns it is
replayed, so that the conversation and the world both stand after it. "Hard" is what was not yet solved without
guidance in this run, instead of a measured pass@128. Rewards are the run's business: this is the choice of starts.

Proof tests: tests/curricula/test_pope.py (share of guided twins, nothing trained before the prefix ends, plain twins
are ordinary episodes, solved tasks, resume).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, Task, TeacherScores, Trajectory
from agentdistill.training.curriculum import CurriculumBase, Progress
from agentdistill_curricula.draws import name_of, uniform


class PopeConfig(PluginConfig):
    """How many episodes are guided, and how far.

    Attributes:
        guided: share of a task's episodes that are guided; 1 is all, without plain twins.
        shortest: shortest prefix, as a share of the solution.
        longest: longest prefix, as a share of the solution.
        spare_solved: a task that was once solved without guidance gets none any more.
    """

    guided: float = Field(default=0.5, ge=0.0, le=1.0)
    shortest: float = Field(default=0.1, ge=0.0, le=1.0)
    longest: float = Field(default=0.5, ge=0.0, le=1.0)
    spare_solved: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> PopeConfig:
        if self.longest < self.shortest:
            raise ValueError(f"longest = {self.longest} is below shortest = {self.shortest}")
        return self


def is_guided(share: float, offset: float, sample: int) -> bool:
    """Whether the episode of that index is a guided one; `offset` in [0, 1) is the task's."""
    return math.floor(offset + (sample + 1) * share) > math.floor(offset + sample * share)


class Pope(CurriculumBase):
    """Guided and plain twins of the same tasks; remembers which tasks need no guidance."""

    needs = frozenset({"demonstrations"})

    def __init__(self, config: PopeConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.solved: dict[str, None] = {}

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """A guided episode or its plain twin."""
        config = self.config
        plain = EpisodePlan(note={"guided": 0.0})
        offset = uniform("twin", progress.step, task.env, task.split, task.key)
        if name_of(task) in self.solved or not is_guided(config.guided, offset, progress.sample):
            return plain
        demonstration = progress.demonstration(task)
        if not demonstration:
            return plain
        share = config.shortest + (config.longest - config.shortest) * uniform("prefix", progress.seed)
        most = min(len(demonstration), progress.max_steps) - 1
        length = min(math.ceil(share * len(demonstration)), most)
        return EpisodePlan(
            prefix=tuple(demonstration[:length]), note={"guided": float(length > 0), "prefix": float(length)}
        )

    def observe_episodes(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None
    ) -> None:
        """Notes what the student solved without any prefix."""
        if self.config.spare_solved:
            self.solved |= {name_of(t.task): None for t in trajectories if t.success and not t.plan.prefix}

    def state_dict(self) -> dict[str, Any]:
        """The solved tasks."""
        return {"solved": list(self.solved)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the solved tasks."""
        self.solved = dict.fromkeys(state["solved"])
