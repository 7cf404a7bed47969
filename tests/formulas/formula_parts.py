"""What formulas share: parts of batches, PPO's clip, entropies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from naive_batch import Token
from torch import Tensor


def mean(values: Iterable[float]) -> float:
    """Of at least one number."""
    listed = list(values)
    return sum(listed) / len(listed)


def turn(tokens: Sequence[Token], one: Token) -> list[Token]:
    """The tokens of a token's turn."""
    return [t for t in tokens if (t.episode, t.turn) == (one.episode, one.turn)]


def episode(tokens: Sequence[Token], one: Token) -> list[Token]:
    """The tokens of a token's episode."""
    return [t for t in tokens if t.episode == one.episode]


def turns_of(tokens: Sequence[Token], one: Token) -> list[list[Token]]:
    """The turns of a token's episode, in order."""
    own = episode(tokens, one)
    return [[t for t in own if t.turn == k] for k in sorted({t.turn for t in own})]


def drift(tokens: Sequence[Token]) -> float:
    """Mean |log pi_old - log pi_T|."""
    return mean(abs(t.gap) for t in tokens)


def scaled(values: Sequence[float], value: float, flat: float = 0.5) -> float:
    """Min-max; `flat` where nothing varies."""
    span = max(values) - min(values)
    return flat if span < 1e-8 else (value - min(values)) / span


def clipped(token: Token, advantage: float, low: float = 0.2, high: float = 0.2, dual: float | None = 3.0) -> Tensor:
    """PPO's clip with the dual clip."""
    ratio = torch.exp(token.now - token.old)
    value = torch.maximum(-ratio * advantage, -ratio.clamp(1 - low, 1 + high) * advantage)
    if advantage < 0 and dual is not None:
        value = torch.minimum(value, torch.tensor(-dual * advantage, dtype=value.dtype))
    return value


def entropy(log_probs: Tensor) -> Tensor:
    """Of one distribution, nats."""
    return -(log_probs.exp() * log_probs).sum()


def top(log_probs: Tensor, k: int) -> Tensor:
    """Ids of the k most likely tokens, likeliest first."""
    return log_probs.detach().argsort(descending=True)[:k]


def with_rest(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities of some tokens and, last, of all others together."""
    some = log_probs[ids]
    return torch.cat([some, torch.log1p(-some.exp().sum())[None]])


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(p || q)."""
    return (teacher.exp() * (teacher - student)).sum()


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(q || p)."""
    return (student.exp() * (student - teacher)).sum()
