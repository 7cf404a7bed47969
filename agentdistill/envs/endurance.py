"""The rules of an environment that show only under stress: other environments beside it, hostile text, many lives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentdistill.envs.hostile import HOSTILE_TEXTS, huge_texts, random_texts
from agentdistill.envs.leaks import watch
from agentdistill.envs.probe import NONSENSE, Probe, RuleBroken, State, require, shown
from agentdistill.envs.rules import same
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

_LIVES = 2
_STEPS_OF_A_LIFE = 3
_RANDOM_TEXTS = 20
_SLOWEST = 10.0
"""Seconds that an action of a megabyte may take."""


def isolation(probe: Probe) -> str:
    """Two environments of one process do not disturb each other, whoever moves first."""
    pair = (probe.chosen[0], probe.chosen[-1])
    alone = []
    for task in pair:
        with probe.env() as env:
            alone.append(probe.walk(env, task))
    with probe.env() as one, probe.env() as other:
        strolls = [probe.stroll(env, task) for env, task in zip((one, other), pair, strict=True)]
        together: list[list[State]] = [[], []]
        for _ in range(max(len(states) for states in alone)):
            for seen, stroll in zip(together, strolls, strict=True):
                state = next(stroll, None)
                if state is not None:
                    seen.append(state)
    for task, before, now in zip(pair, alone, together, strict=True):
        for left, right in zip(before, now, strict=False):
            told = f"{task.key}: after {right.action!r} it answers otherwise when another environment plays beside it"
            require(same(left, right), told)
        require(len(before) == len(now), f"{task.key}: it ends at another step when another environment plays too")
    return f"{sum(len(states) for states in alone)} states, equal alone and side by side"


def unicode(probe: Probe) -> str:
    """Any text is a possible action: it is answered, never raised at, and leaves no trace in the next episode."""
    task = probe.chosen[0]
    texts = [*HOSTILE_TEXTS, *random_texts(_RANDOM_TEXTS, probe.seed)]
    with probe.env() as env:
        first = probe.reset(env, task)
        for text in texts:
            told = f"the action space does not contain {shown(text)}; agentdistill.envs.spaces.Utf8Text does"
            require(text in env.action_space, told)
            state = _step(probe, env, text)
            told = f"after the action {shown(text)} the observation is outside its space: {shown(state.observation)}"
            require(state.observation in env.observation_space, told)
            if state.over:
                probe.reset(env, task)
        told = f"{task.key}: after hostile actions, reset starts elsewhere"
        require(probe.reset(env, task).observation == first.observation, told)
    return f"{len(texts)} hostile texts, all answered"


def long_action(probe: Probe) -> str:
    """An action of a megabyte is answered in reasonable time."""
    slowest = 0.0
    with probe.env() as env:
        probe.reset(env, probe.chosen[0])
        for text in huge_texts():
            began = time.perf_counter()
            state = _step(probe, env, text)
            slowest = max(slowest, time.perf_counter() - began)
            told = f"after an action of {len(text):,} characters the observation is outside its space"
            require(state.observation in env.observation_space, told)
            require(slowest < _SLOWEST, f"an action of {len(text):,} characters took {slowest:.1f} s")
            if state.over:
                probe.reset(env, probe.chosen[0])
    return f"a megabyte is answered in {slowest:.2f} s at most"


def leaks(probe: Probe) -> str:
    """Closed means gone: no process stays, and no temporary file, open file or thread is added by another life."""
    task = probe.chosen[0]
    with watch() as watcher:
        start = watcher.snapshot()
        _live(probe, task)
        settled = watcher.snapshot()
        for _ in range(_LIVES):
            _live(probe, task)
        left = watcher.left_since(settled)
        require(not left, f"{_LIVES} environments were made, played and closed; left over are {'; '.join(left)}")
        stay = watcher.left_since(start, processes_only=True)
        require(not stay, f"after close() there are still {'; '.join(stay)}")
    what = "files, threads and processes" if watcher.sees_processes else "files and threads (this system has no /proc)"
    return f"{_LIVES + 1} lives, no {what} left over"


def _live(probe: Probe, task: Task) -> None:
    with probe.env() as env:
        state = probe.reset(env, task)
        for _ in range(_STEPS_OF_A_LIFE):
            if state.over:
                break
            state = probe.step(env, (state.offered or [NONSENSE])[0])


def _step(probe: Probe, env: TextEnv, text: str) -> State:
    try:
        return probe.step(env, text)
    except RuleBroken:
        raise
    except Exception as error:
        raise RuleBroken(f"the action {shown(text)} raised {type(error).__name__}: {shown(str(error))}") from error
