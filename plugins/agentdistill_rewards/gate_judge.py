"""SAGE-OPD's annotator (arXiv 2606.19659): which turns need the teacher, as labels for the step weight `sage`.

The judge sees the episode with what the environment answered, and calls every turn of the student

    skip (0)      the turn is fine: nothing to correct
    weak (0.5)    it could be better
    strong (1)    it is wrong, or the mistake that later ones follow from

which goes into the turn's annotation `judge`. The reward is 0 everywhere: this term only annotates, for any weight.
A turn without a readable label stays without annotation, and `sage` takes it as strong, as in the paper. One question
per episode; the paper does not print its prompt, so this one is ours.
Proofs: tests/rewards/test_judges.py (labels, missing and doubled ones, the gate reads what was written).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from agentdistill.clients import ChatRequest
from agentdistill.records import Trajectory
from agentdistill_rewards.judging import Judge, JudgeConfig, annotate, ask, transcript
from agentdistill_rewards.llm_judge import SYSTEM
from agentdistill_rewards.turns import Rewards, nothing, own

LABELS = {"skip": 0.0, "weak": 0.5, "strong": 1.0}


class GateJudgeConfig(JudgeConfig):
    """A judge of turns. `unreadable` has no meaning here: a turn without a label is left to the weight."""


class GateJudge(Judge):
    """Labels every turn of the student.

    Raises:
        ConfigError: the variable with the endpoint's key is not set.
        MissingExtraError: the extra `api` is not installed.
    """

    annotates: ClassVar[frozenset[str]] = frozenset({"judge"})

    def __init__(self, config: GateJudgeConfig) -> None:
        super().__init__(config)
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Rewards]:
        """Zeros, float32 [steps]; the labels are in the annotation `judge` of each turn."""
        asked = [t for t in trajectories if any(own(step) for step in t.steps)]
        questions = [self.question(t) for t in asked]
        found = ask(self.client, questions, [read_labels] * len(asked), self.config.attempts)
        for trajectory, labels in zip(asked, found, strict=True):
            for step in trajectory.steps:
                if own(step) and labels is not None and step.index in labels:
                    annotate(step, "judge", labels[step.index])
        return [nothing(trajectory) for trajectory in trajectories]

    def question(self, trajectory: Trajectory) -> ChatRequest:
        """What the judge is asked about an episode."""
        judged = ", ".join(str(step.index) for step in trajectory.steps if own(step))
        return ChatRequest.of(
            f"{transcript(trajectory, self.config.show_end)}\n\nA better agent will correct some of these turns. Say "
            f"for each of the turns {judged} how much it needs that, in the light of what the environment answered: "
            "skip when the turn is fine, weak when it could be better, strong when it is wrong or later mistakes "
            'follow from it. Give short reasons. Then end with one line per turn, <label turn="N">skip</label>.',
            SYSTEM,
        )


def read_labels(text: str) -> dict[int, float] | None:
    """Labels by turn, the last one where a turn has several; None when there is none at all."""
    found = re.findall(r'<label turn="?(\d+)"?>\s*(skip|weak|strong)\s*</label>', text, re.IGNORECASE)
    return {int(index): LABELS[label.lower()] for index, label in found} or None
