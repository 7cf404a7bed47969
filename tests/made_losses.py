"""Exact expectations over small vocabularies, through the very kernel the learner uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import TeacherHead, TeacherTop, TeacherView
from agentdistill.learner.statistics import TokenStatistics

VOCABULARY = 6


def logits(seed: int, rows: int = 2, vocabulary: int = VOCABULARY, scale: float = 1.0) -> Tensor:
    """float64 [rows, vocabulary]."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)


def statistics(token_id: Tensor, old: Tensor, teacher: Tensor, **more: Tensor) -> TokenStatistics:
    """Tokens of one response, with every field that `more` does not name left unknown."""
    zero = torch.zeros(len(token_id), dtype=torch.int64)
    place = {"trajectory": zero, "turn": zero, "column": zero, "position": torch.arange(len(token_id))}
    nan = torch.full((len(token_id),), torch.nan, dtype=old.dtype)
    fields: dict[str, Any] = place | {"old_logprob": old, "teacher_logprob": teacher, "teacher_entropy": nan} | more
    return TokenStatistics(token_id=token_id, **fields)


def every_token(student: Tensor, teacher: Tensor, **more: Tensor) -> TokenStatistics:
    """Each token of a vocabulary once, sampled from `student` [V] logits and scored by `teacher` [V] logits."""
    return statistics(torch.arange(len(student)), student.log_softmax(-1), teacher.log_softmax(-1), **more)


def view(objective: Any, teacher: Tensor) -> TeacherView | None:
    """The teacher as the objective wants to see it; `teacher` are logits [n, V]."""
    if objective.needs_hidden:
        return TeacherHead(teacher, torch.eye(teacher.shape[-1], dtype=torch.float64))
    if getattr(objective, "needs_top", False):
        top = teacher.log_softmax(-1).topk(teacher.shape[-1], dim=-1)
        return TeacherTop(top.indices, top.values)
    return None


def through_kernel(
    objective: Any, student: Tensor, teacher: Tensor, tokens: TokenStatistics, coefficients: Tensor, chunk: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Total, values [n] and the gradient [n, V] with respect to the student's logits [n, V]."""
    hidden = student.clone().requires_grad_()
    identity = torch.eye(student.shape[-1], dtype=torch.float64)
    loss = objective.chunk_loss(tokens, view(objective, teacher))
    total, values = fused_head(hidden, identity, None, loss, coefficients, chunk=chunk)
    (grad,) = torch.autograd.grad(total, hidden)
    return total.detach(), values.detach(), grad


def expectation(objective: Any, student: Tensor, teacher: Tensor, **more: Tensor) -> tuple[Tensor, Tensor]:
    """The expected value and gradient [V] of an objective over the student's own tokens; logits are [V]."""
    tokens, rows = every_token(student, teacher, **more), len(student)
    weight = student.softmax(-1)
    total, _, grad = through_kernel(objective, student.repeat(rows, 1), teacher.repeat(rows, 1), tokens, weight)
    return total, grad.sum(0)


def exact(divergence: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient [V] of a function of two log-distributions, by automatic differentiation."""
    leaf = student.clone().requires_grad_()
    value = divergence(leaf.log_softmax(-1)[None], teacher.log_softmax(-1)[None]).sum()
    (grad,) = torch.autograd.grad(value, leaf)
    return value.detach(), grad
