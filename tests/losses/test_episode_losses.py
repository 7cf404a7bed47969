"""REDI and the contrast: the learner's gradient is that of the formula over whole episodes."""

from __future__ import annotations

import math

import pytest
import torch
from made_losses import statistics, through_kernel
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill_losses.episodes import episodes
from agentdistill_losses.qcrd import ContrastConfig, ContrastLoss, contrast_advantage
from agentdistill_losses.redi import RediConfig, RediLoss, redi_advantage

pytestmark = pytest.mark.oracle

LENGTHS = [3, 1, 4, 2, 2]
SUCCESS = [True, False, False, True, False]
GROUP = [0, 0, 0, 1, 2]


def batch(lengths: list[int], success: list[bool], group: list[int], z: Tensor) -> TokenStatistics:
    """Episodes over a vocabulary of 6; `z` [N, 6] are the student's logits at each token."""
    of = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    token = torch.arange(len(of)) % 6
    old = z.log_softmax(-1).gather(-1, token[:, None]).squeeze(-1)
    return statistics(
        token,
        old,
        torch.zeros_like(old),
        trajectory=of,
        success=torch.tensor(success)[of],
        group=torch.tensor(group)[of],
    )


def problem(seed: int = 0) -> tuple[Tensor, TokenStatistics]:
    z = torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z, batch(LENGTHS, SUCCESS, GROUP, z)


def scores(z: Tensor, tokens: TokenStatistics) -> list[Tensor]:
    """Mean log-probability of each episode, differentiable."""
    logprob = z.log_softmax(-1).gather(-1, tokens.token_id[:, None]).squeeze(-1)
    return [logprob[tokens.trajectory == e].mean() for e in range(len(LENGTHS))]


def learned(objective: object, z: Tensor, tokens: TokenStatistics) -> Tensor:
    """The gradient under the token mean."""
    mean = torch.full((len(z),), 1.0 / len(z), dtype=torch.float64)
    return through_kernel(objective, z, z, tokens, mean)[2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8])
def test_redi_is_its_formula(seed: int, alpha: float) -> None:
    z, tokens = problem(seed)
    leaf = z.clone().requires_grad_()
    s = scores(leaf, tokens)
    loss = -(s[0] + s[3]) / 2 + alpha * (s[1] + s[2] + s[4]) / 3
    (expected,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(
        learned(RediLoss(RediConfig(alpha=alpha)).objective, z, tokens), expected, rtol=0, atol=1e-7
    )


def test_redi_focus_weighs_likely_failures() -> None:
    _, tokens = problem()
    plain, focused = (redi_advantage(tokens, RediConfig(focus=f)) for f in (0.0, 2.0))
    found = episodes(tokens)
    expected = torch.where(found.success, 1.0, torch.exp(2.0 * found.score))[tokens.trajectory]
    torch.testing.assert_close(focused, plain * expected.float())


def test_redi_gradient_ratio_and_length() -> None:
    tokens = batch([5, 2], [True, False], [0, 0], torch.zeros(7, 6, dtype=torch.float64))
    advantage = redi_advantage(tokens, RediConfig(alpha=0.8))
    assert float(advantage[:5].sum() / -advantage[5:].sum()) == pytest.approx(1 / 0.8)
    assert advantage.tolist() == pytest.approx([7 / 5] * 5 + [-0.8 * 7 / 2] * 2)


@pytest.mark.parametrize("success", [[True, True], [False, False]])
def test_one_sided_batches(success: list[bool]) -> None:
    tokens = batch([2, 2], success, [0, 0], torch.zeros(4, 6, dtype=torch.float64))
    sign = 1.0 if success[0] else -0.8
    assert redi_advantage(tokens, RediConfig()).tolist() == pytest.approx([sign] * 4)
    assert contrast_advantage(tokens, ContrastConfig()).tolist() == [0.0] * 4


def test_alpha_one_is_refused() -> None:
    with pytest.raises(ValueError, match="less than 1"):
        RediConfig(alpha=1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_contrast_is_its_formula(seed: int, tau: float) -> None:
    z, tokens = problem(seed)
    leaf = z.clone().requires_grad_()
    s = scores(leaf, tokens)
    # Group 0: success 0 against failures 1 and 2. Groups 1 and 2 have one side only.
    loss = -torch.log_softmax(torch.stack([s[0], s[1], s[2]]) / tau, 0)[0]
    (expected,) = torch.autograd.grad(loss, leaf)
    got = learned(ContrastLoss(ContrastConfig(temperature=tau)).objective, z, tokens)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-7)


def test_contrast_of_several_successes() -> None:
    z = torch.randn(8, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    tokens = batch([2, 1, 3, 2], [True, True, False, True], [0, 0, 0, 1], z)
    leaf = z.clone().requires_grad_()
    logprob = leaf.log_softmax(-1).gather(-1, tokens.token_id[:, None]).squeeze(-1)
    s = [logprob[tokens.trajectory == e].mean() for e in range(3)]
    loss = sum(-torch.log_softmax(torch.stack([s[i], s[2]]), 0)[0] for i in (0, 1)) / 2
    (expected,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(
        learned(ContrastLoss(ContrastConfig()).objective, z, tokens), expected, rtol=0, atol=1e-7
    )


def test_contrast_stops_once_the_margin_is_wide() -> None:
    z = torch.zeros(2, 6, dtype=torch.float64)
    tokens = batch([1, 1], [True, False], [0, 0], z)
    sizes = []
    for margin in (0.0, 5.0, 20.0):
        old = torch.tensor([-1.0, -1.0 - margin], dtype=torch.float64)
        moved = statistics(
            tokens.token_id, old, old, trajectory=tokens.trajectory, success=tokens.success, group=tokens.group
        )
        sizes.append(float(contrast_advantage(moved, ContrastConfig()).abs().max()))
    assert sizes[0] == pytest.approx(2 * 0.5) and sizes[1] < 0.02 and sizes[2] < 1e-8
    assert math.isfinite(sizes[2])
