"""The terms of a batch's loss: what the teacher says, what the rewards say, or both as one advantage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from agentdistill.learner.fusion import Scales
from agentdistill.learner.losses import Objective, PolicyGradient, TeacherView, TokenLoss, prepared, surrogate_loss
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.surrogates import ClippedRatio, Surrogate


@dataclass(frozen=True, slots=True)
class Term:
    """One sum over the distilled tokens of a batch.

    Attributes:
        name: "distill" (teacher), "rl" (rewards), or "distill" again for both as one advantage.
        coefficients: float32 [N], what each token's loss counts; they are cut into passes with the tokens.
        make: (index int64 [n], the tokens there, the teacher's view of them) -> their chunk loss.
        needs_teacher: whether it looks at the teacher's distribution.
        advantage: float32 [N], when there is one, as it was used.
    """

    name: str
    coefficients: Tensor
    make: Callable[[Tensor, TokenStatistics, TeacherView | None], TokenLoss]
    needs_teacher: bool = False
    advantage: Tensor | None = None


def make_terms(
    tokens: TokenStatistics,
    objective: Objective | None,
    rewarded: bool,
    base: Tensor,
    weights: Mapping[str, Tensor],
    scales: Scales,
    surrogate: Surrogate | None = None,
    current: Tensor | None = None,
) -> list[Term]:
    """Makes the terms of a batch.

    Two advantages become one, A = s_rl W_rl A_rl + s_kd W_kd A_kd, so that the ratio is clipped once. A divergence and
    an advantage stay two terms, each with its own weights under the same reduction.

    Args:
        tokens: the N distilled tokens.
        objective: of the distillation loss; None without one.
        rewarded: whether `tokens.advantage` is known.
        base: float32 [N], coefficients of the reduction.
        weights: by branch, float32 [N], normalised.
        scales: of the fusion.
        surrogate: in the place of the loss's own; None is that, or the clipped ratio where it has none.
        current: float32 [N], the student's log-probabilities now; None is those it sampled with.

    Returns:
        No term, one or two.
    """
    if not len(tokens):
        return []
    kd = objective is not None and scales.kd > 0
    rl = rewarded and scales.rl > 0
    terms = []
    if kd and isinstance(objective, PolicyGradient):
        advantage, coefficients = objective.clipped_advantage(tokens), base * weights["kd"] * scales.kd
        if rl:
            from_rewards = scales.rl * weights["rl"] * tokens.advantage
            advantage = torch.where(weights["kd"] == 0, 0.0, scales.kd * weights["kd"] * advantage) + from_rewards
            coefficients = base
        terms.append(
            _advantage_term("distill", tokens, advantage, coefficients, surrogate or objective.surrogate, current)
        )
        return terms
    if kd:
        assert objective is not None
        chosen = prepared(objective, tokens)
        terms.append(
            Term(
                "distill",
                base * weights["kd"] * scales.kd,
                lambda index, some, teacher: chosen.chunk_loss(some, teacher),
                needs_teacher=objective.needs_hidden or bool(getattr(objective, "needs_top", False)),
            )
        )
    if rl:
        coefficients, own = base * weights["rl"] * scales.rl, getattr(objective, "surrogate", None)
        terms.append(
            _advantage_term("rl", tokens, tokens.advantage, coefficients, surrogate or own or ClippedRatio(), current)
        )
    return terms


def _advantage_term(
    name: str,
    tokens: TokenStatistics,
    advantage: Tensor,
    coefficients: Tensor,
    surrogate: Surrogate,
    current: Tensor | None,
) -> Term:
    advantage = advantage.detach()
    known = {} if current is None else {"logprob": current}
    prepared = surrogate.prepare(tokens, advantage, **known)

    def make(index: Tensor, some: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        return surrogate_loss(prepared, some, advantage[index].to(some.token_id.device))

    return Term(name, coefficients, make, advantage=advantage)
