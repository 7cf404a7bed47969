"""What the checks of the learner share: a few turns of the student, and teachers that agree with it or do not.

A small student is tried as it is. A big one is stood in for by a tiny model of its vocabulary, which shows the same
mistakes of objectives, masks and weights in a thousandth of the time; what only the student itself can show, the
self-score check does (`agentdistill.teachers.selfcheck`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agentdistill.learner.facts import BatchExtras
from agentdistill.learner.heads import split_model
from agentdistill.learner.learner import Learner
from agentdistill.models import LoadedModel, count_parameters
from agentdistill.records import EpisodePlan, ScoreRequest, StopReason, TeacherScores, TokenRow, Trajectory
from agentdistill.rollout.play import EpisodeRequest, play
from agentdistill.selftest.scores import disturbed
from agentdistill.teachers.scoring import score_rows
from agentdistill.training.methods import OVERLAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentdistill.training.assembly import Parts

LARGEST = 30_000_000
"""Parameters of the largest student whose own gradients are compared."""

EPISODES = 2
TURNS = 4


class Material:
    """Episodes, scores and learners for the checks.

    Attributes:
        parts: the assembled run.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @cached_property
    def played(self) -> list[Trajectory]:
        """A few turns of the student in two tasks."""
        parts = self.parts
        requests = [
            EpisodeRequest(task=task, plan=EpisodePlan(horizon=TURNS), seed=index)
            for index, task in enumerate(parts.tasks[:EPISODES])
        ]
        return play(
            requests,
            source=parts.source,
            engine=parts.engine,
            renderer=parts.renderer,
            context=parts.context,
            settings=replace(parts.settings, want_expert=False),
        )

    @property
    def trains_own_turns(self) -> bool:
        """Whether the run trains what the student wrote, and not only what others wrote for it."""
        config = self.parts.config
        return config.loss is not None or config.advantage is not None

    @property
    def stands_in(self) -> bool:
        """Whether another model stands in for the student."""
        return count_parameters(self.parts.student.model) > LARGEST

    @cached_property
    def model(self) -> LoadedModel:
        """The student, or a tiny model of its vocabulary."""
        return _tiny(self.parts.student) if self.stands_in else self.parts.student

    @property
    def who(self) -> str:
        """How lines name the model."""
        return "a tiny model of the student's vocabulary" if self.stands_in else "the student"

    @cached_property
    def request(self) -> ScoreRequest:
        """What scores the run asks for, and what behaviour statistics need besides."""
        asked = self.parts.request if self.parts.config.loss is not None else ScoreRequest()
        return replace(asked, entropy=True, top_k=max(asked.top_k, self._overlap))

    @property
    def _overlap(self) -> int:
        return (
            min(OVERLAP, len(self.parts.student.tokenizer)) if "overlap" in self.parts.needs | self.parts.watched else 0
        )

    @cached_property
    def _scored(self) -> tuple[list[Trajectory], list[list[TeacherScores]]]:
        """The episodes as if the model had sampled them as it computes them here, and its scores of them."""
        notes = sorted(n.removeprefix("annotation:") for n in self.parts.needs if n.startswith("annotation:"))
        played = [t for t in self.played if t.stop is not StopReason.ABORTED and t.rows]
        parts = split_model(self.model)
        scores = [score_rows(parts, t.rows, self.request) for t in played]
        episodes = [
            replace(
                trajectory,
                rows=[self._resampled(row, score) for row, score in zip(trajectory.rows, own, strict=True)],
                steps=[
                    replace(step, info={**step.info, "annotations": dict.fromkeys(notes, 0.5)})
                    for step in trajectory.steps
                ],
            )
            for trajectory, own in zip(played, scores, strict=True)
        ]
        return episodes, scores

    def _resampled(self, row: TokenRow, score: TeacherScores) -> TokenRow:
        unknown = np.float32(np.nan)
        top = None
        if self._overlap and score.topk_ids is not None:
            top = np.where(row.mask[:, None], score.topk_ids[:, : self._overlap], -1).astype(np.int32)
        assert score.entropy is not None
        return replace(
            row,
            old_logprob=np.where(row.mask, score.sampled_logprob, unknown),
            old_entropy=np.where(row.mask, score.entropy, unknown),
            old_top_ids=top,
        )

    @property
    def episodes(self) -> list[Trajectory]:
        """The episodes that are learned from."""
        return self._scored[0]

    @property
    def own_scores(self) -> list[list[TeacherScores]]:
        """The model's own scores: a teacher that is the student."""
        return self._scored[1]

    @cached_property
    def other_scores(self) -> list[list[TeacherScores]]:
        """Scores of a teacher that thinks a little otherwise, the same every time."""
        rng = np.random.default_rng(0)
        return [[disturbed(score, rng) for score in scores] for scores in self.own_scores]

    def extras(self, random: bool) -> BatchExtras:
        """Rewards, advantages and reference, as far as the run has them.

        Args:
            random: advantages and rewards drawn at random; otherwise 0.
        """
        config, rng = self.parts.config, np.random.default_rng(1)

        def numbers() -> list[Any]:
            scale = 1.0 if random else 0.0
            return [(scale * rng.standard_normal(len(t.steps))).astype(np.float32) for t in self.episodes]

        reference = None
        if "reference" in self.parts.needs:
            reference = [[score.sampled_logprob for score in scores] for scores in self.own_scores]
        return BatchExtras(
            rewards=numbers() if config.reward else None,
            advantages=numbers() if config.advantage is not None else None,
            reference=reference,
        )

    def learner(self, batch_tokens: int | None = None) -> Learner:
        """A learner with the run's own loss and weights.

        Args:
            batch_tokens: most tokens of one pass; None is what the run says.
        """
        parts = self.parts
        settings = parts.learner_settings(None)
        # Gradients are compared: nothing may be clipped, rounded or recomputed in between.
        settings = replace(settings, grad_clip=0.0, bf16=False, gradient_checkpointing=False)
        if batch_tokens is not None:
            settings = replace(settings, batch_tokens=batch_tokens)
        loss = parts.loss if parts.config.loss is not None else None
        section = parts.config.fusion
        return Learner(
            self.model,
            loss=loss,
            step_weight=parts.methods.step_weights,
            token_weight=parts.methods.token_weights,
            fusion=None if section is None else parts.registry.build("fusion", section, "fusion"),
            surrogate=parts.methods.surrogate,
            settings=settings,
            teacher_weight=split_model(self.model).weight.detach() if self.request.hidden else None,
            roles="role" in parts.needs,
        )

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Dropout is off: passes that draw other masks cannot be compared."""
        module = self.model.model
        found = [(m, m.p) for m in module.modules() if isinstance(m, torch.nn.Dropout)]
        try:
            for layer, _ in found:
                layer.p = 0.0
            yield
        finally:
            for layer, p in found:
                layer.p = p


def _tiny(student: LoadedModel) -> LoadedModel:
    """A randomly initialised model with the student's vocabulary."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    vocabulary, width = student.model.get_input_embeddings().weight.shape[0], 32
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        max_position_embeddings=int(getattr(student.model.config, "max_position_embeddings", 32768)),
        initializer_range=0.1,
        tie_word_embeddings=True,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config)
    return LoadedModel(model.eval(), student.tokenizer, "tiny", None, "")


def numbers_of(episodes: Sequence[Trajectory]) -> tuple[int, int]:
    """Rows and sampled tokens of some episodes."""
    rows = [row for trajectory in episodes for row in trajectory.rows]
    return len(rows), int(sum(row.mask.sum() for row in rows))
