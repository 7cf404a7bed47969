"""Plays a panel with the student alone, at full depth, and counts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentdistill.conversation.base import ContextPolicy
from agentdistill.engines.base import Engine
from agentdistill.envs.base import EnvironmentSource
from agentdistill.evaluate.published import protocol_notes
from agentdistill.evaluate.result import SUCCESS_RULE, EvalResult, Outcome
from agentdistill.evaluate.spending import USAGE, spent_in
from agentdistill.hashing import digest, neutral
from agentdistill.records import Actor, EpisodePlan, Panel, Trajectory
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play

if TYPE_CHECKING:
    from agentdistill.conversation.template import ChatRenderer


def outcome_of(trajectory: Trajectory, actor: Actor = Actor.STUDENT) -> Outcome:
    """What one episode counts for, by the turns of the one who is evaluated."""
    # A turn that the engine accounts for is the agent's own, whoever wrote it.
    turns = [step for step in trajectory.steps if step.actor is actor or USAGE in step.info]
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
        spent=spent_in(trajectory.steps),
        teacher_steps=sum(step.actor is not actor for step in turns),
    )


def episode_seed(seed: int, position: int, key: str) -> int:
    """Seed of one episode's sampling: independent of what else is played beside it."""
    return int(digest(["evaluate", seed, position, key])[:8], 16)


def conditions_of(source: EnvironmentSource, settings: RolloutSettings, players: str) -> dict[str, Any]:
    """What two evaluations must share whoever plays: step limit, rule of success, and the environment's settings.

    Of the environment's provenance these are the plain values (engine, dialect, …). What is nested there (data, library
    versions) is in the result's provenance; that the tasks are the same is the panel hash's business.
    """
    plain = {key: value for key, value in source.provenance().items() if isinstance(value, str | int | float | None)}
    return {
        "players": players,
        "samples_per_task": 1,
        "success_rule": SUCCESS_RULE,
        "max_steps": settings.max_steps,
        "environment": neutral(plain),
    }


def protocol_of(
    source: EnvironmentSource, context: ContextPolicy, settings: RolloutSettings, engine: Engine | None = None
) -> dict[str, Any]:
    """Everything two evaluations of students must share for their numbers to be comparable.

    Who plays is the student only, unless the engine says otherwise.
    """
    players = getattr(engine, "players", "student only")
    sampling = {name: getattr(settings, name) for name in ("max_new_tokens", "temperature", "top_p", "constrained")}
    return {
        **conditions_of(source, settings, f"{players}, full depth"),
        **sampling,
        "prompt_hash": context.prompt_hash,
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

    A context policy that knows other episodes is told which tasks are evaluated, so that it shows nothing of them.

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
    if hasattr(context, "hold_out"):
        context.hold_out(panel.tasks)
    protocol = protocol_of(source, context, settings, engine)
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
        protocol=protocol,
        outcomes=tuple(outcome_of(trajectory) for trajectory in trajectories),
        provenance={
            **provenance,
            "environment": neutral(dict(source.provenance())),
            "panel": neutral(dict(panel.provenance)),
            "notes": [*protocol_notes(panel, protocol), *(context.notes() if hasattr(context, "notes") else ())],
            **({"agent": neutral(dict(engine.provenance()))} if hasattr(engine, "provenance") else {}),
        },
        seed=seed,
        seconds=time.perf_counter() - began,
    )
