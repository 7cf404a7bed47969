"""What every environment must do, checked on the real thing: behind `agentdistill envs check`.

`agentdistill.testing` offers the same as tests. Each check stands for one rule; its docstring is the rule.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agentdistill.envs import endurance, rules
from agentdistill.envs.base import EnvironmentSource
from agentdistill.envs.probe import Probe, RuleBroken

_CHECKS: dict[str, Callable[[Probe], str]] = {
    "tasks": rules.tasks,
    "api": rules.api,
    "gymnasium": rules.gymnasium,
    "info": rules.info,
    "spaces": rules.spaces,
    "seeding": rules.seeding,
    "steps": rules.steps,
    "randomness": rules.randomness,
    "isolation": endurance.isolation,
    "replay": rules.replay,
    "admissible": rules.admissible,
    "endings": rules.endings,
    "expert": rules.expert,
    "unicode": endurance.unicode,
    "long-action": endurance.long_action,
    "provenance": rules.provenance,
    "pickling": rules.pickling,
    "leaks": endurance.leaks,
}

RULES: dict[str, str] = {name: " ".join((inspect.getdoc(check) or "").split()) for name, check in _CHECKS.items()}
"""Every check by name, with the rule it stands for, in the order in which they are made."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: what was checked, a key of `RULES`.
        passed: whether it holds.
        detail: what was seen, or what went wrong.
    """

    name: str
    passed: bool
    detail: str

    @property
    def rule(self) -> str:
        """The rule, in words."""
        return RULES.get(self.name, "")


def check_environment(
    source: EnvironmentSource,
    split: str,
    *,
    episodes: int = 2,
    steps: int = 12,
    expert_steps: int = 100,
    seed: int = 0,
    only: Sequence[str] = (),
) -> list[CheckResult]:
    """Runs every check; a failure of one does not stop the others.

    Args:
        source: the environment.
        split: split to draw tasks from.
        episodes: number of tasks to try, spread over the split.
        steps: random actions per task.
        expert_steps: steps within which the expert must succeed.
        seed: seed of the random play.
        only: names of checks; none makes all of them.

    Returns:
        One result per check, in a fixed order. A split without tasks, or one that raises, gives the single result
        "tasks".

    Raises:
        ValueError: `only` names no check.
    """
    return list(
        iterate_checks(source, split, episodes=episodes, steps=steps, expert_steps=expert_steps, seed=seed, only=only)
    )


def iterate_checks(
    source: EnvironmentSource,
    split: str,
    *,
    episodes: int = 2,
    steps: int = 12,
    expert_steps: int = 100,
    seed: int = 0,
    only: Sequence[str] = (),
) -> Iterator[CheckResult]:
    """As `check_environment`, one result at a time, as soon as it is known."""
    unknown = [name for name in only if name not in RULES]
    if unknown:
        raise ValueError(f"there is no check {unknown[0]!r}; checks: {', '.join(RULES)}")
    try:
        tasks = list(source.tasks(split))
    # Whatever the environment raises is a finding.
    except Exception as error:
        yield CheckResult("tasks", False, f"{type(error).__name__}: {error}")
        return
    chosen = [tasks[index * len(tasks) // episodes] for index in range(min(episodes, len(tasks)))]
    probe = Probe(source, split, tasks, chosen, steps, expert_steps, seed)
    for name, check in _CHECKS.items():
        if not only or name in only or not tasks:
            yield _run(name, check, probe)
        if not tasks:
            return


def _run(name: str, check: Callable[[Probe], str], probe: Probe) -> CheckResult:
    try:
        return CheckResult(name, True, check(probe))
    except RuleBroken as failure:
        return CheckResult(name, False, str(failure))
    # Whatever the environment raises is this check's finding.
    except Exception as error:
        return CheckResult(name, False, f"{type(error).__name__}: {error}")
