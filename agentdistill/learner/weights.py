"""Weights of every branch: what step weights, token weights and the fusion say, multiplied, checked and normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agentdistill.errors import PluginError
from agentdistill.learner.fusion import Fusion
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.reduce import checked_weights, normalised
from agentdistill.learner.settings import WeightNorm
from agentdistill.learner.statistics import BRANCHES, StepStatistics, TokenStatistics

Weights = Tensor | Mapping[str, Tensor]
StepWeight = Callable[[StepStatistics], Weights]
TokenWeight = Callable[[TokenStatistics], Weights]


def functions(given: Callable[..., Any] | Sequence[Callable[..., Any]] | None) -> tuple[Callable[..., Any], ...]:
    """None, one function or several, as several."""
    if given is None:
        return ()
    return (given,) if callable(given) else tuple(given)


def branch_weights(
    step_functions: Sequence[StepWeight],
    token_functions: Sequence[TokenWeight],
    fusion: Fusion | None,
    steps: StepStatistics,
    tokens: TokenStatistics,
    base: Tensor,
    norm: WeightNorm,
    progress: LearnerProgress,
    taught: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weights of every token in every branch.

    A function that returns a tensor weighs the branch "kd"; one that returns a mapping weighs the branches it names.

    Args:
        step_functions: `StepStatistics` -> [trajectories, steps]; one that takes `progress` is given it.
        token_functions: `TokenStatistics` -> [N]; likewise.
        fusion: may add factors of its own.
        steps: the batch's turns.
        tokens: its N tokens.
        base: float32 [N], coefficients of the reduction.
        norm: the declared normaliser, applied to each branch's product.
        progress: where the run stands.
        taught: there is a distillation loss; without one, what is said of the branch "kd" is ignored.

    Returns:
        float32 [trajectories, steps] of the branch "kd", for curves, and float32 [N] by branch.

    Raises:
        PluginError: a function returned something unusable.
    """
    count, ignored = torch.Size([len(tokens)]), frozenset[str]() if taught else frozenset({"kd"})
    over_steps = _product(step_functions, steps, steps.shape, steps.mask, "step_weight", progress, ignored)
    over_tokens = _product(token_functions, tokens, count, None, "token_weight", progress, ignored)
    if fusion is not None and (given := fusion.weights(tokens)) is not None:
        _multiply(over_tokens, given, count, None, "fusion", ignored)
    weights: dict[str, Tensor] = {
        branch: normalised(
            over_steps[branch][tokens.trajectory, tokens.column] * over_tokens[branch]
            if branch in over_tokens
            else over_steps[branch][tokens.trajectory, tokens.column],
            base,
            norm,
        )
        for branch in BRANCHES
    }
    return over_steps["kd"], weights


def _product(
    chosen: Sequence[Callable[..., Weights]],
    statistics: StepStatistics | TokenStatistics,
    shape: torch.Size,
    mask: Tensor | None,
    name: str,
    progress: LearnerProgress,
    ignored: frozenset[str],
) -> dict[str, Tensor]:
    """The product of some weight functions by branch; branches that nobody weighs are 1 (steps) or absent (tokens)."""
    product: dict[str, Tensor] = {}
    if mask is not None:
        one = checked_weights(torch.ones(shape), shape, mask, name)
        product = dict.fromkeys(BRANCHES, one)
    for function in chosen:
        takes = getattr(function, "takes_progress", False)
        given = function(statistics, progress=progress) if takes else function(statistics)
        _multiply(product, given, shape, mask, getattr(function, "__name__", name), ignored)
    return product


def _multiply(
    product: dict[str, Tensor],
    given: object,
    shape: torch.Size,
    mask: Tensor | None,
    name: str,
    ignored: frozenset[str],
) -> None:
    branches = given if isinstance(given, Mapping) else {"kd": given}
    for branch, weights in branches.items():
        if branch not in BRANCHES:
            raise PluginError(
                f"The weight function `{name}` weighs a branch {branch!r}.",
                f"The branches are {' and '.join(BRANCHES)}.",
                "Return a tensor, or a mapping with these keys.",
            )
        if branch in ignored:
            continue
        checked = checked_weights(weights, shape, mask, name)
        product[branch] = product[branch] * checked if branch in product else checked
