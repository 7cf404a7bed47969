"""Decisions about a turn that the student has written and that is not yet sent: keep it, hand over, stop after it.

A plan may carry a `TurnControl`: the name of a pure function and its numbers. It sees what is known of the turn and of
the episode so far, also what the teacher thinks of the turn where the control is `scored`. What it decides, and on what
evidence, is written into the step, so that a record says why somebody else played.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from agentdistill.engines.base import Generation, GenerationRequest
from agentdistill.errors import PluginError
from agentdistill.records import (
    CONTEXT,
    Actor,
    EpisodePlan,
    Step,
    StopReason,
    TeacherScores,
    TokenRow,
    Trajectory,
    TurnControl,
)

if TYPE_CHECKING:
    from agentdistill.conversation.base import ParsedAction
    from agentdistill.rollout.episode import Episode

OnlineScores = Callable[[Sequence[Trajectory]], Sequence[Sequence[TeacherScores]]]
"""A teacher's `score` with its request fixed. It is given episodes of one turn and one row each: the conversation so
far, and the response to be scored."""


@dataclass(frozen=True, slots=True)
class TurnEvidence:
    """What is known when a turn is decided on.

    Attributes:
        turn: index of the turn in the episode.
        played: turns played before it, replayed ones not counted.
        well_formed: an action could be read in the response.
        action: that action, "" for none.
        tokens: tokens of the response.
        student_logprob: their mean log-probability under the student, nats.
        teacher_logprob: the same under the teacher; NaN when not asked for, or without an opinion.
        past: `teacher_logprob` of the student's earlier turns that were sent, in order; NaN as above.
        stale: turns in a row before this one that led nowhere: not accepted, or the action of the turn before once
            more with nothing new to be seen.
        guided: turns in a row before this one that somebody else played.
    """

    turn: int
    played: int
    well_formed: bool
    action: str
    tokens: int
    student_logprob: float
    teacher_logprob: float = math.nan
    past: tuple[float, ...] = ()
    stale: int = 0
    guided: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a turn; the default is to send it and go on.

    Attributes:
        guide: turns, this one included, that the plan's guide plays instead of the student. A guide without an answer
            leaves its turn to the student.
        stop: end the episode after this turn, which is sent, and trained like any other.
    """

    guide: int = 0
    stop: bool = False


KEEP = Decision()
"""Send the turn and go on."""


@dataclass(slots=True)
class Proposal:
    """A turn the student has written, to be decided on.

    Attributes:
        episode: its episode.
        request: what it answers.
        generation: what was written.
        response: the same as text.
        parsed: the action in it.
        evidence: filled by `decide`.
        decision: filled by `decide`.
    """

    episode: Episode
    request: GenerationRequest
    generation: Generation
    response: str
    parsed: ParsedAction
    evidence: TurnEvidence | None = None
    decision: Decision = field(default=KEEP)

    @property
    def control(self) -> TurnControl:
        """The plan's control."""
        control = self.episode.request.plan.control
        assert control is not None
        return control

    def notes(self) -> dict[str, Any]:
        """What the step remembers: the evidence, as far as there is any, and what was decided."""
        assert self.evidence is not None
        notes: dict[str, Any] = {"student_logprob": self.evidence.student_logprob, "tokens": self.evidence.tokens}
        if not math.isnan(self.evidence.teacher_logprob):
            notes["teacher_logprob"] = self.evidence.teacher_logprob
        if self.decision.guide:
            notes["guide"] = self.decision.guide
        if self.decision.stop:
            notes["stop"] = True
        return notes


