"""Per-token values become one number: coefficients that sum to 1, and weights under one declared normaliser."""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill.errors import PluginError
from agentdistill.learner.settings import Reduction, WeightNorm


def reduction_coefficients(trajectory: Tensor, turn: Tensor, reduction: Reduction, alpha: float) -> Tensor:
    """The coefficient of each token in the reduced loss.

    They are computed over the whole batch before it is cut into micro-batches, so a token counts the same
    wherever it lands. With N tokens in M turns, a token of a turn with n tokens gets 1/N (token-mean), 1/(M n)
    (turn-mean), or (1 - alpha)/N + alpha/(M n) (blend; arXiv 2607.05804).

    Args:
        trajectory: int64 [N].
        turn: int64 [N], turn index in the episode.
        reduction: which mean.
        alpha: the blend's share of turn-mean.

    Returns:
        float32 [N], summing to 1 (empty for an empty batch).
    """
    count = len(trajectory)
    if count == 0:
        return torch.zeros(0, device=trajectory.device)
    share = {"token-mean": 0.0, "turn-mean": 1.0, "blend": alpha}[reduction]
    stride = int(turn.max()) + 1
    _, inverse, sizes = torch.unique(trajectory * stride + turn, return_inverse=True, return_counts=True)
    per_turn = 1.0 / (sizes.double() * len(sizes))
    return ((1 - share) / count + share * per_turn[inverse]).float()


def checked_weights(weights: object, shape: torch.Size, mask: Tensor | None, name: str) -> Tensor:
    """What a weight plugin returned, detached and masked.

    Args:
        weights: the plugin's answer.
        shape: the shape it must have.
        mask: bool, where weights are used; None is everywhere.
        name: the plugin, for errors.

    Returns:
        float32 weights, 0 where unused.

    Raises:
        PluginError: not a tensor of that shape, or a used weight that is negative or not finite.
    """
    if not isinstance(weights, Tensor) or weights.shape != shape:
        got = f"shape {list(weights.shape)}" if isinstance(weights, Tensor) else type(weights).__name__
        raise PluginError(
            f"The weight function `{name}` returned {got}.",
            f"A tensor of shape {list(shape)} was expected.",
            "Return one weight for each entry of the statistics; the padding is masked for you.",
        )
    weights = weights.detach().float()
    used = weights if mask is None else weights[mask]
    if not bool(torch.isfinite(used).all()) or bool((used < 0).any()):
        raise PluginError(
            f"The weight function `{name}` returned a negative or non-finite weight.",
            f"Smallest {used.min().item()}, largest {used.max().item()}.",
            "Weights must be finite and at least 0.",
        )
    return weights if mask is None else torch.where(mask, weights, torch.zeros_like(weights))


def normalised(weights: Tensor, coefficients: Tensor, norm: WeightNorm) -> Tensor:
    """Applies the declared normaliser to the weights of the tokens.

    Args:
        weights: float32 [N], step x token weights.
        coefficients: float32 [N], `reduction_coefficients`.
        norm: "none", or "mean1": the weighted mean under the reduction becomes 1.

    Returns:
        float32 [N]. Weights that are all 0 stay 0.
    """
    if norm == "none" or len(weights) == 0:
        return weights
    mean = (weights.double() * coefficients.double()).sum()
    return weights if float(mean) == 0.0 else (weights.double() / mean).float()


def effective_share(weights: Tensor) -> float:
    """Kish's effective sample size as a fraction of the number of weights; 0 when all are 0."""
    total = weights.double()
    squares = float((total**2).sum())
    return float(total.sum()) ** 2 / (len(total) * squares) if squares > 0 else 0.0
