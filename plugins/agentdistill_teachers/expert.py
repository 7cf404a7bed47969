"""The environment's expert as a teacher: a distribution with label smoothing around what the expert would write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer, renderer_for
from agentdistill.errors import ConfigError, TrainingError
from agentdistill.hashing import digest
from agentdistill.models import LoadedModel, generation_stop_ids
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest, Step, TeacherScores, TokenRow, Trajectory
from agentdistill.teachers.base import ScoresOnly


class ExpertConfig(PluginConfig):
    """Label smoothing over the expert's response.

    Attributes:
        epsilon: mass spread evenly over the vocabulary, in (0, 1).
    """

    epsilon: float = Field(default=0.01, gt=0.0, lt=1.0)


class ExpertTeacher(ScoresOnly):
    """At each turn, the expert's response in the student's situation is the target.

    While the student has written exactly what the expert would have, the next token has probability
    (1 - epsilon) + epsilon / V if it is the expert's and epsilon / V if it is not. After the first deviation the
    expert has said nothing about what follows, so the rest of the turn is NaN and invalid.
    """

    who = "The expert teacher"
    capabilities: frozenset[str] = frozenset({"sampled"})
    needs: frozenset[str] = frozenset({"expert_action"})
    tokenizer: Any = None
    cacheable = False  # scores are the expert's actions, which are in no token; and they cost nothing

    def __init__(self, config: ExpertConfig, renderer: ChatRenderer, context: ContextPolicy, vocabulary: int) -> None:
        """Makes a teacher.

        Args:
            config: the smoothing.
            renderer: tokenises responses for the student; any of its stop ids is the expert's terminator.
            context: renders an action as the response that takes it.
            vocabulary: number of token ids of the student, V.
        """
        self.config, self._renderer, self._context = config, renderer, context
        self._stop_ids, self._vocabulary = renderer.stop_ids, vocabulary
        self._hit = math.log((1 - config.epsilon) + config.epsilon / vocabulary)
        self._miss = math.log(config.epsilon / vocabulary)
        self._encoded: dict[str, list[int]] = {}

    @property
    def fingerprint(self) -> str:
        """Over the smoothing, the vocabulary and the prompt format."""
        who = [self._renderer.fingerprint, list(self._stop_ids), self._context.prompt_hash]
        return digest(["expert", self.config.epsilon, self._vocabulary, *who])[:16]

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores the student's tokens against `step.info["expert_action"]`; turns without one stay NaN.

        Raises:
            TrainingError: more than sampled log-probabilities are wanted, or no turn of the batch knows the expert.
        """
        if request.hidden or request.top_k:
            raise TrainingError(
                "The expert teacher knows one token at a time.",
                "It has no hidden states and no top k.",
                'Use `loss.support = "sampled"`.',
            )
        played = [step for t in trajectories for step in t.steps if step.row >= 0]
        if played and not any("expert_action" in step.info for step in played):
            raise TrainingError(
                "No turn of the batch carries the expert's action.",
                "The rollout did not ask the environment for it.",
                'Play with `want_expert`, in an environment whose info has "expert_action".',
            )
        return [
            [self._row(row, [s for s in t.steps if s.row == number]) for number, row in enumerate(t.rows)]
            for t in trajectories
        ]

    def _row(self, row: TokenRow, steps: Sequence[Step]) -> TeacherScores:
        logprob = np.full(len(row), np.nan, dtype=np.float32)
        for step in steps:
            action = step.info.get("expert_action")
            if action is None:
                continue
            written = row.token_ids[step.start : step.end].tolist()
            for offset, target in enumerate([*self._encode(action), None]):
                if offset >= len(written):
                    break
                token = written[offset]
                hit = token in self._stop_ids if target is None else token == target
                logprob[step.start + offset] = self._hit if hit else self._miss
                if not hit:
                    break
        return TeacherScores(logprob, np.isfinite(logprob))

    def _encode(self, action: str) -> list[int]:
        if action not in self._encoded:
            self._encoded[action] = self._renderer.response(self._context.render_action(action))[:-1]
        return self._encoded[action]


def expert_teacher(
    config: ExpertConfig, student: LoadedModel, *, context: ContextPolicy | None = None
) -> ExpertTeacher:
    """Makes the teacher for a student and its context policy.

    Raises:
        ConfigError: there is no context policy to say how the expert would write.
    """
    if context is None:
        raise ConfigError(
            "The expert teacher needs the run's context policy.",
            "It says how the expert's action would be written.",
            "Give the run an [env] section with a context.",
        )
    vocabulary = student.model.get_output_embeddings().weight.shape[0]
    renderer = renderer_for(student.tokenizer, context, extra_stop_ids=generation_stop_ids(student.model))
    return ExpertTeacher(config, renderer, context, vocabulary)
