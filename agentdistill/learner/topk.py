"""Divergences over the most likely tokens and what is left of the vocabulary.

The teacher's top k may come from anywhere (a server that shows twenty log-probabilities is enough); the student's top k
needs the teacher's whole distribution, since nobody else knows what it says of the student's favourites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agentdistill.learner.losses import (
    ContextualDivergence,
    Divergence,
    TeacherHead,
    TeacherTop,
    TeacherView,
    TokenLoss,
    divergence_for,
)
from agentdistill.learner.statistics import TokenStatistics

Support = Literal["teacher", "student"]
Tail = Literal["bucket", "renormalise", "stop-gradient"]


@dataclass(frozen=True, slots=True)
class TopKDivergence:
    """A divergence over k tokens of each position.

    Attributes:
        divergence: over the last dimension, [n, k] or [n, k + 1] with the tail.
        k: tokens of the support.
        support: whose most likely tokens they are.
        tail: "bucket" adds the mass of all other tokens as one more; by the data-processing inequality the value is
            then at most the full divergence. "renormalise" divides both by their mass on the support.
            "stop-gradient" takes sum q sg(log q - log p) over the support, the form of the reverse KL whose gradient
            is right without the rest (arXiv 2605.11182); it uses no `divergence`.
        temperature: softens both distributions; with the teacher's support only where the tail does not matter
            ("renormalise").
    """

    divergence: Divergence | ContextualDivergence
    k: int
    support: Support = "teacher"
    tail: Tail = "bucket"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if self.tail == "renormalise" and self.k == 1:
            raise ValueError("one renormalised token has probability 1 under both: the divergence is always 0")
        if self.temperature != 1.0 and self.support == "teacher" and self.tail != "renormalise":
            raise ValueError("the mass of the teacher's other tokens at another temperature is not known")

    @property
    def needs_hidden(self) -> bool:
        """The teacher's whole distribution, when the support is the student's."""
        return self.support == "student"

    @property
    def needs_top(self) -> bool:
        """The teacher's most likely tokens, when the support is the teacher's."""
        return self.support == "teacher"

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `agentdistill.learner.losses.Objective`."""
        if teacher is None or isinstance(teacher, TeacherHead) != self.needs_hidden:
            raise ValueError(f"a divergence over the {self.support}'s top k needs another view of the teacher")
        return TopKLoss(self, tokens, teacher)


class TopKLoss:
    """The chunk loss of a `TopKDivergence`.

    Attributes:
        logprobs: float32 [N], the student's log-probabilities of the sampled tokens at temperature 1.
        clipped: None, there is no ratio.
    """

    clipped: Tensor | None = None

    def __init__(self, objective: TopKDivergence, tokens: TokenStatistics, teacher: TeacherView) -> None:
        self.objective, self.tokens, self.teacher = objective, tokens, teacher
        self.logprobs = torch.empty(len(tokens), dtype=torch.float32, device=tokens.token_id.device)

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `agentdistill.learner.kernels.ChunkLoss`."""
        targets = self.tokens.token_id[span, None]
        log_z = torch.logsumexp(logits, dim=-1, keepdim=True)
        self.logprobs[span] = (logits.gather(1, targets) - log_z).squeeze(1)
        with torch.set_grad_enabled(want_grad):
            leaf = logits.detach().requires_grad_(want_grad)
            value = self._value(leaf / self.objective.temperature, span)
            if not want_grad:
                return value, None
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def _value(self, logits: Tensor, span: slice) -> Tensor:
        objective = self.objective
        student = logits.log_softmax(-1)
        ids, known = self._support(student.detach(), span)
        q, p = student.gather(1, ids), known.to(student.dtype)
        if objective.tail == "stop-gradient":
            return (q.exp() * (q - p).detach()).sum(-1)
        if objective.tail == "renormalise":
            q, p = q.log_softmax(-1), (p / self._softened).log_softmax(-1)
        else:
            rest = student.scatter(1, ids, float("-inf")).logsumexp(-1, keepdim=True)
            floor = torch.finfo(student.dtype).eps
            q = torch.cat([q, rest.clamp(min=torch.tensor(floor, dtype=q.dtype).log().item())], dim=-1)
            # The mass may exceed 1 by rounding; a tail of exactly 0 has no logarithm.
            tail = (1.0 - p.double().exp().sum(-1, keepdim=True)).clamp(min=floor).log()
            p = torch.cat([p, tail.to(p.dtype)], dim=-1)
        return divergence_for(objective.divergence, self.tokens, span)(q, p)

    @property
    def _softened(self) -> float:
        """Temperature still to be applied to the teacher's log-probabilities of the support."""
        return self.objective.temperature if isinstance(self.teacher, TeacherTop) else 1.0

    def _support(self, student: Tensor, span: slice) -> tuple[Tensor, Tensor]:
        """Ids [n, k] and the teacher's log-probabilities there."""
        teacher, k = self.teacher, self.objective.k
        if isinstance(teacher, TeacherTop):
            return teacher.ids[span, :k], teacher.logprobs[span, :k]
        hidden = teacher.hidden[span].to(teacher.weight.dtype)
        whole = ((hidden @ teacher.weight.T).to(student.dtype) / self.objective.temperature).log_softmax(-1)
        ids = student.topk(min(k, student.shape[-1]), dim=-1).indices
        return ids, whole.gather(1, ids)
