"""Any state of an episode again, by playing its actions again, and certain that it is the same state.

Text environments can rarely be copied. They can be replayed, and a replay that went another way shows in the text:
every observation, and the set of admissible actions, is compared with what was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentdistill.errors import EnvironmentFailure
from agentdistill.hashing import digest
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Record:
    """What an episode did and saw.

    Attributes:
        task: its task.
        seed: seed given to `reset`.
        actions: the actions, in order.
        observations: what was seen: the first observation, then the one after every action. May be shorter than
            that; what is not there is not compared.
        admissible: `admissible_hash` of the actions on offer beside each observation; empty when not recorded.
    """

    task: Task
    seed: int | None
    actions: tuple[str, ...]
    observations: tuple[str, ...] = ()
    admissible: tuple[str, ...] = ()

    def upto(self, actions: int) -> Record:
        """The record of the first `actions` actions."""
        seen = actions + 1
        return Record(self.task, self.seed, self.actions[:actions], self.observations[:seen], self.admissible[:seen])


def admissible_hash(actions: Sequence[str]) -> str:
    """Sixteen hex digits over a list of actions, in order."""
    return digest(list(actions))[:16]


def record(env: TextEnv, task: Task, actions: Sequence[str]) -> Record:
    """Plays actions and records what comes back.

    Args:
        env: an environment.
        task: the task.
        actions: the actions; those after the end of the episode are left out.
    """
    observation, info = env.reset(seed=task.seed, options={"task": task})
    done, observations, admissible = [], [observation], [admissible_hash(info["admissible_actions"])]
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        done.append(action)
        observations.append(observation)
        admissible.append(admissible_hash(info["admissible_actions"]))
        if terminated or truncated:
            break
    return Record(task, task.seed, tuple(done), tuple(observations), tuple(admissible))


def restore(
    env: TextEnv, recorded: Record, *, expert: bool = False, options: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Brings an environment to the state after the last action of a record.

    Args:
        env: an environment; whatever it was doing is abandoned.
        recorded: the record.
        expert: ask for expert actions from here on.
        options: options of `reset` as they were; by default the record's task, and `expert`.

    Returns:
        Observation and info of that state.

    Raises:
        EnvironmentFailure: the replay went another way; its first divergence is named.
    """
    if options is None:
        options = {"task": recorded.task, **({"expert": True} if expert else {})}
    observation, info = env.reset(seed=recorded.seed, options=dict(options))
    _compare(recorded, 0, observation, info)
    for index, action in enumerate(recorded.actions, start=1):
        observation, _, terminated, truncated, info = env.step(action)
        _compare(recorded, index, observation, info)
        if (terminated or truncated) and index < len(recorded.actions):
            raise EnvironmentFailure(
                f"Replaying `{recorded.task.key}` diverged: the episode ended after action {index} of "
                f"{len(recorded.actions)} ({action!r}).",
                "The environment, its data or its step limit is not what it was when this was recorded.",
                "Record the episode again.",
            )
    return observation, info


def _compare(recorded: Record, index: int, observation: str, info: dict[str, Any]) -> None:
    after = f"action {index} ({recorded.actions[index - 1]!r})" if index else "reset"
    if index < len(recorded.observations) and observation != recorded.observations[index]:
        expected = recorded.observations[index]
        start = next((i for i, (a, b) in enumerate(zip(observation, expected, strict=False)) if a != b), None)
        start = min(len(observation), len(expected)) if start is None else start
        what = (
            f"at character {start} it shows {observation[start : start + _SHOWN]!r}, "
            f"recorded was {expected[start : start + _SHOWN]!r}"
        )
    elif index < len(recorded.admissible) and admissible_hash(info["admissible_actions"]) != recorded.admissible[index]:
        what = "the observation is the same, the admissible actions are not"
    else:
        return
    raise EnvironmentFailure(
        f"Replaying `{recorded.task.key}` diverged after {after}: {what}.",
        "The environment or its data is not what it was when this was recorded, or it is not deterministic.",
        "Record the episode again; `agentdistill envs check` tells whether the environment is deterministic.",
    )
