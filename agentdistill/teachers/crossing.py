"""Scores of another tokenizer's tokens, brought back to the student's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from agentdistill.alignment.pieces import TokenPieces
from agentdistill.alignment.sharing import places_in_spans, share_out, span_sums
from agentdistill.alignment.spans import Spans, align
from agentdistill.records import ScoreRequest, Step, TeacherScores, TokenRow, Trajectory
from agentdistill.teachers.scoring import SparseStates, unscored

Shares = Literal["surprise", "bytes"]


@dataclass
class Counts:
    """What became of the student's tokens.

    Attributes:
        tokens: tokens that write text.
        missed: of these, those without an aligned span, special tokens among them.
        merged: of these, those that share a span with others, on either side.
        terminators: tokens that ended a response.
    """

    tokens: int = 0
    missed: int = 0
    merged: int = 0
    terminators: int = 0

    def shares(self) -> dict[str, float]:
        """`mismatch` and `merged` of the text tokens, `terminators` of all; 0 of nothing."""
        text, every = max(self.tokens, 1), max(self.tokens + self.terminators, 1)
        return {
            "mismatch": self.missed / text,
            "merged": self.merged / text,
            "terminators": self.terminators / every,
        }


@dataclass
class Crossing:
    """Moves scores from the teacher's tokens to the student's.

    Attributes:
        student: the student's tokens.
        teacher: the teacher's.
        stops: the student's ids that end a response.
        shares: how a span's log-probability is shared out among its tokens.
        terminators: give the student's terminator the score of the teacher's.
        counts: filled as scores are moved.
    """

    student: TokenPieces
    teacher: TokenPieces
    stops: tuple[int, ...]
    shares: Shares = "surprise"
    terminators: bool = False
    counts: Counts = field(default_factory=Counts)

    def move(
        self, trajectory: Trajectory, reading: Trajectory, answers: list[TeacherScores], request: ScoreRequest
    ) -> list[TeacherScores]:
        """The teacher's scores of its rows, at the places of the student's tokens.

        Args:
            trajectory: the student's episode.
            reading: the same as the teacher read it.
            answers: the scores of the teacher's rows.
            request: what was asked.

        Returns:
            One `TeacherScores` per row of the student; tokens without a score of their own are NaN and invalid.
        """
        moved = [unscored(row, request) for row in trajectory.rows]
        for scores in moved:
            scores.span, scores.rest = np.zeros_like(scores.valid, np.int32), np.zeros_like(scores.sampled_logprob)
        states: list[list[tuple[npt.NDArray[np.int64], torch.Tensor]]] = [[] for _ in moved]
        for step, there in zip(trajectory.steps, reading.steps, strict=True):
            if step.row < 0:
                continue
            answer = answers[there.row]
            at, source = self._turn(step, there, trajectory, reading, answer, moved[step.row])
            if request.hidden and len(at):
                states[step.row].append((at, torch.as_tensor(answer.hidden[source])))
        if request.hidden:
            for scores, parts in zip(moved, states, strict=True):
                places = np.concatenate([at for at, _ in parts]) if parts else np.zeros(0, dtype=np.int64)
                found = torch.cat([part for _, part in parts]) if parts else torch.zeros(0, 1)
                scores.hidden = SparseStates(len(scores.valid), torch.from_numpy(places), found)
        return moved

    def survey(self, trajectories: Sequence[Trajectory], readings: Sequence[Trajectory]) -> Counts:
        """Aligns episodes without any score; what was counted before stays."""
        alone = replace(self, counts=Counts())
        for mine, theirs in zip(trajectories, readings, strict=True):
            for step, there in zip(mine.steps, theirs.steps, strict=True):
                if step.row >= 0:
                    alone._count(*alone.cut(step, there, mine.rows[step.row], theirs.rows[there.row]))
        return alone.counts

    def cut(self, step: Step, there: Step, row: TokenRow, other: TokenRow) -> tuple[Spans, npt.NDArray[np.bool_], bool]:
        """The spans of a response, which of them count, and whether the student ended it by a terminator."""
        mine, theirs = row.token_ids[step.start : step.end], other.token_ids[there.start : there.end - 1]
        ended = bool(len(mine)) and int(mine[-1]) in self.stops
        mine = mine[:-1] if ended else mine
        spans = align(self.student.of(mine), self.teacher.of(theirs))
        special = span_sums(_among(mine, self.student.special), spans.first)
        special += span_sums(_among(theirs, self.teacher.special), spans.second)
        return spans, spans.equal & (special == 0), ended

    def _turn(
        self,
        step: Step,
        there: Step,
        trajectory: Trajectory,
        reading: Trajectory,
        answer: TeacherScores,
        scores: TeacherScores,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Fills the scores of one response; returns where spans begin, for the student and for the teacher."""
        row, other = trajectory.rows[step.row], reading.rows[there.row]
        spans, usable, ended = self.cut(step, there, row, other)
        length = int(spans.first[-1])
        place = slice(step.start, step.start + length)
        given = np.where(answer.valid, answer.sampled_logprob, np.nan)[there.start : there.end]
        totals = np.where(usable, span_sums(given[:-1], spans.second), np.nan)
        scores.sampled_logprob[place] = share_out(spans, totals, self._weights(row, place))
        scores.valid[place] = np.isfinite(scores.sampled_logprob[place])
        assert scores.span is not None and scores.rest is not None
        scores.span[place] = np.where(scores.valid[place], places_in_spans(spans), 0)
        known = np.isfinite(totals)
        at, source = step.start + spans.first[:-1][known], there.start + spans.second[:-1][known]
        scores.rest[at] = totals[known] - given[source - there.start]
        self._count(spans, usable, ended)
        if ended and self.terminators:
            scores.sampled_logprob[step.end - 1] = given[-1]
            scores.valid[step.end - 1] = bool(np.isfinite(given[-1]))
            at, source = np.append(at, step.end - 1), np.append(source, there.end - 1)
        return at, source

    def _weights(self, row: TokenRow, place: slice) -> npt.NDArray[np.floating]:
        own = -row.old_logprob[place].astype(np.float64)
        if self.shares == "bytes" or not bool(np.isfinite(own).all()):
            return np.array([len(piece) for piece in self.student.of(row.token_ids[place])], dtype=np.float64)
        return np.maximum(own, 0.0)

    def _count(self, spans: Spans, usable: npt.NDArray[np.bool_], ended: bool) -> None:
        mine, theirs = np.diff(spans.first), np.diff(spans.second)
        self.counts.tokens += int(mine.sum())
        self.counts.missed += int(mine[~usable].sum())
        self.counts.merged += int(mine[usable & ((mine > 1) | (theirs > 1))].sum())
        self.counts.terminators += ended


def _among(ids: npt.NDArray[np.int32], some: frozenset[int]) -> npt.NDArray[np.float64]:
    return np.isin(ids, np.array(sorted(some), dtype=np.int64)).astype(np.float64)
