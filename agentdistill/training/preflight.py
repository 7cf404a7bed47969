"""Checks made with the run's own parts before anything is paid for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from agentdistill.records import EpisodePlan
from agentdistill.rollout.play import EpisodeRequest, play
from agentdistill.teachers.selfcheck import SelfCheck, check_self_score

if TYPE_CHECKING:
    from agentdistill.training.assembly import Parts

_EPISODES = 2
_TURNS = 4


def self_score(parts: Parts) -> SelfCheck:
    """Plays a few turns with the student and lets it score itself: the difference must vanish.

    Args:
        parts: the assembled run.

    Raises:
        TrainingError: the student does not reproduce the log-probabilities of its own rollouts.
    """
    requests = [
        EpisodeRequest(task=task, plan=EpisodePlan(horizon=_TURNS), sample=0, seed=index, policy_version=0)
        for index, task in enumerate(parts.tasks[:_EPISODES])
    ]
    played = play(
        requests,
        source=parts.source,
        engine=parts.engine,
        renderer=parts.renderer,
        context=parts.context,
        settings=dataclasses.replace(parts.settings, want_expert=False),
    )
    return check_self_score(parts.student, played, batch_tokens=parts.config.optim.micro_batch_tokens)
