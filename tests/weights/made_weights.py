"""Batches of random statistics with every field known, and the weights as loops over turns and tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from hypothesis import settings
from hypothesis import strategies as st

from agentdistill.learner.statistics import (
    EpisodeFacts,
    StepStatistics,
    TokenStatistics,
    step_statistics,
    turn_columns,
)

shapes = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=5), min_size=1, max_size=4)
"""Tokens of each turn of each episode."""
seeds = st.integers(0, 2**16)
patient = settings(deadline=None)
"""On a busy machine a call takes its time."""


def make_tokens(shape: Sequence[Sequence[int]], seed: int = 0, first_turn: int = 0) -> TokenStatistics:
    """Random tokens of episodes whose turns have so many tokens; turns are numbered from `first_turn`, without gaps."""
    g = torch.Generator().manual_seed(seed)
    places = [(i, first_turn + k, j) for i, turns in enumerate(shape) for k, n in enumerate(turns) for j in range(n)]
    trajectory, turn, position = (torch.tensor([p[c] for p in places], dtype=torch.int64) for c in range(3))
    count = len(places)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=g)

    return TokenStatistics(
        trajectory=trajectory,
        turn=turn,
        column=turn_columns(trajectory, turn),
        position=position,
        token_id=torch.randint(0, 50, (count,), generator=g),
        old_logprob=uniform(-3.0, 0.0),
        teacher_logprob=uniform(-5.0, 0.0),
        teacher_entropy=uniform(0.0, 3.0),
        teacher_confidence=uniform(0.05, 1.0),
        old_entropy=uniform(0.0, 3.0),
        overlap=torch.randint(0, 5, (count,), generator=g) / 4,
        reference_logprob=uniform(-3.0, 0.0),
        advantage=uniform(-1.0, 1.0),
        role=torch.randint(0, 3, (count,), generator=g),
    )


def make_steps(shape: Sequence[Sequence[int]], seed: int = 0, first_turn: int = 0) -> StepStatistics:
    """The turn statistics of `make_tokens`; validity, repetition and a verdict (0, 0.5, 1 or none) are random, too."""
    g = torch.Generator().manual_seed(seed + 1)
    count = len(shape)

    def draw(sides: int) -> list[dict[int, int]]:
        return [{first_turn + k: int(torch.randint(0, sides, (), generator=g)) for k in range(len(t))} for t in shape]

    facts = EpisodeFacts(
        group=torch.arange(count),
        success=torch.zeros(count, dtype=torch.bool),
        reward=torch.zeros(count),
        valid=[{k: side > 0 for k, side in episode.items()} for episode in draw(2)],
        repeated=[{k for k, side in episode.items() if side} for episode in draw(2)],
        annotations=[{k: {"judge": v / 2} if v < 3 else {} for k, v in episode.items()} for episode in draw(4)],
    )
    return step_statistics(make_tokens(shape, seed, first_turn), count, facts)


def turns_of(steps: StepStatistics, row: int) -> list[int]:
    """The real columns of one trajectory."""
    return steps.mask[row].nonzero().squeeze(1).tolist()


def per_turn(steps: StepStatistics, weigh: Callable[[int, list[int]], list[float]]) -> list[list[float]]:
    """`weigh(row, columns)` for every trajectory."""
    return [weigh(row, turns_of(steps, row)) for row in range(len(steps.mask))]


def ragged(weights: torch.Tensor, steps: StepStatistics) -> list[list[float]]:
    """The weights of the real turns."""
    return [weights[row, turns_of(steps, row)].tolist() for row in range(len(steps.mask))]


def responses(tokens: TokenStatistics, scope: str = "response") -> list[list[int]]:
    """Indices of the tokens of each response, episode or of the batch, in order."""
    runs: dict[tuple[int, ...], list[int]] = {}
    for i in range(len(tokens)):
        place = (int(tokens.trajectory[i]), int(tokens.turn[i]))
        key = {"response": place, "episode": place[:1], "batch": ()}[scope]
        runs.setdefault(key, []).append(i)
    return list(runs.values())


def min_max(values: Sequence[float], flat: float = 0.5) -> list[float]:
    """Scaled to [0, 1], or all `flat`."""
    low, high = min(values), max(values)
    return [flat if high - low < 1e-8 else (v - low) / (high - low) for v in values]


def best(scores: Sequence[float], count: int) -> set[int]:
    """Places of the `count` largest scores, earlier ones first."""
    return set(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count])


def gap(tokens: TokenStatistics, i: int) -> float:
    """|log pi_old - log pi_T| of one token."""
    return abs(float(tokens.log_ratio[i]))
