"""A teacher before a cache: it is asked for what is not kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import TrainingError
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.scorecache.arrays import pack_tensor
from agentdistill.scorecache.counts import Counts
from agentdistill.scorecache.keys import episode_keys
from agentdistill.scorecache.store import ScoreStore, teacher_folder
from agentdistill.teachers.optional import check_teacher, own_metrics

if TYPE_CHECKING:
    from agentdistill.teachers.base import Teacher

logger = logging.getLogger(__name__)

OUTPUT_WEIGHT = "output-weight"
"""Key under which a teacher's output layer is kept, for losses over hidden states."""


class CachedTeacher:
    """A teacher that is asked only for what is not kept; every other member is the inner teacher's.

    Only the episodes of a call that are not kept reach the inner teacher, so it must not look at their siblings. An
    episode is kept unless one of its rows has sampled tokens and not one usable score: an outage is no opinion. When
    the disk is full, the run goes on with the teacher's answers, says so once and counts them.
    """

    fingerprint: str
    capabilities: frozenset[str]
    needs: frozenset[str]
    tokenizer: Any
    policy: Callable[[], Any]

    def __init__(self, inner: Teacher, folder: Path, vocabulary: str = "") -> None:
        """Puts a cache before a teacher.

        Args:
            inner: the teacher.
            folder: the cache folder.
            vocabulary: fingerprint of the student's tokenizer; part of the key where the teacher has none of its own.
        """
        self.inner, self.folder = inner, folder
        self._vocabulary = vocabulary if inner.tokenizer is None else ""
        self._fingerprint = inner.fingerprint
        self.store = ScoreStore(teacher_folder(folder, self._fingerprint))
        self._counts = Counts()
        self._warned = False
        self._unchecked: Sequence[Trajectory] | None = None

    def __getattr__(self, name: str) -> Any:
        """The members above, and those that not every teacher has."""
        if name == "inner":  # while unpickling
            raise AttributeError(name)
        return getattr(self.inner, name)

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Kept scores where there are some, the inner teacher's otherwise.

        The same episode twice in a call is asked for once.
        """
        self._follow()
        keys = episode_keys(self.inner, self._fingerprint, self._vocabulary, trajectories)
        found = self.store.find(keys, request)
        missing = {key: t for key, t in zip(keys, trajectories, strict=True) if key not in found}
        self._counts.looked_up(keys, trajectories, found)
        if missing:
            self._check_now()
            self._counts.add("calls")
            answers = self.inner.score(list(missing.values()), request)
            found |= self._keep(missing, dict(zip(missing, answers, strict=True)), request)
        self._counts.add("cache_corrupt", self.store.take_corrupt())
        return [found[key] for key in keys]

    def output_weight(self) -> Any:
        """The inner teacher's output layer, which is kept with its hidden states."""
        weight = self.inner.output_weight()
        try:
            if self.store.find_arrays(OUTPUT_WEIGHT) is None:
                self.store.add_arrays(OUTPUT_WEIGHT, {"weight": pack_tensor(weight)})
        except OSError as error:
            self.unwritable(error)
        return weight

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """The inner teacher's own checks; they wait for the first question to it where it has answered before."""
        line = f"its scores are kept in {self.store.folder}"
        if not len(self.store):
            return [line, *check_teacher(self.inner, trajectories)]
        self._unchecked = trajectories
        return [f"{line} ({len(self.store):,} episodes by now); it is checked when it is first asked"]

    def metrics(self) -> dict[str, float]:
        """The inner teacher's numbers, and the cache's since the last call."""
        return own_metrics(self.inner) | self._counts.take()

    def _follow(self) -> None:
        """A teacher whose fingerprint has changed is another teacher."""
        now = self.inner.fingerprint
        if now != self._fingerprint:
            self._fingerprint = now
            self.store = ScoreStore(teacher_folder(self.folder, self._fingerprint))

    def _check_now(self) -> None:
        if self._unchecked is not None:
            waiting, self._unchecked = self._unchecked, None
            check_teacher(self.inner, waiting)

    def _keep(
        self, asked: dict[str, Trajectory], answers: dict[str, list[TeacherScores]], request: ScoreRequest
    ) -> dict[str, list[TeacherScores]]:
        for key, rows in answers.items():
            if len(rows) != len(asked[key].rows):
                raise TrainingError(
                    f"The teacher scored {len(rows)} rows of an episode that has {len(asked[key].rows)}.",
                    "",
                    "Mend its `score`: one `TeacherScores` for each row.",
                )
        whole = {key: rows for key, rows in answers.items() if not _dead(asked[key], rows)}
        if not whole:
            return answers
        try:
            return {**answers, **self.store.add(whole, request)}
        except OSError as error:
            self._counts.add("cache_unwritten", len(whole))
            self.unwritable(error)
            return answers

    def unwritable(self, error: OSError) -> None:
        """Says, once, that scores cannot be kept."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "The teacher's scores cannot be kept in %s (%s): the run goes on without, and a rerun asks the teacher "
                "again; make room (`agentdistill cache prune`) or choose another teacher.cache_folder.",
                self.folder,
                error.strerror or error,
            )


def _dead(trajectory: Trajectory, scores: Sequence[TeacherScores]) -> bool:
    """Some row has sampled tokens and no usable score, or scores of another length (the learner says so)."""
    return any(
        len(score.valid) != len(row) or (bool(row.mask.any()) and not bool(score.valid[row.mask].any()))
        for row, score in zip(trajectory.rows, scores, strict=True)
    )
