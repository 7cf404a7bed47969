"""Successful action lists for curricula, and what is needed to replay their beginnings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from agentdistill.records import EpisodePlan, Recording, Task
from agentdistill.training.recordings import RecordingLookup

Lookup = Callable[[Task], tuple[str, ...] | None]


def no_demonstrations(task: Task) -> tuple[str, ...] | None:
    """The lookup of a run that has none."""
    return None


def demonstrated(recordings: RecordingLookup) -> Lookup:
    """The actions of recorded episodes."""

    def lookup(task: Task) -> tuple[str, ...] | None:
        recording = recordings(task)
        return recording.actions if recording is not None else None

    return lookup


def with_recording(plan: EpisodePlan, task: Task, recordings: RecordingLookup) -> EpisodePlan:
    """A plan whose prefix is the beginning of the task's recording, with what was seen then.

    The replay is then held against what was seen instead of against the acceptance of every action: demonstrations
    win in spite of an action here and there that does nothing. Words are written anew, as without a recording.
    Other plans are returned as they are.
    """
    length = len(plan.prefix)
    if not length or plan.recording is not None or plan.offline:
        return plan
    recording = recordings(task)
    if recording is None or recording.actions[:length] != plan.prefix:
        return plan
    seen = Recording(recording.goal, plan.prefix, recording.observations[: length + 1], expert=recording.expert)
    return dataclasses.replace(plan, recording=seen)
