"""The records that travel through the house: plain, serialisable, free of torch.

Everything a rollout produces and a learner, teacher or evaluator consumes is one of these. They are
safe to pickle, to send to another process and to write to disk (`agentdistill.store`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.hashing import digest

CONTEXT = -1
"""Value of `TokenRow.step_of_token` for tokens nobody in the episode wrote (prompt, observation, template)."""


class StopReason(StrEnum):
    """Why an episode ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The environment ended the episode without success."""
    ENV_LIMIT = "env_limit"
    """The environment's own step limit (Gymnasium's `truncated`) or the run's `max_steps`."""
    HORIZON = "horizon"
    """The curriculum's depth: the episode was cut, nothing is known about its success."""
    CONTEXT_LIMIT = "context_limit"
    """The next prompt would not have fitted the model's context; nothing was truncated."""
    ABORTED = "aborted"
    """The environment died. Such an episode is counted and never trained on."""


class Actor(StrEnum):
    """Who wrote a turn."""

    STUDENT = "student"
    TEACHER = "teacher"
    EXPERT = "expert"


class LossRole(StrEnum):
    """What a turn may be trained with."""

    DISTILL = "distill"
    """Student-sampled: advantage or divergence against the teacher, and RL terms."""
    IMITATE = "imitate"
    """Written by somebody better: cross-entropy."""
    NONE = "none"
    """Never trained on (replayed prefixes, injected mistakes)."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do in one environment.

    Attributes:
        env: plugin name of the environment, e.g. the `type` of the `[env]` section.
        split: split the task belongs to.
        key: identity of the task, stable across machines and processes.
        type: task family, for per-type results.
        seed: seed given to the environment's `reset`.
    """

    env: str
    split: str
    key: str
    type: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """A named, content-hashed list of tasks. Evaluation is always over a panel.

    Attributes:
        name: e.g. "<environment>/<split>".
        tasks: the tasks, in their fixed order.
        provenance: where the tasks' data comes from (folder hash, generator version and seed, counts).
    """

    name: str
    tasks: tuple[Task, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Sixteen hex digits over the tasks, in order."""
        return digest([[t.env, t.split, t.key, t.type, t.seed] for t in self.tasks])[:16]


@dataclass(frozen=True, slots=True)
class TurnControl:
    """A decision to be made in every turn the student has written, before it is sent.

    Attributes:
        decide: "package.module:function" of (`agentdistill.rollout.control.TurnEvidence`, numbers) ->
            `agentdistill.rollout.control.Decision`; a pure function.
        numbers: its parameters.
        scored: it looks at the teacher's log-probabilities of the turn; they are asked for while the episode is played.
    """

    decide: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    scored: bool = False


@dataclass(frozen=True, slots=True)
class Relabel:
    """After the episode, a guide writes its own turn at every state the student acted in; those are imitated.

    Attributes:
        actor: the guide, the teacher or the expert.
        temperature: the teacher's sampling temperature; 0 is greedy.
    """

    actor: Actor = Actor.TEACHER
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Recording:
    """What an episode said and saw, so that its turns can be shown again, or a replay be checked.

    Attributes:
        goal: the task in words.
        actions: what was sent, in order.
        observations: what was seen before each action; one more than `actions` where the end was seen too.
        responses: the words each action was written in; "" or nothing is written anew.
        admissible: the commands on offer beside each observation; empty when they were not recorded.
        expert: the actions are those of the environment's expert.
    """

    goal: str
    actions: tuple[str, ...]
    observations: tuple[str, ...]
    responses: tuple[str, ...] = ()
    admissible: tuple[tuple[str, ...], ...] = ()
    expert: bool = False

    def upto(self, turn: int) -> Recording:
        """The recording of the first `turn` actions, and what was seen after them."""
        seen = turn + 1
        return Recording(
            self.goal,
            self.actions[:turn],
            self.observations[:seen],
            self.responses[:turn],
            self.admissible[:seen],
            self.expert,
        )


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """What a curriculum decides about one episode: from where, how deep.

    Attributes:
        prefix: actions replayed before the student's first turn; they are never trained on.
        prefix_actor: who those actions are attributed to.
        horizon: number of turns played after the prefix, guided ones included; None is up to the environment's limit.
        guide: probability, in each of those turns anew, that the guide plays it instead of the student.
        guide_actor: who the guide is, the teacher or the expert.
        guide_role: what the guide's turns may be trained with, `NONE` or `IMITATE`.
        student_role: what the student's turns may be trained with, `DISTILL` or `NONE`.
        control: a decision made in every turn of the student, or None.
        relabel: who writes turns of its own at the student's states after the episode, or None.
        recording: what the prefix showed when it was recorded; the replay is checked against it, and may contain
            actions that did nothing then, either. None checks only that every action is accepted. A run adds it to
            prefixes of `Progress.demonstration` by itself.
        offline: the recording stands in for the environment: the student writes one turn after it, which is not
            sent. Without a recording, such an episode has no turns.
        note: free numbers for logs, e.g. {"depth": 3}.
    """

    prefix: tuple[str, ...] = ()
    prefix_actor: Actor = Actor.EXPERT
    horizon: int | None = None
    guide: float = 0.0
    guide_actor: Actor = Actor.TEACHER
    guide_role: LossRole = LossRole.NONE
    student_role: LossRole = LossRole.DISTILL
    control: TurnControl | None = None
    relabel: Relabel | None = None
    recording: Recording | None = None
    offline: bool = False
    note: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Step:
    """One agent turn.

    Attributes:
        index: turn index in the episode, from 0, counting replayed turns.
        observation: what the agent saw before acting.
        response: the text the actor wrote, without its terminator.
        action: the command sent to the environment, "" when none could be parsed.
        valid: the response parsed and the environment accepted the action.
        reward: the environment's reward for this step.
        actor: who wrote it.
        loss_role: what it may be trained with.
        row: index into `Trajectory.rows`, or -1 when the turn has no tokens (replayed by text only).
        start: first token of the response in that row.
        end: one past the last token the actor wrote (its terminator included).
        info: small serialisable extras, e.g. `expert_action`, `finish` ("stop" | "length").
    """

    index: int
    observation: str
    response: str
    action: str
    valid: bool = True
    reward: float = 0.0
    actor: Actor = Actor.STUDENT
    loss_role: LossRole = LossRole.DISTILL
    row: int = -1
    start: int = 0
    end: int = 0
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TokenRow:
    """A token sequence exactly as a model saw it. A conversation that only grows is one row.

    Attributes:
        token_ids: int32 [T].
        step_of_token: int32 [T], the step that wrote each token, `CONTEXT` (-1) for everything else. Template
            tokens that nobody sampled (such as a terminator forced after a length stop) are context.
        mask: bool [T], True only for tokens sampled by the student, by provenance.
        old_logprob: float32 [T], log-probability under the behaviour policy at temperature 1; NaN where
            `mask` is False.
        old_entropy: float32 [T], entropy of the behaviour policy there, nats, NaN where `mask` is False; None when
            the run did not ask for it.
        old_top_ids: int32 [T, k], the behaviour policy's most likely ids, -1 where `mask` is False; None as above.
    """

    token_ids: npt.NDArray[np.int32]
    step_of_token: npt.NDArray[np.int32]
    mask: npt.NDArray[np.bool_]
    old_logprob: npt.NDArray[np.float32]
    old_entropy: npt.NDArray[np.float32] | None = None
    old_top_ids: npt.NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.token_ids), len(self.step_of_token), len(self.mask), len(self.old_logprob)}
        lengths |= {len(extra) for extra in (self.old_entropy, self.old_top_ids) if extra is not None}
        if len(lengths) != 1:
            raise ValueError(f"the arrays of a token row need one length, got lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(slots=True, eq=False)
class Trajectory:
    """One episode, as played.

    Attributes:
        task: the task.
        plan: the curriculum's plan it was played under.
        steps: the turns, in order.
        rows: the token rows (empty for episodes collected as text).
        stop: why it ended.
        score: the environment's final score, in its own units.
        success: the environment's own verdict (`info["won"]`), never derived from `done`.
        sample: index of this episode among those of the same task in the batch.
        seed: seed of the sampling of this episode.
        policy_version: optimiser step of the student that played it.
        meta: small serialisable extras (goal text, prompt hash, engine name, wall time).
    """

    task: Task
    plan: EpisodePlan
    steps: list[Step]
    rows: list[TokenRow]
    stop: StopReason
    score: float = 0.0
    success: bool = False
    sample: int = 0
    seed: int = 0
    policy_version: int = 0
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def cut(self) -> bool:
        """Whether the curriculum ended it: nobody knows whether it would have been won."""
        return self.stop is StopReason.HORIZON


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What a run wants from its teacher, for every token after the first of each row.

    Attributes:
        sampled: log-probability of the token that is there.
        top_k: number of most likely tokens to return with log-probs and tail mass; 0 is none.
        hidden: last hidden states, for full-vocabulary divergences (local teachers only).
        entropy: entropy of the teacher's distribution.
        confidence: the teacher's largest probability.
    """

    sampled: bool = True
    top_k: int = 0
    hidden: bool = False
    entropy: bool = False
    confidence: bool = False


@dataclass(slots=True, eq=False)
class TeacherScores:
    """A teacher's opinion on one token row. Position t is about token t given tokens 0..t-1.

    Attributes:
        sampled_logprob: float32 [T]; NaN where the teacher has no opinion. Never 0 for missing.
        valid: bool [T], where the scores may be used.
        topk_ids: int32 [T, K] or None.
        topk_logprobs: float32 [T, K] or None; the tail mass is 1 - sum(exp(.)).
        entropy: float32 [T] or None, nats.
        confidence: float32 [T] or None, the largest probability.
        hidden: a [T, D] array or tensor (position t is the state that predicts token t) or None.
        source: int16 [T] or None, which of several teachers a score is from: an index into the teacher's `members`, -1
            where none is.
        span: int32 [T] or None, where the teacher cuts text otherwise and has an opinion on spans of tokens only: the
            place of each token in its span, from 0. `sampled_logprob` then holds each token's share, and `hidden` the
            state before the span at its first token. None is every token by itself.
        rest: float32 [T] or None, at first tokens of spans the log-probability of what the teacher writes of the span
            after the first of its own tokens; 0 where that is all.
    """

    sampled_logprob: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    topk_ids: npt.NDArray[np.int32] | None = None
    topk_logprobs: npt.NDArray[np.float32] | None = None
    entropy: npt.NDArray[np.float32] | None = None
    hidden: Any = None
    confidence: npt.NDArray[np.float32] | None = None
    source: npt.NDArray[np.int16] | None = None
    span: npt.NDArray[np.int32] | None = None
    rest: npt.NDArray[np.float32] | None = None


def trainable_tokens(trajectories: Sequence[Trajectory]) -> int:
    """Counts the tokens sampled by the student."""
    return int(sum(int(row.mask.sum()) for t in trajectories for row in t.rows))
