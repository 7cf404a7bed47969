"""How views put episodes into words: numbered actions, without anybody's thoughts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from agentdistill.records import Step, Trajectory

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


def without_thoughts(text: str) -> str:
    """A response without what stands in `<think>`; an opened thought that was never closed ends the response."""
    return _THOUGHT.sub("", text.rpartition("</think>")[2] if "<think>" not in text else text).strip()


def said(step: Step, thoughts: bool = False) -> str:
    """What an agent did in a turn: the command, or what it wrote when none was read; its whole response on request."""
    if thoughts:
        return step.response.strip()
    return step.action or without_thoughts(step.response) or "(nothing)"


def numbered(steps: Iterable[Step], *, observations: bool = False, thoughts: bool = False) -> str:
    """Turns one below the other.

    Args:
        steps: the turns.
        observations: with what was seen before each.
        thoughts: whole responses instead of commands.
    """
    return "\n".join(_lines(steps, observations, thoughts))


def _lines(steps: Iterable[Step], observations: bool, thoughts: bool) -> Iterator[str]:
    for number, step in enumerate(steps, start=1):
        if observations:
            yield f"[{number}] saw: {step.observation.strip()}"
            yield f"[{number}] did: {said(step, thoughts)}"
        else:
            yield f"{number}. {said(step, thoughts)}"


def answer_to(trajectory: Trajectory, position: int) -> str | None:
    """What the environment answered to the turn at a position; None where the record does not say."""
    following = trajectory.steps[position + 1 : position + 2]
    return following[0].observation.strip() if following else None


def tasks_of(trajectories: Iterable[Trajectory]) -> list[tuple[str, str, str]]:
    """Which task each episode is of."""
    return [(t.task.env, t.task.split, t.task.key) for t in trajectories]