def decide(proposals: Sequence[Proposal], score: OnlineScores | None) -> None:
    """Fills evidence and decision of proposals, asking the teacher once for all that want its opinion.

    Args:
        proposals: turns of different episodes.
        score: asks the teacher; needed when a control is `scored`.

    Raises:
        PluginError: a control cannot be imported or decides something that is no `Decision`, or there is nobody to ask.
    """
    asked = [proposal for proposal in proposals if proposal.control.scored]
    opinions: dict[int, float] = {}
    if asked:
        if score is None:
            raise PluginError(
                f"The control `{asked[0].control.decide}` wants the teacher's scores while the student plays.",
                "The run gives none.",
                'A curriculum whose plans have such a control declares "scores" in its `needs`.',
            )
        answers = score([_single_turn(proposal) for proposal in asked])
        for proposal, (scores,) in zip(asked, answers, strict=True):
            opinions[id(proposal)] = _mean(scores.sampled_logprob[len(proposal.request.prompt) :])
    for proposal in proposals:
        proposal.evidence = _evidence(proposal, opinions.get(id(proposal), math.nan))
        control = proposal.control
        decision = _resolve(control.decide)(proposal.evidence, control.numbers)
        if not isinstance(decision, Decision):
            raise PluginError(
                f"The control `{control.decide}` decided {decision!r}.",
                "It must return an `agentdistill.rollout.control.Decision`.",
                "Correct the plugin.",
            )
        proposal.decision = decision


def _single_turn(proposal: Proposal) -> Trajectory:
    episode, ids = proposal.episode, proposal.generation.token_ids
    prompt = list(proposal.request.prompt)
    index, start, end = len(episode.steps), len(prompt), len(prompt) + len(ids)
    row = TokenRow(
        np.asarray(prompt + list(ids), dtype=np.int32),
        np.asarray([CONTEXT] * start + [index] * len(ids), dtype=np.int32),
        np.asarray([False] * start + [True] * len(ids), dtype=np.bool_),
        np.asarray([np.nan] * start + list(proposal.generation.logprobs), dtype=np.float32),
    )
    info = {"expert_action": episode.info.get("expert_action")}
    observation = episode.situation.observation
    step = Step(index, observation, proposal.response, proposal.parsed.action, row=0, start=start, end=end, info=info)
    request = episode.request
    meta = {"goal": episode.situation.task}
    return Trajectory(request.task, EpisodePlan(), [step], [row], StopReason.HORIZON, seed=request.seed, meta=meta)


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)].astype(np.float64)
    return math.fsum(known) / len(known) if len(known) else math.nan


def _evidence(proposal: Proposal, teacher_logprob: float) -> TurnEvidence:
    steps, logprobs = proposal.episode.steps, proposal.generation.logprobs
    own = [step for step in steps if not step.info.get("replayed")]
    sent = [step for step in own if step.actor is Actor.STUDENT]
    return TurnEvidence(
        turn=len(steps),
        played=len(own),
        well_formed=proposal.parsed.well_formed,
        action=proposal.parsed.action,
        tokens=len(logprobs),
        student_logprob=math.fsum(logprobs) / len(logprobs) if logprobs else math.nan,
        teacher_logprob=teacher_logprob,
        past=tuple(step.info.get("control", {}).get("teacher_logprob", math.nan) for step in sent),
        stale=_stale(steps, proposal.episode.situation.observation),
        guided=_guided(own),
    )


def _stale(steps: Sequence[Step], observation: str) -> int:
    """Turns at the end of `steps` that led nowhere; `observation` is what was seen after the last one."""
    count, after = 0, observation
    for position in range(len(steps) - 1, -1, -1):
        step = steps[position]
        again = position > 0 and step.action == steps[position - 1].action and step.observation == after
        if step.valid and not again:
            break
        count, after = count + 1, step.observation
    return count


def _guided(steps: Sequence[Step]) -> int:
    count = 0
    for step in reversed(steps):
        if step.actor is Actor.STUDENT:
            break
        count += 1
    return count


def _resolve(target: str) -> Callable[[TurnEvidence, Mapping[str, float]], object]:
    module, _, name = target.partition(":")
    try:
        found: Callable[[TurnEvidence, Mapping[str, float]], object] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(
            f"The control `{target}` of an episode's plan cannot be imported.",
            str(error),
            'It is written "package.module:function".',
        ) from error
    return found
