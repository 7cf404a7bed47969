"""The divergence-ratio step weight: its identities and worked cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_episodes import make_episode, random_scores
from made_weights import patient

from agentdistill.learner.batch import assemble
from agentdistill.learner.statistics import StepStatistics, step_statistics
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill_step_weights.sod import SodConfig, sod
from agentdistill_step_weights.uniform import uniform

pytestmark = pytest.mark.oracle

divergences = st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=20)


def statistics(*rows, dtype=torch.float32) -> StepStatistics:
    width = max(len(r) for r in rows)
    d = torch.zeros(len(rows), width, dtype=dtype)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        d[i, : len(row)] = torch.tensor(row, dtype=dtype)
        mask[i, : len(row)] = True
    index = torch.arange(width).repeat(len(rows), 1)
    return StepStatistics(index, mask, mask.long(), d, d, -d, -d)


def weights(d, **options) -> list[float]:
    return sod(statistics(d, dtype=torch.float64), SodConfig(**options))[0].tolist()


@patient
@given(divergences, st.floats(0.0, 1.0))
def test_the_paper_s_product_telescopes(d, delta):
    eps, product, expected = 1e-6, 1.0, [1.0]
    for previous, current in itertools.pairwise(d):
        product *= (previous + eps) / (current + eps)  # the product itself is never capped
        expected.append(min(product, 1 + delta))
    exact = (np.array(d[:1]) + eps) / (np.array(d) + eps)
    assert np.minimum(exact, 1 + delta)[1:] == pytest.approx(expected[1:], abs=1e-9)
    assert weights(d, delta=delta) == pytest.approx(expected, rel=1e-6)


@patient
@given(divergences.filter(lambda d: len(d) > 3), st.randoms(use_true_random=False))
def test_path_does_not_matter(d, random):
    interior = d[1:-1]
    random.shuffle(interior)
    assert weights([d[0], *interior, d[-1]])[-1] == weights(d)[-1]


@patient
@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=10), st.floats(0.5, 100.0))
def test_scale_does_not_matter(d, c):
    assert weights([c * x for x in d], epsilon=1e-12) == pytest.approx(weights(d, epsilon=1e-12), rel=1e-5)


def test_uniform_divergence_is_weight_one():
    assert weights([0.37] * 6) == [1.0] * 6


def test_rising_divergence_is_falling_weight_and_recovery_restores_it():
    falling = weights([0.2, 0.3, 0.5, 0.9])
    assert falling == sorted(falling, reverse=True) and falling[1] < 1
    assert weights([0.2, 2.0, 0.2])[2] == 1.0


def test_cap():
    assert weights([1.2, 0.5, 0.1]) == pytest.approx([1.0, 1.2, 1.2])
    assert weights([1.2, 0.99])[1] == pytest.approx(1.2)  # d_1 / d_2 = 1.212
    assert weights([1.2, 0.5, 0.1], delta=0.0) == [1.0, 1.0, 1.0]
    assert weights([1.2, 0.5, 0.1], delta=1e9)[2] == pytest.approx(12.0, rel=1e-4)


def test_worked_case_of_the_paper():
    """A failing tool call takes the divergence from .218 to 1.284."""
    assert weights([0.218, 1.284])[1] == pytest.approx(0.1698, abs=5e-5)


def test_single_step_is_plain_distillation():
    assert weights([0.0]) == [1.0] and weights([3.0]) == [1.0]


def test_first_step_without_divergence_switches_the_rest_off_unless_floored():
    assert weights([0.0, 0.5])[1] < 1e-5
    assert weights([0.0, 0.5], first_floor=0.1)[1] == pytest.approx(0.2, rel=1e-4)
    assert weights([0.3, 0.5], first_floor=0.1) == weights([0.3, 0.5])
    assert weights([0.0, 0.5], first_floor=0.1)[0] == 1.0


def test_trajectories_do_not_mix_and_padding_is_finite():
    both = sod(statistics([0.2, 0.4, 0.8], [1.0, 0.5]), SodConfig())
    assert both[0].tolist() == pytest.approx(weights([0.2, 0.4, 0.8]), rel=1e-5)
    assert both[1, :2].tolist() == pytest.approx(weights([1.0, 0.5]), rel=1e-5)
    assert bool(torch.isfinite(both).all())


def test_weights_carry_no_gradient():
    assert not sod(statistics([0.2, 0.4]), SodConfig()).requires_grad


def test_from_real_tokens_the_divergence_is_the_mean_absolute_log_ratio():
    episode = make_episode(turns=[(4, 2), (2, 3)], replayed=2)
    scores = random_scores([episode])
    row, opinion = episode.rows[0], scores[0][0]
    d = [
        float(np.abs(row.old_logprob[at] - opinion.sampled_logprob[at]).mean())
        for at in (np.flatnonzero(row.step_of_token == k) for k in (2, 3))
    ]
    steps = step_statistics(assemble([episode], scores).tokens, 1)
    assert sod(steps, SodConfig())[0].tolist() == pytest.approx(weights(d), rel=1e-4)


def test_uniform():
    assert uniform(statistics([0.2, 0.4], [1.0]), PluginConfig()).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_the_registry_finds_and_binds_them():
    registry = PluginRegistry.load(third_party=False)
    bound = registry.function("step-weight", {"type": "sod", "delta": 0.0})
    assert bound(statistics([1.2, 0.5])).tolist() == [[1.0, 1.0]]
    assert registry.function("step-weight", {"type": "uniform"})(statistics([1.0])).tolist() == [[1.0]]
    assert {"sod", "uniform"} <= set(registry.names("step-weight"))
