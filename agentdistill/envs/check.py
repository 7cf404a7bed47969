"""What every environment must do, checked on the real thing: behind `agentdistill envs check`."""

from __future__ import annotations

import json
import pickle
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.envs.base import INFO_KEYS, EnvironmentSource
from agentdistill.envs.replay import record, restore
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

_TYPES: dict[str, type | tuple[type, ...]] = {
    "admissible_actions": list,
    "won": bool,
    "score": (int, float),
    "task": str,
    "valid": bool,
}
_TRIED_ACTIONS = 25


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: what was checked.
        passed: whether it holds.
        detail: what was seen, or what went wrong.
    """

    name: str
    passed: bool
    detail: str


class _Failed(Exception):
    """A check does not hold; the message says what was seen."""


def check_environment(
    source: EnvironmentSource, split: str, *, episodes: int = 2, steps: int = 12, expert_steps: int = 100, seed: int = 0
) -> list[CheckResult]:
    """Runs every check; a failure of one does not stop the others.

    Args:
        source: the environment.
        split: split to draw tasks from.
        episodes: number of tasks to try, spread over the split.
        steps: random actions per task.
        expert_steps: steps within which the expert must succeed.
        seed: seed of the random play.

    Returns:
        One result per check, in a fixed order.
    """
    try:
        tasks = list(source.tasks(split))
    except Exception as error:
        return [CheckResult("tasks", False, f"{type(error).__name__}: {error}")]
    chosen = [tasks[index * len(tasks) // episodes] for index in range(min(episodes, len(tasks)))]
    kit = _Kit(source, split, tasks, chosen, steps, expert_steps, seed)
    checks: dict[str, Callable[[], str]] = {
        "tasks": kit.tasks_are_sound,
        "gymnasium": kit.gymnasium,
        "info": kit.info,
        "spaces": kit.spaces,
        "seeding": kit.seeding,
        "steps": kit.same_steps,
        "replay": kit.replay,
        "admissible": kit.admissible,
        "expert": kit.expert,
        "provenance": kit.provenance,
        "pickling": kit.pickling,
    }
    return [_run(name, check) for name, check in checks.items()]


def _run(name: str, check: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name, True, check())
    except _Failed as failure:
        return CheckResult(name, False, str(failure))
    # Whatever the environment raises is this check's finding.
    except Exception as error:
        return CheckResult(name, False, f"{type(error).__name__}: {error}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise _Failed(message)


@dataclass(frozen=True, slots=True)
class _Kit:
    source: EnvironmentSource
    split: str
    tasks: Sequence[Task]
    chosen: Sequence[Task]
    steps: int
    expert_steps: int
    seed: int

    @contextmanager
    def _env(self) -> Iterator[TextEnv]:
        env = self.source.make()
        try:
            yield env
        finally:
            env.close()

    def _walk(self, env: TextEnv, task: Task) -> list[tuple[Any, ...]]:
        """Random play; every tenth action is nonsense, which must be survived too."""
        rng = random.Random(f"{self.seed}/{task.key}")
        observation, info = env.reset(seed=task.seed, options={"task": task})
        seen: list[tuple[Any, ...]] = [("", observation, 0.0, False, False, info)]
        for _ in range(self.steps):
            offered = info["admissible_actions"]
            action = rng.choice(offered) if offered and rng.random() < 0.9 else "xyzzy"
            observation, reward, terminated, truncated, info = env.step(action)
            seen.append((action, observation, reward, terminated, truncated, info))
            if terminated or truncated:
                break
        return seen

    def tasks_are_sound(self) -> str:
        keys = [task.key for task in self.tasks]
        _require(bool(keys), f"the split {self.split} has no tasks")
        _require(len(set(keys)) == len(keys), "two tasks have the same key")
        _require(list(self.source.tasks(self.split)) == list(self.tasks), "asked twice, the tasks differ")
        strangers = sorted({task.env for task in self.tasks} - {self.source.name})
        _require(not strangers, f"tasks say env={strangers}, the source is named {self.source.name!r}")
        return f"{len(keys)} tasks, {len({task.type for task in self.tasks})} types"

    def gymnasium(self) -> str:
        from gymnasium.utils.env_checker import check_env

        with self._env() as env, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env.unwrapped, skip_render_check=True)
        messages = [str(warning.message) for warning in caught if "gymnasium" in str(warning.filename)]
        _require(not messages, "; ".join(messages))
        return "gymnasium.utils.env_checker.check_env passes without warnings"

    def info(self) -> str:
        with self._env() as env:
            for task in self.chosen:
                for action, *_, info in self._walk(env, task):
                    for name, kind in _TYPES.items():
                        _require(name in info, f"info lacks {name!r} after {action!r}: {INFO_KEYS[name]}")
                        _require(isinstance(info[name], kind), f"info[{name!r}] is {info[name]!r}: {INFO_KEYS[name]}")
                    _require("expert_action" not in info, "info has expert_action though nobody asked for it")
                    _require(bool(action) or (info["valid"] and not info["won"]), "after reset valid=True, won=False")
        return f"{len(_TYPES)} keys, with their types, in every state"

    def spaces(self) -> str:
        longest = 0
        with self._env() as env:
            for task in self.chosen:
                for action, observation, *_, info in self._walk(env, task):
                    _require(observation in env.observation_space, f"observation outside its space: {observation!r}")
                    outside = [a for a in [action, *info["admissible_actions"]] if a not in env.action_space]
                    _require(not outside, f"actions outside their space: {outside[:3]!r}")
                    longest = max(longest, len(observation))
        return f"longest observation {longest} characters"

    def seeding(self) -> str:
        with self._env() as one, self._env() as other:
            for seed in range(self.seed, self.seed + 3):
                first, second = one.reset(seed=seed), other.reset(seed=seed)
                _require(first == second, f"reset(seed={seed}) differs between two environments")
                _require(one.reset() == other.reset(), f"the reset after reset(seed={seed}) differs")
        return "two environments, three seeds"

    def same_steps(self) -> str:
        count = 0
        for task in self.chosen:
            with self._env() as one, self._env() as other:
                for first, second in zip(self._walk(one, task), self._walk(other, task), strict=True):
                    _require(first == second, f"{task.key}: after {first[0]!r} two environments differ")
                    count += 1
        return f"{count} states, equal in two environments"

    def replay(self) -> str:
        for task in self.chosen:
            with self._env() as env, self._env() as fresh:
                actions = [action for action, *_ in self._walk(env, task)][1:]
                played = record(env, task, actions)
                state = restore(fresh, played)
                _require(restore(env, played) == state, f"{task.key}: two replays give two states")
        return f"{len(self.chosen)} episodes restored in the same and in a fresh environment"

    def admissible(self) -> str:
        tried = 0
        with self._env() as env:
            for task in self.chosen:
                actions = [action for action, *_, terminated, truncated, _ in self._walk(env, task)[1:]]
                played = record(env, task, actions[: len(actions) // 2])
                _, info = restore(env, played)
                for action in info["admissible_actions"][:_TRIED_ACTIONS]:
                    restore(env, played)
                    *_, after = env.step(action)
                    _require(after["valid"], f"{task.key}: {action!r} was offered and then refused")
                    tried += 1
        return f"{tried} offered actions, all accepted" if tried else "the environment offers none"

    def expert(self) -> str:
        lengths = []
        with self._env() as env:
            for task in self.chosen:
                _, info = env.reset(seed=task.seed, options={"task": task, "expert": True})
                _require("expert_action" in info, "asked for, info has no expert_action (None when there is no expert)")
                length = 0
                while info["expert_action"] is not None and not info["won"] and length < self.expert_steps:
                    *_, terminated, truncated, info = env.step(info["expert_action"])
                    length += 1
                    _require(not terminated or info["won"], f"{task.key}: terminated without success")
                    if terminated or truncated:
                        break
                if not length:
                    return "the environment has no expert"
                _require(info["won"], f"{task.key}: the expert did not succeed within {length} steps")
                lengths.append(length)
        return f"succeeds in {', '.join(map(str, lengths))} steps"

    def provenance(self) -> str:
        text = json.dumps(dict(self.source.provenance()), sort_keys=True)
        _require(str(Path.home()) not in text, "provenance names a folder of this machine")
        return f"{len(text)} bytes"

    def pickling(self) -> str:
        copy = pickle.loads(pickle.dumps(self.source))
        _require(list(copy.tasks(self.split)) == list(self.tasks), "a pickled copy has other tasks")
        return "a pickled source has the same tasks"
