"""What step weights and token weights see: detached numbers about every turn and every token of a batch.

Turns are told apart by explicit step ids, never by runs of the loss mask: two turns with nothing between them
(an observation of zero tokens) stay two turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Branch = Literal["kd", "rl"]
"""Where a weight counts: in what the teacher says of a token, or in what the rewards say of it."""

BRANCHES: tuple[Branch, ...] = ("kd", "rl")

STATISTICS = frozenset(
    {
        "teacher_entropy",
        "teacher_confidence",
        "old_entropy",
        "overlap",
        "reference",
        "reward",
        "advantage",
        "role",
        "groups",
    }
)
"""What a plugin may ask for with `requires`, besides "annotation:NAME"; the rest is always there.

"groups" are several episodes of each task, for those that compare them.
"""

_F = TypeVar("_F", bound=Callable[..., Any])


def requires(*names: str) -> Callable[[_F], _F]:
    """Says which statistics a function needs; a run that cannot provide them stops at its start.

    Args:
        *names: of `STATISTICS`, or "annotation:NAME".

    Raises:
        ValueError: there is no such statistic.
    """
    for name in names:
        if name not in STATISTICS and not name.startswith("annotation:"):
            raise ValueError(f"{name!r} is no statistic; there are {', '.join(sorted(STATISTICS))}, annotation:NAME")

    def mark(function: _F) -> _F:
        function.needs = frozenset(names)  # type: ignore[attr-defined]
        return function

    return mark


class TokenRole(IntEnum):
    """What a token is in its response."""

    TEXT = 0
    """Thinking, format, everything that is neither of the others."""
    ACTION = 1
    """Part of the command that was sent to the environment."""
    SPECIAL = 2
    """A special token of the tokenizer, the terminator among them."""


_LATER: Any = None


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """The distilled tokens of a batch, flat, ordered by trajectory, row and position.

    Attributes:
        trajectory: int64 [N], index into the batch's trajectories.
        turn: int64 [N], turn index in the episode (`Step.index`).
        column: int64 [N], column of the token's turn in `StepStatistics`.
        position: int64 [N], position of the token in its response, from 0, dead tokens counted.
        token_id: int64 [N].
        old_logprob: float32 [N], log-probability under the behaviour policy, nats.
        teacher_logprob: float32 [N], log-probability under the teacher, nats.
        teacher_entropy: float32 [N], nats; NaN where the teacher did not report it.
        teacher_confidence: float32 [N], the teacher's largest probability; NaN where it did not report it.
        old_entropy: float32 [N], entropy of the behaviour policy at temperature 1, nats; NaN where the engine did not
            report it.
        overlap: float32 [N], |top-k of the student and of the teacher| / k; NaN where nobody asked for it.
        reference_logprob: float32 [N], log-probability under the student as the run began; NaN where nobody asked.
        advantage: float32 [N], the RL advantage of the token's turn; NaN without rewards.
        length: int64 [N], distilled tokens of its response.
        role: int64 [N], a `TokenRole`; all TEXT where nobody asked for it.
        group: int64 [N], the same for all episodes of one task.
        success: bool [N], of its episode.
        reward: float32 [N], total reward of its episode; NaN without rewards.
        index: int64 [N], place in the whole batch, for what was prepared over all of it.
        span: int64 [N], place of the token in a span of text on which the teacher has one opinion; 0 for every token
            where both cut text in the same way.
        teacher_rest: float32 [N], at first tokens of spans the log-probability under the teacher of what it writes of
            the span after the first of its own tokens, nats; 0 where that is all.
        cut: bool [N], the curriculum ended its episode: whether it would have been won is not known.

    Whoever makes one by hand may leave out everything after `teacher_entropy`: it is then unknown (NaN), text, of a
    response of its own length, a group of its own and of a lost episode.
    """

    trajectory: Tensor
    turn: Tensor
    column: Tensor
    position: Tensor
    token_id: Tensor
    old_logprob: Tensor
    teacher_logprob: Tensor
    teacher_entropy: Tensor
    teacher_confidence: Tensor = _LATER
    old_entropy: Tensor = _LATER
    overlap: Tensor = _LATER
    reference_logprob: Tensor = _LATER
    advantage: Tensor = _LATER
    length: Tensor = _LATER
    role: Tensor = _LATER
    group: Tensor = _LATER
    success: Tensor = _LATER
    reward: Tensor = _LATER
    index: Tensor = _LATER
    span: Tensor = _LATER
    teacher_rest: Tensor = _LATER
    cut: Tensor = _LATER

    def __post_init__(self) -> None:
        known = self.old_logprob
        made: dict[str, Callable[[], Tensor]] = {
            "length": lambda: _response_lengths(self.trajectory, self.turn),
            "role": lambda: torch.zeros_like(self.trajectory),
            "index": lambda: torch.arange(len(self.trajectory), device=self.trajectory.device),
            "group": self.trajectory.clone,
            "success": lambda: torch.zeros_like(self.trajectory, dtype=torch.bool),
            "cut": lambda: torch.zeros_like(self.trajectory, dtype=torch.bool),
            "span": lambda: torch.zeros_like(self.trajectory),
            "teacher_rest": lambda: torch.zeros_like(known),
        }
        for item in fields(self):
            if getattr(self, item.name) is _LATER:
                value = made.get(item.name, lambda: torch.full_like(known, torch.nan))()
                object.__setattr__(self, item.name, value)

    def __len__(self) -> int:
        return len(self.trajectory)

    def __getitem__(self, span: slice) -> TokenStatistics:
        return TokenStatistics(*(getattr(self, item.name)[span] for item in fields(self)))

    def select(self, index: Tensor, device: torch.device) -> TokenStatistics:
        """Some of the tokens, on a device."""
        return TokenStatistics(*(getattr(self, item.name)[index].to(device) for item in fields(self)))

    @property
    def log_ratio(self) -> Tensor:
        """float32 [N], `old_logprob - teacher_logprob`: the sampled estimate of the reverse KL, nats."""
        return self.old_logprob - self.teacher_logprob


@dataclass(frozen=True, slots=True)
class StepStatistics:
    """The turns of a batch that have at least one distilled token, left-aligned and padded.

    Column 0 is a trajectory's first such turn, whatever its index in the episode (a replayed prefix comes before
    it). Padding has `mask` False and zeros elsewhere. Everything comes from rollout and teacher scores, so
    nothing here carries a gradient.

    Attributes:
        index: int64 [trajectories, steps], turn index in the episode.
        mask: bool [trajectories, steps], True for real turns.
        tokens: int64 [trajectories, steps], distilled tokens of the turn.
        abs_log_ratio: float32 [trajectories, steps], mean |log pi_old - log pi_T| over the turn's tokens, nats.
        log_ratio: float32 [trajectories, steps], mean (log pi_old - log pi_T), the sampled reverse KL, nats.
        old_logprob: float32 [trajectories, steps], mean log-probability under the behaviour policy, nats.
        teacher_logprob: float32 [trajectories, steps], mean log-probability under the teacher, nats.
        teacher_entropy: float32 [trajectories, steps], turn mean, nats; NaN where unknown, as the next four.
        teacher_confidence: float32 [trajectories, steps], turn mean of the teacher's largest probability.
        old_entropy: float32 [trajectories, steps], turn mean, nats.
        overlap: float32 [trajectories, steps], turn mean.
        reference_log_ratio: float32 [trajectories, steps], mean (log pi_old - log pi_ref), nats.
        advantage: float32 [trajectories, steps], the RL advantage of the turn; NaN without rewards.
        valid: bool [trajectories, steps], the turn's action was valid.
        repeated: bool [trajectories, steps], the turn before had the same observation and took the same action.
        group: int64 [trajectories], the same for all episodes of one task.
        success: bool [trajectories].
        reward: float32 [trajectories], total reward; NaN without rewards.
        annotations: name -> float32 [trajectories, steps], numbers that somebody wrote into
            `Step.info["annotations"]`; NaN where nobody did.
    """

    index: Tensor
    mask: Tensor
    tokens: Tensor
    abs_log_ratio: Tensor
    log_ratio: Tensor
    old_logprob: Tensor
    teacher_logprob: Tensor
    teacher_entropy: Tensor = _LATER
    teacher_confidence: Tensor = _LATER
    old_entropy: Tensor = _LATER
    overlap: Tensor = _LATER
    reference_log_ratio: Tensor = _LATER
    advantage: Tensor = _LATER
    valid: Tensor = _LATER
    repeated: Tensor = _LATER
    group: Tensor = _LATER
    success: Tensor = _LATER
    reward: Tensor = _LATER
    annotations: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, device = len(self.mask), self.mask.device
        made: dict[str, Callable[[], Tensor]] = {
            "valid": self.mask.clone,
            "repeated": lambda: torch.zeros_like(self.mask),
            "group": lambda: torch.arange(count, device=device),
            "success": lambda: torch.zeros(count, dtype=torch.bool, device=device),
            "reward": lambda: torch.full((count,), torch.nan, device=device),
        }
        for item in fields(self):
            if getattr(self, item.name) is _LATER:
                value = made.get(item.name, lambda: torch.full_like(self.log_ratio, torch.nan))()
                object.__setattr__(self, item.name, value)

    @property
    def shape(self) -> torch.Size:
        """[trajectories, steps]."""
        return self.mask.shape


def turn_columns(trajectory: Tensor, turn: Tensor) -> Tensor:
    """Numbers each trajectory's distinct turns from 0 in increasing order.

    Args:
        trajectory: int64 [N].
        turn: int64 [N], non-negative.

    Returns:
        int64 [N], the column of each token's turn among its trajectory's turns.
    """
    if len(trajectory) == 0:
        return trajectory.clone()
    stride = int(turn.max()) + 1
    pairs, inverse = torch.unique(trajectory * stride + turn, sorted=True, return_inverse=True)
    owner = torch.div(pairs, stride, rounding_mode="floor")
    ones = torch.ones_like(owner)
    first = torch.zeros(int(owner.max()) + 2, dtype=torch.int64, device=owner.device).scatter_add_(0, owner + 1, ones)
    return (torch.arange(len(pairs), device=pairs.device) - first.cumsum(0)[owner])[inverse]


def _response_lengths(trajectory: Tensor, turn: Tensor) -> Tensor:
    """Tokens of each token's turn, int64 [N]."""
    if len(trajectory) == 0:
        return trajectory.clone()
    stride = int(turn.max()) + 1
    _, inverse, counts = torch.unique(trajectory * stride + turn, return_inverse=True, return_counts=True)
    return counts[inverse]


