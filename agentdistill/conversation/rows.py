"""Building token rows as an episode is played: one row while the conversation grows, a new one when it is rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentdistill.conversation.base import Message
from agentdistill.conversation.template import ChatRenderer
from agentdistill.records import CONTEXT, TokenRow


@dataclass(slots=True)
class _Row:
    ids: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    mask: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[tuple[int, Sequence[float]]] = field(default_factory=list)
    top_ids: list[tuple[int, Sequence[Sequence[int]]]] = field(default_factory=list)

    def extend(self, ids: Sequence[int], step: int, logprobs: Sequence[float] | None) -> tuple[int, int]:
        start = len(self.ids)
        self.ids.extend(ids)
        self.steps.extend([step] * len(ids))
        self.mask.extend([logprobs is not None] * len(ids))
        self.logprobs.extend(logprobs if logprobs is not None else [float("nan")] * len(ids))
        return start, len(self.ids)

    def cut(self, length: int) -> None:
        for column in (self.ids, self.steps, self.mask, self.logprobs):
            del column[length:]


def _placed(length: int, spans: Sequence[tuple[int, Sequence[Any]]], missing: float, dtype: Any) -> Any:
    """The reported numbers at their places in a row, `missing` elsewhere; None when nothing was reported."""
    if not spans:
        return None
    first = np.asarray(spans[0][1], dtype=dtype)
    placed = np.full((length, *first.shape[1:]), missing, dtype=dtype)
    for start, values in spans:
        placed[start : start + len(values)] = np.asarray(values, dtype=dtype).reshape(len(values), *first.shape[1:])
    return placed


class RowBuilder:
    """The token rows of one episode. Who wrote a token is recorded when it is written, never inferred.

    Each turn: `turn(messages)` gives the prompt, then `sampled` or `written` records the response.

    Args:
        renderer: renders messages.
    """

    def __init__(self, renderer: ChatRenderer) -> None:
        self._renderer = renderer
        self._rows: list[_Row] = []
        self._shown: list[Message] = []
        self._last_step: int | None = None
        self._written_length = 0
        self._turn_start = 0
        self._responses: dict[int, list[int]] = {}

    def turn(self, messages: Sequence[Message]) -> Sequence[int]:
        """Begins a turn.

        When the messages are those of the last turn, its response and something new after it, the row goes on;
        the terminator of a response that was cut by its length is forced as context. Otherwise a new row begins,
        in which earlier responses are context: they were trained where they were sampled.

        Args:
            messages: everything shown before this turn.

        Returns:
            All token ids of the row so far: the prompt. It is a view that later turns extend.
        """
        shown = list(messages)
        if self._grows(shown):
            assert self._last_step is not None
            row = self._rows[-1]
            self._turn_start = len(row.ids)
            forced = self._responses[self._last_step][self._written_length :]
            row.extend(forced, CONTEXT, None)
            row.extend(self._renderer.continuation(shown[len(self._shown) + 1 :]), CONTEXT, None)
        else:
            row = _Row()
            row.extend(self._renderer.prompt(shown, self._responses), CONTEXT, None)
            self._rows.append(row)
            self._turn_start = 0
        self._shown, self._last_step = shown, None
        return row.ids

    def abandon(self) -> None:
        """Takes back a turn that got no response, so that no row ends in a prompt nobody answered."""
        if not self._rows or self._last_step is not None:
            return
        self._rows[-1].cut(self._turn_start)
        if not self._turn_start:
            self._rows.pop()

    def sampled(
        self,
        step: int,
        ids: Sequence[int],
        logprobs: Sequence[float],
        entropies: Sequence[float] | None = None,
        top_ids: Sequence[Sequence[int]] | None = None,
    ) -> tuple[int, int, int]:
        """Records the student's response to this turn's prompt.

        Args:
            step: index of the step.
            ids: sampled tokens, the stop token included if it was sampled.
            logprobs: their log-probabilities under the behaviour policy at temperature 1.
            entropies: the behaviour policy's entropy at each, nats, if the engine reports it.
            top_ids: the behaviour policy's most likely ids at each, if the engine reports them.

        Returns:
            (row, start, end) of the response.
        """
        if len(ids) != len(logprobs):
            raise ValueError(f"{len(ids)} sampled tokens came with {len(logprobs)} log-probabilities")
        place = self._respond(step, ids, step, logprobs)
        row, start, _ = place
        if entropies is not None:
            self._rows[row].entropies.append((start, entropies))
        if top_ids is not None:
            self._rows[row].top_ids.append((start, top_ids))
        return place

    def written(self, step: int, ids: Sequence[int], *, learn: bool) -> tuple[int, int, int]:
        """Records a response that the student did not sample (a demonstration).

        Args:
            step: index of the step.
            ids: its tokens, terminator included.
            learn: attribute the tokens to the step; otherwise they are context.

        Returns:
            (row, start, end) of the response.
        """
        return self._respond(step, ids, step if learn else CONTEXT, None)

    def rows(self) -> list[TokenRow]:
        """The rows so far, as arrays."""
        return [
            TokenRow(
                np.asarray(row.ids, dtype=np.int32),
                np.asarray(row.steps, dtype=np.int32),
                np.asarray(row.mask, dtype=np.bool_),
                np.asarray(row.logprobs, dtype=np.float32),
                _placed(len(row.ids), row.entropies, np.nan, np.float32),
                _placed(len(row.ids), row.top_ids, -1, np.int32),
            )
            for row in self._rows
        ]

    def _respond(
        self, step: int, ids: Sequence[int], owner: int, logprobs: Sequence[float] | None
    ) -> tuple[int, int, int]:
        if not self._rows or self._last_step is not None:
            raise ValueError("a response needs a turn of its own: call turn(messages) first")
        start, end = self._rows[-1].extend(ids, owner, logprobs)
        self._responses[step] = self._renderer.closed(ids)
        self._last_step, self._written_length = step, len(ids)
        return len(self._rows) - 1, start, end

    def _grows(self, messages: list[Message]) -> bool:
        count = len(self._shown)
        if not self._rows or self._last_step is None or not self._renderer.incremental or len(messages) < count + 2:
            return False
        answer = messages[count]
        return (
            answer.role == "assistant"
            and answer.step == self._last_step
            and all(message.role != "assistant" for message in messages[count + 1 :])
            and messages[:count] == self._shown
        )
