"""Uni-OPD: won episodes look better to the teacher than lost ones by the margin, exactly where they did not before."""

from __future__ import annotations

import pytest
import torch
from made_rewarded import tokens

from agentdistill_losses.opd import reverse_kl_advantage
from agentdistill_losses.pg_uniopd import UniOpdConfig, UniOpdLoss

pytestmark = pytest.mark.oracle

TURNS = [[2, 1], [1], [3], [1, 1], [2], [1], [2], [1]]
GROUP = [0, 0, 0, 0, 1, 1, 2, 3]
SUCCESS = [True, False, False, True, True, True, False, True]


def batch(seed: int = 0, dtype=torch.float64):
    return tokens(TURNS, group=GROUP, success=SUCCESS, seed=seed, dtype=dtype)


def returns(advantage, t) -> list[float]:
    return [float(advantage[t.trajectory == i].mean()) for i in range(len(TURNS))]


def margin(advantage, t, statistic: str) -> float:
    """Of the first task, the only one with both classes."""
    found = returns(advantage, t)
    won, lost = [found[i] for i in (0, 3)], [found[i] for i in (1, 2)]
    return min(won) - max(lost) if statistic == "worst" else sum(won) / 2 - sum(lost) / 2


@pytest.mark.parametrize("side", ["both", "up", "down"])
@pytest.mark.parametrize("statistic", ["mean", "worst"])
@pytest.mark.parametrize("seed", range(20))
def test_margin(side, statistic, seed):
    t = batch(seed)
    plain = reverse_kl_advantage(t)
    got = UniOpdLoss(UniOpdConfig(side=side, statistic=statistic)).advantage(t)
    before, after = (margin(a, t, statistic) for a in (plain, got))
    assert after == pytest.approx(max(before, 0.4), abs=1e-12)
    assert torch.equal(got[t.group != 0], plain[t.group != 0])  # one class, or one episode: untouched
    shift = got - plain
    missing = max(0.0, 0.4 - before)
    up = {"both": 0.5, "up": 1.0, "down": 0.0}[side] * missing
    first = t.group == 0
    torch.testing.assert_close(shift[first & t.success], torch.full_like(shift[first & t.success], up))
    torch.testing.assert_close(shift[first & ~t.success], torch.full_like(shift[first & ~t.success], up - missing))


def test_a_margin_that_is_met_changes_nothing_bit_for_bit():
    for seed in range(5):
        t = batch(seed, torch.float32)
        assert torch.equal(UniOpdLoss(UniOpdConfig(margin=-1e6)).advantage(t), reverse_kl_advantage(t))


def test_the_mean_is_over_tokens_of_an_episode_and_over_episodes_of_a_task():
    t = tokens([[3], [1], [1]], old=[-2.0] * 5, teacher=[-1.0, -1.0, -2.5, -3.0, -1.0],
               group=[7, 7, 7], success=[True, False, False])  # fmt: skip
    # Won: (1 + 1 - 0.5) / 3 = 0.5; lost: -1 and 1, mean 0. The margin is 0.5.
    assert torch.equal(UniOpdLoss(UniOpdConfig()).advantage(t), reverse_kl_advantage(t))
    got = UniOpdLoss(UniOpdConfig(margin=0.9)).advantage(t)
    assert got.tolist() == pytest.approx([1.2, 1.2, -0.3, -1.2, 0.8])


def test_groups_of_one_and_one_class_tasks():
    for success in ([True], [False]):
        t = tokens([[2]], success=success, group=[0])
        assert torch.equal(UniOpdLoss(UniOpdConfig(margin=5.0)).advantage(t), reverse_kl_advantage(t))
    for statistic in ("mean", "worst"):
        t = tokens([[2], [1]], success=[True, True], group=[0, 0])
        config = UniOpdConfig(margin=5.0, statistic=statistic)
        assert torch.equal(UniOpdLoss(config).advantage(t), reverse_kl_advantage(t))
