"""What the environment's own expert reaches over a panel: the ceiling of a benchmark, without any model."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from agentdistill.conversation.base import Situation
from agentdistill.envs.base import EnvironmentSource
from agentdistill.errors import EnvironmentFailure
from agentdistill.evaluate.published import protocol_notes
from agentdistill.evaluate.result import EvalResult
from agentdistill.evaluate.run import conditions_of, episode_seed, outcome_of
from agentdistill.hashing import neutral
from agentdistill.records import Actor, Panel, StopReason, Trajectory
from agentdistill.rollout.episode import EpisodeRequest, RolloutSettings
from agentdistill.rollout.scripted import GiveUp, play_actions

PLAYERS = "the environment's expert, full depth"
"""Who plays; part of the protocol."""


def evaluate_expert(
    panel: Panel,
    *,
    source: EnvironmentSource,
    settings: RolloutSettings,
    provenance: Mapping[str, Any],
    seed: int = 0,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> EvalResult:
    """Lets the environment's expert play a panel, one episode after another.

    An expert that has no more advice has lost the episode. As for a student, an episode whose environment died is
    aborted and says nothing.

    Args:
        panel: the tasks.
        source: the environment.
        settings: the step limit; nothing is sampled.
        provenance: goes into the result; the environment's and the panel's own are added.
        seed: kept in the result; nothing is drawn.
        on_episode: sees each episode as it ends.

    Returns:
        The result.

    Raises:
        EnvironmentFailure: the environment has no expert.
    """
    settings = dataclasses.replace(settings, want_expert=True)
    began = time.perf_counter()
    protocol = {**conditions_of(source, settings, PLAYERS)}
    requests = [
        EpisodeRequest(task=task, seed=episode_seed(seed, position, task.key))
        for position, task in enumerate(panel.tasks)
    ]
    played = play_actions(requests, source=source, policy=_advice, settings=settings, on_episode=on_episode)
    if not any(trajectory.steps or trajectory.stop is StopReason.ABORTED for trajectory in played):
        raise EnvironmentFailure(
            f"The environment `{source.name}` has no expert.",
            'It offered no `expert_action` in any episode, though asked with options {"expert": True}.',
            "Evaluate a student, or choose an expert in the options of the environment if it has several.",
        )
    return EvalResult(
        panel=panel.name,
        panel_hash=panel.hash,
        protocol=protocol,
        outcomes=tuple(outcome_of(trajectory, Actor.EXPERT) for trajectory in played),
        provenance={
            **provenance,
            "environment": neutral(dict(source.provenance())),
            "panel": neutral(dict(panel.provenance)),
            "notes": protocol_notes(panel, protocol),
        },
        seed=seed,
        seconds=time.perf_counter() - began,
    )


def _advice(situation: Situation, info: Mapping[str, Any]) -> str | GiveUp:
    """The expert's action; without one the episode is lost."""
    action: str | None = info.get("expert_action")
    return GiveUp(StopReason.FAILURE, "the expert had no action to offer") if action is None else action
