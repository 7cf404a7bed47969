"""What a guide would have written at every state the student acted in: extra rows to imitate, made after the episode.

The student's episode stays as it was played. Beside it stands one more trajectory with the same task, seed and plan,
whose steps have the indices of the student's turns, the guide as their actor and the role `IMITATE`. Every step has a
row of its own: the very tokens the student was shown before that turn, then the guide's response. To a learner it is a
demonstration like any other; `meta["relabels"]` tells it from an episode that was played, which it is not: no reward,
success rate or depth may be counted on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentdistill.conversation.base import ContextPolicy, Situation
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import ConfigError
from agentdistill.hashing import digest
from agentdistill.records import (
    CONTEXT,
    Actor,
    LossRole,
    Relabel,
    Step,
    StopReason,
    TokenRow,
    Trajectory,
)
from agentdistill.rollout.episode import RolloutSettings
from agentdistill.rollout.guide import Guide, GuideTurn


@dataclass(slots=True)
class _Revisit:
    """A trajectory whose states are visited again, and what the guide wrote so far."""

    trajectory: Trajectory
    session: str
    own: list[Step]
    steps: list[Step] = field(default_factory=list)
    rows: list[TokenRow] = field(default_factory=list)

    @property
    def relabel(self) -> Relabel:
        """The plan's wish."""
        relabel = self.trajectory.plan.relabel
        assert relabel is not None
        return relabel

    def prompt(self, step: Step) -> list[int]:
        """The tokens the student was shown before a turn."""
        ids: list[int] = self.trajectory.rows[step.row].token_ids[: step.start].tolist()
        return ids

    def turn(self, step: Step) -> GuideTurn:
        """The turn as the guide is asked for it."""
        seed = int(digest([self.trajectory.seed, step.index, "relabel"])[:16], 16)
        request = GenerationRequest(self.session, self.prompt(step), seed, situation=self.situation(step))
        return GuideTurn(request, step.info)

    def situation(self, step: Step) -> Situation:
        """What the student was shown before a turn, for guides that read words."""
        before = [earlier for earlier in self.trajectory.steps if earlier.index < step.index]
        known = step.info.get("admissible_actions") or ()
        goal = str(self.trajectory.meta.get("goal", ""))
        return Situation(goal, step.observation, known, before, self.trajectory.task)

    def add(self, step: Step, answer: Generation, renderer: ChatRenderer, context: ContextPolicy) -> None:
        """Writes the guide's response down."""
        prompt, ids = self.prompt(step), list(answer.token_ids)
        length, start = len(prompt) + len(ids), len(prompt)
        response = renderer.decode(ids) if answer.text is None else answer.text
        parsed = context.parse(response)
        row = TokenRow(
            np.asarray(prompt + ids, dtype=np.int32),
            np.asarray([CONTEXT] * start + [step.index] * len(ids), dtype=np.int32),
            np.zeros(length, dtype=np.bool_),
            np.full(length, np.nan, dtype=np.float32),
        )
        self.steps.append(
            Step(
                step.index,
                step.observation,
                response,
                parsed.action,
                valid=parsed.well_formed,
                actor=self.relabel.actor,
                loss_role=LossRole.IMITATE,
                row=len(self.rows),
                start=start,
                end=length,
                info={"finish": answer.finish, "student_action": step.action},
            )
        )
        self.rows.append(row)


def relabelled(
    trajectories: Sequence[Trajectory],
    *,
    guides: Mapping[Actor, Guide],
    renderer: ChatRenderer,
    context: ContextPolicy,
    settings: RolloutSettings,
) -> list[Trajectory]:
    """Asks the guides of plans with `relabel` for their own turns.

    Args:
        trajectories: episodes as played; those whose plan asks for nothing, and aborted ones, are passed over.
        guides: who can be asked.
        renderer: decodes responses.
        context: reads their actions.
        settings: how long a response may be; plans say at which temperature.

    Returns:
        One trajectory for each that got at least one answer. A guide without an answer, or without room for one in
        its context, leaves a turn out.

    Raises:
        ConfigError: a plan asks for a guide the run does not have.
    """
    visits = [
        _Revisit(trajectory, f"relabel-{index}", [s for s in trajectory.steps if _own(s)])
        for index, trajectory in enumerate(trajectories)
        if trajectory.plan.relabel is not None and trajectory.stop is not StopReason.ABORTED
    ]
    groups: dict[tuple[Actor, float], list[_Revisit]] = {}
    for visit in visits:
        groups.setdefault((visit.relabel.actor, visit.relabel.temperature), []).append(visit)
    for (actor, temperature), members in groups.items():
        if actor not in guides:
            raise ConfigError(
                f"Episodes are to be relabelled by the {actor.value}, who is not there.",
                "The run has no such guide.",
                f'A curriculum whose plans ask for it declares "{actor.value}" in its `needs`.',
            )
        sampling = Sampling(settings.max_new_tokens, renderer.stop_ids, temperature, 1.0)
        for start in range(0, len(members), settings.concurrency):
            _visit(members[start : start + settings.concurrency], guides[actor], sampling, renderer, context)
    return [
        dataclasses.replace(
            visit.trajectory, steps=visit.steps, rows=visit.rows, meta={**visit.trajectory.meta, "relabels": True}
        )
        for visit in visits
        if visit.steps
    ]


def _own(step: Step) -> bool:
    return step.actor is Actor.STUDENT and step.row >= 0 and not step.info.get("replayed")


def _visit(
    visits: Sequence[_Revisit], guide: Guide, sampling: Sampling, renderer: ChatRenderer, context: ContextPolicy
) -> None:
    """Turn by turn in one batch, so that an engine that keeps conversations reads every token once."""
    try:
        for rank in range(max((len(visit.own) for visit in visits), default=0)):
            asked = [visit for visit in visits if rank < len(visit.own)]
            answers = guide.respond([visit.turn(visit.own[rank]) for visit in asked], sampling)
            for visit, answer in zip(asked, answers, strict=True):
                if answer is not None and answer.token_ids:
                    visit.add(visit.own[rank], answer, renderer, context)
    finally:
        guide.release([visit.session for visit in visits])
