"""No loss ever holds something of the size of all tokens times the vocabulary: what it makes is of a chunk's size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import TeacherHead, TeacherTop, TeacherView, objective_at
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginRegistry

TOKENS, VOCABULARY, WIDTH, CHUNK = 96, 512, 8, 4
REGISTRY = PluginRegistry.load(third_party=False)
DIVERGENCES = [
    "reverse-kl", "forward-kl", "jsd", "skew-kl", "skew-reverse-kl", "total-variation", "chi-square", "alpha", "uld",
]  # fmt: skip
LOSSES: list[dict[str, Any]] = [
    *({"type": name} for name in REGISTRY.names("loss")),
    *(
        {"type": "opd", "divergence": name, "support": support}
        for name in DIVERGENCES
        for support in ("full", "teacher-topk", "student-topk")
    ),
    {"type": "vopd", "baseline": "topk"},
    {"type": "eopd", "reverse": "exact"},
]


class Largest(TorchDispatchMode):
    """Notes the most elements that any tensor has which an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            if isinstance(one, Tensor):
                self.elements = max(self.elements, one.numel())
        return made


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch() -> TokenStatistics:
    """Two episodes of turns of eight tokens, with all that a loss may ask for."""
    at, one = torch.arange(TOKENS), torch.ones(TOKENS)
    return TokenStatistics(
        at // 48, at // 8 % 6, at // 8 % 6, at % 8, at % VOCABULARY, -6.5 * one, -6.0 * one, one,
        old_entropy=1.0 + at / TOKENS, reference_logprob=-6.5 * one, success=at < 48, group=torch.zeros_like(at),
    )  # fmt: skip


@pytest.mark.parametrize("section", LOSSES, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_what_is_made_is_of_a_chunk_s_size(section: dict[str, Any]) -> None:
    objective = objective_at(REGISTRY.build("loss", section), LearnerProgress(3, 10))
    tokens = batch()
    teacher: TeacherView | None = None
    if objective.needs_hidden:
        teacher = TeacherHead(drawn(TOKENS, WIDTH, seed=1), drawn(VOCABULARY, WIDTH, seed=2))
    elif getattr(objective, "needs_top", False):
        ids = torch.arange(64).expand(TOKENS, 64).contiguous()
        teacher = TeacherTop(ids, torch.full((TOKENS, 64), -6.0))
    hidden = drawn(TOKENS, WIDTH, seed=3).requires_grad_()
    weight = drawn(VOCABULARY, WIDTH, seed=4).requires_grad_()
    with Largest() as largest:
        loss = objective.chunk_loss(tokens, teacher)
        total, _ = fused_head(hidden, weight, None, loss, torch.ones(TOKENS) / TOKENS, chunk=CHUNK)
        total.backward()
    assert bool(torch.isfinite(weight.grad).all()) and float(weight.grad.abs().max()) > 0
    assert CHUNK * VOCABULARY <= largest.elements <= max(2 * CHUNK * VOCABULARY, VOCABULARY * WIDTH)
