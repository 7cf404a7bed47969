"""Distances between a student and a teacher who cut text differently and know different tokens.

Where both begin a span of text, both have a distribution over what comes next, each over its own vocabulary. What the
rest of the span needs is one number on each side: the probability of the later tokens that are there. The product with
it is the distribution over the span, as far as it is known ("observed": of all ways to go on, one has been seen).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from agentdistill.errors import TrainingError
from agentdistill.learner.losses import Divergence, DivergenceLoss, TeacherHead, TeacherView, TokenLoss
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.records import TeacherScores


class VocabularyDistance(Protocol):
    """A distance between measures over two vocabularies."""

    def __call__(self, student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
        """The distance of each row.

        Args:
            student: float32 [n, V], logarithms; differentiable. They sum to the probability of the span's rest.
            teacher: float32 [n, W], logarithms; constant.
            ids: int64 [W], the student's token that writes the same bytes as each of the teacher's, or -1.

        Returns:
            float32 [n].
        """
        ...


@dataclass(frozen=True, slots=True)
class SpanDistance:
    """A distance at the first token of each span; with one vocabulary, a divergence at every token.

    Attributes:
        distance: over two vocabularies.
        same: over one; a teacher with the student's tokenizer is compared by it, without spans.
    """

    distance: VocabularyDistance
    same: Divergence

    @property
    def needs_hidden(self) -> bool:
        """The teacher's whole distribution."""
        return True

    @property
    def across(self) -> bool:
        """It works across vocabularies."""
        return True

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `agentdistill.learner.losses.Objective`."""
        if not isinstance(teacher, TeacherHead):
            raise ValueError("a distance between vocabularies needs the teacher's output layer")
        if teacher.ids is None:
            return DivergenceLoss(tokens, teacher, self.same)
        return SpanLoss(tokens, teacher, teacher.ids, self.distance)


class SpanLoss:
    """The chunk loss of a `SpanDistance` over two vocabularies.

    A span's value is that of its first token. It also depends on the later ones, through their probability: they have
    the value 0 and the gradient of that. The probability itself is the behaviour policy's, which is the student's own
    as long as the batch is fresh.

    Attributes:
        logprobs: float32 [N], the student's log-probabilities of the sampled tokens.
        clipped: None, there is no ratio.
    """

    clipped: Tensor | None = None

    def __init__(
        self, tokens: TokenStatistics, teacher: TeacherHead, ids: Tensor, distance: VocabularyDistance
    ) -> None:
        """Makes it for N tokens, whole spans one after the other."""
        self.tokens, self.teacher, self.ids, self.distance = tokens, teacher, ids, distance
        device = tokens.token_id.device
        begins = tokens.span == 0
        order = torch.arange(len(tokens), device=device)
        self.begin = torch.where(begins, order, 0).cummax(0).values
        later = torch.where(begins, 0.0, tokens.old_logprob.double())
        self.rest = torch.zeros(len(tokens), dtype=torch.float64, device=device).scatter_add_(0, self.begin, later)
        self.slope = torch.zeros(len(tokens), dtype=torch.float64, device=device)
        self.logprobs = torch.empty(len(tokens), dtype=torch.float32, device=device)

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `agentdistill.learner.kernels.ChunkLoss`; chunks come in the order of the tokens."""
        student = logits.log_softmax(-1)
        targets = self.tokens.token_id[span, None]
        self.logprobs[span] = student.gather(1, targets).squeeze(1)
        first = self.tokens.span[span] == 0
        value = torch.zeros(len(logits), dtype=logits.dtype, device=logits.device)
        with torch.set_grad_enabled(want_grad):
            leaf = student[first].detach().requires_grad_(want_grad)
            rest = self.rest[span][first].to(logits.dtype).requires_grad_(want_grad)
            known = self._teacher(span, first, logits.dtype)
            found = self.distance(leaf + rest[:, None], known, self.ids)
            value[first] = found.detach()
            if not want_grad:
                return value, None
            slope, by_rest = torch.autograd.grad(found.sum(), (leaf, rest))
        probabilities = student.exp_()
        gradient = torch.zeros_like(probabilities)
        gradient[first] = slope - probabilities[first] * slope.sum(-1, keepdim=True)
        self.slope[span] = torch.zeros_like(self.slope[span]).masked_scatter(first, by_rest.double())
        later = torch.where(first, 0.0, self.slope[self.begin[span]]).to(logits.dtype)[:, None]
        gradient -= later * probabilities
        return value, gradient.scatter_add_(1, targets, later)

    def _teacher(self, span: slice, first: Tensor, dtype: torch.dtype) -> Tensor:
        hidden, weight = self.teacher.hidden[span][first], self.teacher.weight
        logits = (hidden.to(weight.dtype) @ weight.T).to(dtype)
        return logits.log_softmax(-1) + self.tokens.teacher_rest[span][first].to(dtype)[:, None]


def check_one_vocabulary(scores: Sequence[Sequence[TeacherScores]]) -> None:
    """Makes sure that whole distributions are over the student's vocabulary.

    Raises:
        TrainingError: a teacher with another tokenizer made them.
    """
    if any(score.span is not None for rows in scores for score in rows):
        raise TrainingError(
            "The teacher scores spans of text, and nobody says what its vocabulary is to the student.",
            "A teacher with another tokenizer has `student_ids`; scores that were kept of one have not.",
            'Ask the teacher itself, or set `loss.support = "sampled"`.',
        )