@dataclass(frozen=True, slots=True)
class EpisodeFacts:
    """What is known of the episodes of a batch besides their tokens.

    Attributes:
        group: int64 [trajectories].
        success: bool [trajectories].
        reward: float32 [trajectories], NaN without rewards.
        valid: per trajectory, turn index -> whether its action was valid.
        annotations: per trajectory, turn index -> name -> number.
        repeated: per trajectory, the turn indices that do again what was just done; empty is unknown.
    """

    group: Tensor
    success: Tensor
    reward: Tensor
    valid: list[dict[int, bool]]
    annotations: list[dict[int, Mapping[str, float]]]
    repeated: list[set[int]] = field(default_factory=list)


def step_statistics(tokens: TokenStatistics, trajectories: int, facts: EpisodeFacts | None = None) -> StepStatistics:
    """Averages token statistics over turns.

    Args:
        tokens: the batch's distilled tokens.
        trajectories: number of trajectories in the batch (some may have no distilled token).
        facts: what is known of the episodes; None leaves it unknown.

    Returns:
        The padded statistics; at least one column, so that an empty batch still has a shape.
    """
    device = tokens.trajectory.device
    width = int(tokens.column.max()) + 1 if len(tokens) else 1
    flat = tokens.trajectory * width + tokens.column
    cells = trajectories * width
    count = torch.zeros(cells, dtype=torch.int64, device=device).scatter_add_(0, flat, torch.ones_like(flat))
    index = torch.zeros(cells, dtype=torch.int64, device=device).scatter_(0, flat, tokens.turn)

    def mean(values: Tensor) -> Tensor:
        # Sums in float64: a turn's mean must not depend on how long its neighbours are.
        total = torch.zeros(cells, dtype=torch.float64, device=device).scatter_add_(0, flat, values.double())
        return (total / count.clamp(min=1)).float().view(trajectories, width)

    unknown = torch.full((trajectories, width), torch.nan, device=device)

    def optional(values: Tensor) -> Tensor:
        return unknown if len(values) and bool(values.isnan().all()) else mean(values)

    index, mask = index.view(trajectories, width), (count > 0).view(trajectories, width)
    known = {} if facts is None else _known(facts, index, mask)
    return StepStatistics(
        index=index,
        mask=mask,
        tokens=count.view(trajectories, width),
        abs_log_ratio=mean(tokens.log_ratio.abs()),
        log_ratio=mean(tokens.log_ratio),
        old_logprob=mean(tokens.old_logprob),
        teacher_logprob=mean(tokens.teacher_logprob),
        teacher_entropy=optional(tokens.teacher_entropy),
        teacher_confidence=optional(tokens.teacher_confidence),
        old_entropy=optional(tokens.old_entropy),
        overlap=optional(tokens.overlap),
        reference_log_ratio=optional(tokens.old_logprob - tokens.reference_logprob),
        advantage=optional(tokens.advantage),
        **known,
    )


def _known(facts: EpisodeFacts, index: Tensor, mask: Tensor) -> dict[str, Any]:
    """The facts of the episodes in the shape of the statistics."""
    names = sorted({name for episode in facts.annotations for notes in episode.values() for name in notes})
    rows, columns = mask.nonzero(as_tuple=True)
    places = list(zip(rows.tolist(), columns.tolist(), index[mask].tolist(), strict=True))
    valid, repeated = mask.clone(), torch.zeros_like(mask)
    notes = {name: torch.full(mask.shape, torch.nan, device=mask.device) for name in names}
    for row, column, turn in places:
        valid[row, column] = facts.valid[row].get(turn, True)
        repeated[row, column] = bool(facts.repeated) and turn in facts.repeated[row]
        for name, value in facts.annotations[row].get(turn, {}).items():
            notes[name][row, column] = value
    return {
        "valid": valid,
        "repeated": repeated,
        "group": facts.group,
        "success": facts.success,
        "reward": facts.reward,
        "annotations": notes,
    }
