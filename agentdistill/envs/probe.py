"""What the checks of an environment share: its tasks, environments that are closed again, and play that is watched."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from agentdistill.envs.base import EnvironmentSource
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

NONSENSE = "xyzzy"
"""A command that no environment knows."""

_SHOWN = 120


class RuleBroken(Exception):
    """A rule does not hold; the message says what was seen."""


def require(holds: bool, message: str) -> None:
    """Raises when a rule does not hold.

    Raises:
        RuleBroken: with the message.
    """
    if not holds:
        raise RuleBroken(message)


class State(NamedTuple):
    """What an environment answered to one action ("" is the reset)."""

    action: str
    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def over(self) -> bool:
        """The episode ended here."""
        return bool(self.terminated or self.truncated)

    @property
    def offered(self) -> list[str]:
        """The admissible actions, none when it does not say."""
        return list(self.info.get("admissible_actions") or ())


@dataclass(frozen=True, slots=True)
class Probe:
    """One environment under examination.

    Attributes:
        source: the environment.
        split: split of its tasks.
        tasks: all of them.
        chosen: those that are played.
        steps: random actions per task.
        expert_steps: steps within which the expert must succeed.
        seed: seed of the random play.
    """

    source: EnvironmentSource
    split: str
    tasks: Sequence[Task]
    chosen: Sequence[Task]
    steps: int
    expert_steps: int
    seed: int

    @contextmanager
    def env(self) -> Iterator[TextEnv]:
        """An environment that is closed at the end."""
        env = self.source.make()
        try:
            yield env
        finally:
            env.close()

    def reset(self, env: TextEnv, task: Task, *, expert: bool = False) -> State:
        """Starts a task, and checks the form of the answer.

        Raises:
            RuleBroken: `reset` returned something else than (observation, info).
        """
        options = {"task": task, **({"expert": True} if expert else {})}
        observation, info = answer_of_reset(env.reset(seed=task.seed, options=options))
        return State("", observation, 0.0, False, False, info)

    def step(self, env: TextEnv, action: str) -> State:
        """Takes one action, and checks the form of the answer.

        Raises:
            RuleBroken: `step` returned something else than Gymnasium's five values.
        """
        return State(action, *answer_of_step(env.step(action), action))

    def walk(self, env: TextEnv, task: Task) -> list[State]:
        """Random play of one task; every tenth action is nonsense, which must be survived too."""
        return list(self.stroll(env, task))

    def stroll(self, env: TextEnv, task: Task) -> Iterator[State]:
        """The same play, one state at a time."""
        rng = random.Random(f"{self.seed}/{task.key}")
        state = self.reset(env, task)
        yield state
        for _ in range(self.steps):
            offered = state.offered
            state = self.step(env, rng.choice(offered) if offered and rng.random() < 0.9 else NONSENSE)
            yield state
            if state.over:
                return


def answer_of_reset(answer: Any) -> tuple[str, dict[str, Any]]:
    """Takes apart what `reset` returned.

    Raises:
        RuleBroken: it is not (observation, info).
    """
    form = "reset must return (observation, info), a text and a dict"
    require(isinstance(answer, tuple) and len(answer) == 2, f"{form}; it returned {shown(answer)}")
    observation, info = answer
    require(isinstance(observation, str), f"{form}; the observation is {shown(observation)}")
    require(isinstance(info, dict), f"{form}; info is {shown(info)}")
    return observation, info


def answer_of_step(answer: Any, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """Takes apart what `step` returned.

    Raises:
        RuleBroken: it is not (observation, reward, terminated, truncated, info) with their types.
    """
    import numpy as np

    form = "step must return (observation, reward, terminated, truncated, info)"
    after = f"after {shown(action)}"
    require(isinstance(answer, tuple) and len(answer) == 5, f"{form}; {after} it returned {shown(answer)}")
    observation, reward, terminated, truncated, info = answer
    require(isinstance(observation, str), f"{form}; {after} the observation is {shown(observation)}")
    number = isinstance(reward, int | float | np.integer | np.floating) and math.isfinite(reward)
    require(number, f"{form}; {after} the reward is {shown(reward)}, not a finite number")
    for name, value in (("terminated", terminated), ("truncated", truncated)):
        require(isinstance(value, bool | np.bool_), f"{form}; {after} {name} is {shown(value)}, not a bool")
    require(isinstance(info, dict), f"{form}; {after} info is {shown(info)}")
    return observation, reward, terminated, truncated, info


def shown(value: Any) -> str:
    """A value for a message: its type when that says more, never longer than a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({type(value).__name__} of {len(text):,} characters)"
