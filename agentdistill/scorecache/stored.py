"""A teacher of whom only scores are left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.scorecache.arrays import unpack_tensor
from agentdistill.scorecache.cached import OUTPUT_WEIGHT
from agentdistill.scorecache.card import TeacherCard
from agentdistill.scorecache.counts import Counts
from agentdistill.scorecache.keys import episode_keys
from agentdistill.scorecache.store import ScoreStore, teacher_folder
from agentdistill.teachers.base import ScoresOnly


class StoredTeacher(ScoresOnly):
    """A teacher of whom only scores are left: no model, no server.

    It answers what it was asked before, to the bit, and stops a run that asks for more.
    """

    who = "A teacher of whom only scores are left"

    def __init__(self, card: TeacherCard, folder: Path, vocabulary: str = "") -> None:
        """Takes a teacher's card (`agentdistill.scorecache.card.find_card`).

        Args:
            card: of the teacher.
            folder: the cache folder.
            vocabulary: fingerprint of the student's tokenizer.
        """
        self.card, self.folder = card, folder
        self._vocabulary = vocabulary if card.bound else ""
        self.fingerprint: str = card.fingerprint
        self.identities: frozenset[str] = frozenset(card.identities)
        self.capabilities: frozenset[str] = frozenset(card.capabilities) - {"act"}
        self.needs: frozenset[str] = frozenset(card.needs)
        self.members: tuple[str, ...] = card.members
        self.tokenizer: Any = None
        self.store = ScoreStore(teacher_folder(folder, card.fingerprint))
        self._counts = Counts()

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """The kept scores.

        Raises:
            DataError: some are not kept.
        """
        keys = episode_keys(None, self.fingerprint, self._vocabulary, trajectories)
        found = self.store.find(keys, request)
        self._counts.looked_up(keys, trajectories, found)
        corrupt = self.store.take_corrupt()
        self._counts.add("cache_corrupt", corrupt)
        if lacking := sum(key not in found for key in keys):
            damaged = (
                f" {corrupt} of them are damaged (`agentdistill cache verify` names the files)." if corrupt else ""
            )
            why = (
                " Its scores depend on more than tokens, which only the teacher itself knows."
                if self.card.keyed
                else ""
            )
            raise DataError(
                f"The cache has no scores of the teacher {self.card} for {lacking} of {len(keys)} episodes.{damaged}",
                f"It has {len(self.store):,} episodes of this teacher in {self.store.folder}; these are "
                f"others, or were scored for another request than {request}.{why}",
                "Train on the episodes that were scored (rollout.source), or let the teacher score these "
                '(teacher.cache = "on").',
            )
        return [found[key] for key in keys]

    def output_weight(self) -> Any:
        """The [V, D] output layer that was kept with the hidden states.

        Raises:
            DataError: it was not, or it is damaged.
        """
        arrays = self.store.find_arrays(OUTPUT_WEIGHT)
        if arrays is None:
            raise DataError(
                f"The cache has no output layer of the teacher {self.card}.",
                "It is kept when a run asks for hidden states, and without it they mean nothing.",
                'Run once with teacher.cache = "on" and this loss.',
            )
        return unpack_tensor(arrays["weight"])

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """Says what there is."""
        return [f"{self.card}: {len(self.store):,} episodes were scored before; nobody is asked"]

    def metrics(self) -> dict[str, float]:
        """The cache's numbers since the last call."""
        return self._counts.take()
