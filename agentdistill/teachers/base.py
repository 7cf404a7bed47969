"""The teacher contract: trajectories in, one `TeacherScores` per token row out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from agentdistill.errors import TrainingError
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory


class Teacher(Protocol):
    """Scores what a student wrote.

    Attributes:
        capabilities: subset of {"sampled", "top_k", "hidden", "entropy", "confidence", "act"}; a run that needs more
            stops at start.
    """

    @property
    def capabilities(self) -> frozenset[str]:
        """What this teacher can answer."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What it needs of the episode, e.g. {"expert_action"}."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever its scores could: weights, tokenizer, options."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer, compared id by id with the student's; None when the teacher has no vocabulary of its own."""
        ...

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores every row of every trajectory.

        Returns:
            One list per trajectory, one `TeacherScores` per row of it.
        """
        ...

    def policy(self) -> Any:
        """The `LoadedModel` that plays turns for this teacher (capability "act" only)."""
        ...

    def output_weight(self) -> Any:
        """The [V, D] matrix that turns `TeacherScores.hidden` into logits (capability "hidden" only)."""
        ...


class ScoresOnly:
    """Base of teachers that score and neither play turns nor, unless they say otherwise, have an output layer.

    Attributes:
        who: what errors call it.
    """

    who = "This teacher"

    def policy(self) -> Any:
        """Not available.

        Raises:
            TrainingError: always; check `capabilities` first.
        """
        raise TrainingError(f"{self.who} plays no turns.", "", "Let another teacher or the expert play.")

    def output_weight(self) -> Any:
        """Not available.

        Raises:
            TrainingError: always; check `capabilities` first.
        """
        raise TrainingError(f"{self.who} has no output layer.", "", 'Use `loss.support = "sampled"`.')
