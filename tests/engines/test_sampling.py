from __future__ import annotations

import numpy as np
import pytest
import torch

from agentdistill.errors import ConfigError
from agentdistill_engines.sampling import AllowedTokens, choose, uniforms


def test_a_stream_depends_on_its_seed_only():
    alone = uniforms([7], 5)
    together = uniforms([1, 7, 2**70 + 3, -4], 9)
    assert (together[1, :5] == alone[0]).all()
    assert len(np.unique(together)) == together.size


def test_streams_are_uniform_and_uncorrelated_between_neighbouring_seeds():
    numbers = uniforms(range(2000), 50)
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 45  # chi-square, 19 degrees of freedom, p about 0.001
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.02


def test_sampling_follows_the_tempered_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    rows = 20000
    uniform = torch.from_numpy(uniforms(range(rows), 1)[:, 0])
    for temperature in (0.5, 1.0, 2.0):
        chosen, logprob = choose(logits.expand(rows, -1), uniform, temperature, 1.0)
        expected = torch.softmax(logits[0] / temperature, -1)
        observed = torch.bincount(chosen, minlength=4) / rows
        assert torch.allclose(observed, expected, atol=0.015)
        assert torch.allclose(logprob, torch.log_softmax(logits[0], -1)[chosen], atol=1e-6)


def test_greedy_takes_the_most_likely_token_whatever_the_number():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    for number in (0.0, 0.5, 0.999999):
        chosen, _ = choose(logits, torch.tensor([number], dtype=torch.float64), 0.0, 1.0)
        assert chosen.tolist() == [1]


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass():
    logits = torch.log(torch.tensor([[0.05, 0.5, 0.15, 0.3]]))
    uniform = torch.from_numpy(uniforms(range(5000), 1)[:, 0])
    chosen, logprob = choose(logits.expand(5000, -1), uniform, 1.0, 0.7)
    share = torch.bincount(chosen, minlength=4) / 5000
    assert share[0] == 0 and share[2] == 0
    assert torch.allclose(share[[1, 3]], torch.tensor([0.625, 0.375]), atol=0.02)
    # Log-probabilities stay those of the full distribution, not of the nucleus.
    assert torch.allclose(logprob.exp(), torch.tensor([0.05, 0.5, 0.15, 0.3])[chosen], atol=1e-6)
    tiny, _ = choose(logits, torch.tensor([0.99], dtype=torch.float64), 1.0, 1e-9)
    assert tiny.tolist() == [1]


def test_the_extreme_numbers_never_choose_an_impossible_token():
    logits = torch.full((2, 5), float("-inf"))
    logits[:, 1:3] = 0.0
    chosen, _ = choose(logits, torch.tensor([0.0, 1 - 2.0**-52], dtype=torch.float64), 1.0, 1.0)
    assert chosen.tolist() == [1, 2]


def test_constrained_sampling_reports_the_unconstrained_log_probability():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    allowed = torch.tensor([[False, False, True]])
    for temperature in (0.0, 1.0):
        chosen, logprob = choose(logits, torch.tensor([0.3], dtype=torch.float64), temperature, 1.0, allowed)
        assert chosen.tolist() == [2]
        assert torch.allclose(logprob, torch.log_softmax(logits, -1)[:, 2])


def test_allowed_tokens_walk_the_prefix_tree():
    walk = AllowedTokens([(5, 6, 2), (5, 7, 2), (5, 2)], (2,))
    assert walk.choices() == [5]
    walk.take(5)
    assert sorted(walk.choices()) == [2, 6, 7]
    walk.take(7)
    assert walk.choices() == [2]


@pytest.mark.parametrize("sequences", [(), ((5, 6),), ((),)])
def test_allowed_responses_that_cannot_end_are_refused(sequences):
    with pytest.raises(ConfigError):
        AllowedTokens(sequences, (2,))
