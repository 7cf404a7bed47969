"""Plays a panel with the student alone, at full depth, and counts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentdistill.conversation.base import ContextPolicy
from agentdistill.engines.base import Engine
from agentdistill.envs.base import EnvironmentSource
from agentdistill.evaluate.result import SUCCESS_RULE, EvalResult, Outcome
from agentdistill.hashing import digest
from agentdistill.provenance import neutral
from agentdistill.records import Actor, EpisodePlan, Panel, Trajectory
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play

if TYPE_CHECKING:
    from agentdistill.conversation.template import ChatRenderer


def outcome_of(trajectory: Trajectory) -> Outcome:
    """What one episode counts for."""
    turns = [step for step in trajectory.steps if step.actor is Actor.STUDENT]
    sampled = sum(int(row.mask.sum()) for row in trajectory.rows)
    return Outcome(
        task=trajectory.task,
        success=trajectory.success,
        stop=trajectory.stop,
        steps=len(turns),
        invalid=sum(not step.valid for step in turns),
        score=float(trajectory.score),
        prompt_tokens=sum(len(row) for row in trajectory.rows) - sampled,
        sampled_tokens=sampled,
    )


def episode_seed(seed: int, position: int, key: str) -> int:
    """Seed of one episode's sampling: independent of what else is played beside it."""
    return int(digest(["evaluate", seed, position, key])[:8], 16)


def protocol_of(source: EnvironmentSource, context: ContextPolicy, settings: RolloutSettings) -> dict[str, Any]:
    """Everything two evaluations must share for their numbers to be comparable.

    Of the environment's provenance these are the plain values (engine, dialect, …). What is nested there (data, library
    versions) is in the result's provenance; that the tasks are the same is the panel hash's business.
    """
    sampling = {
        name: getattr(settings, name) for name in ("max_steps", "max_new_tokens", "temperature", "top_p", "constrained")
    }
    plain = {key: value for key, value in source.provenance().items() if isinstance(value, str | int | float | None)}
    return {
        "players": "student only, full depth",
        "samples_per_task": 1,
        "success_rule": SUCCESS_RULE,
        **sampling,
        "prompt_hash": context.prompt_hash,
        "environment": neutral(plain),
    }


def evaluate(
    panel: Panel,
    *,
    source: EnvironmentSource,
    engine: Engine,
    renderer: ChatRenderer,
    context: ContextPolicy,
    settings: RolloutSettings,
    provenance: Mapping[str, Any],
    seed: int = 0,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> EvalResult:
    """Evaluates a student over a panel: it plays every turn, from the start, up to the step limit.

    Args:
        panel: the tasks.
        source: the environment.
        engine: samples from the student.
        renderer: its chat template.
        context: the context policy.
        settings: sampling and step limit. Expert actions are never asked for.
        provenance: goes into the result (see `agentdistill.provenance.collect`); the environment's and the panel's
            own are added.
        seed: seed of the sampling. With temperature 0 it does not matter.
        on_episode: sees each episode as it ends, in whatever order they end.

    Returns:
        The result. It depends on the arguments only, wall-clock time aside.
    """
    settings = dataclasses.replace(settings, want_expert=False)
    requests = [
        EpisodeRequest(
            task=task, plan=EpisodePlan(), sample=0, seed=episode_seed(seed, position, task.key), policy_version=0
        )
        for position, task in enumerate(panel.tasks)
    ]
    began = time.perf_counter()
    trajectories = play(
        requests,
        source=source,
        engine=engine,
        renderer=renderer,
        context=context,
        settings=settings,
        on_episode=on_episode,
    )
    return EvalResult(
        panel=panel.name,
        panel_hash=panel.hash,
        protocol=protocol_of(source, context, settings),
        outcomes=tuple(outcome_of(trajectory) for trajectory in trajectories),
        provenance={
            **provenance,
            "environment": neutral(dict(source.provenance())),
            "panel": neutral(dict(panel.provenance)),
        },
        seed=seed,
        seconds=time.perf_counter() - began,
    )
