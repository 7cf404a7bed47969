"""Which of several teachers speaks about a turn: rules, the first that matches wins."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Step, Trajectory


class Rule(PluginConfig):
    """One rule; a turn matches when it meets every condition that is given.

    Attributes:
        teacher: the member that speaks about matching turns.
        env: names of environments.
        split: splits of tasks.
        task_type: types of tasks.
        first_turn: lowest index of the turn in its episode.
        last_turn: highest index.
        expert: true matches where the environment's expert knows what to do (and its action is among the commands on
            offer, where these are recorded), false where it does not.
        admissible: true matches where the command is one the environment accepts, false where it is not.
    """

    teacher: str
    env: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    task_type: tuple[str, ...] = ()
    first_turn: int = Field(default=0, ge=0)
    last_turn: int | None = Field(default=None, ge=0)
    expert: bool | None = None
    admissible: bool | None = None

    def matches(self, trajectory: Trajectory, step: Step) -> bool:
        """Whether a turn meets the conditions."""
        task = trajectory.task
        wanted = ((self.env, task.env), (self.split, task.split), (self.task_type, task.type))
        if any(allowed and value not in allowed for allowed, value in wanted):
            return False
        if step.index < self.first_turn or (self.last_turn is not None and step.index > self.last_turn):
            return False
        if self.expert is not None and self.expert is not expert_applies(step):
            return False
        return self.admissible is None or self.admissible is accepted(step)


def expert_applies(step: Step) -> bool:
    """Whether the environment's expert has an action for the turn that can be taken."""
    action = step.info.get("expert_action")
    if action is None:
        return False
    offered = step.info.get("admissible_actions")
    return not offered or action in offered


def accepted(step: Step) -> bool:
    """Whether the command of a turn is on offer, or was accepted where the offer is not recorded."""
    offered = step.info.get("admissible_actions")
    return step.action in offered if offered else step.valid


def first_match(rules: Sequence[Rule], trajectory: Trajectory, step: Step) -> str | None:
    """The member that the first matching rule names, or None."""
    return next((rule.teacher for rule in rules if rule.matches(trajectory, step)), None)
