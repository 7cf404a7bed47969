"""Fusions in which the teacher only scales the rewards' signal: RLSD, AgentOPSD, TRIAL."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rewarded import tokens

from agentdistill.learner.progress import LearnerProgress
from agentdistill_fusions.agentopsd import AgentOpsd, AgentOpsdConfig
from agentdistill_fusions.rlsd import Rlsd, RlsdConfig
from agentdistill_fusions.trial import Trial, TrialConfig

pytestmark = pytest.mark.oracle

TURNS = [[2, 1, 3], [1], [2, 2]]
ADVANTAGE = [[0.5, -1.0, 0.0], [2.0], [-0.3, -0.3]]
FUSIONS = [
    Rlsd(RlsdConfig(epsilon=0.9)),
    Rlsd(RlsdConfig(strength=0.3)),
    AgentOpsd(AgentOpsdConfig(bound=0.99, strength=1.0)),
    AgentOpsd(AgentOpsdConfig(space="probability")),
    Trial(TrialConfig(low=0.01)),
]


def batch(**more):
    return tokens(TURNS, advantage=ADVANTAGE, success=[True, True, False], group=[0, 1, 0], **more)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-30, 30), min_size=11, max_size=11), st.sampled_from(FUSIONS))
def test_the_sign_is_the_rewards_always(gaps, fusion):
    t = batch(old=[-40.0] * 11, teacher=[-40.0 + g for g in gaps])
    factor = fusion.weights(t)["rl"]
    assert torch.isfinite(factor).all() and (factor > 0).all()
    assert torch.equal((factor * t.advantage).sign(), t.advantage.sign())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_teacher_s_own_signal_is_not_added_and_the_advantage_is_needed(fusion):
    scales = fusion.scales(LearnerProgress(3, 10))
    assert (scales.kd, scales.rl) == (0.0, 1.0) and fusion.needs == {"advantage"}
    assert set(fusion.weights(batch())) == {"rl"}


@pytest.mark.parametrize("fusion", [Rlsd(RlsdConfig(strength=0.0)), AgentOpsd(AgentOpsdConfig(strength=0.0))])
def test_without_strength_it_is_the_advantage_alone_bit_for_bit(fusion):
    t = batch(dtype=torch.float32)
    assert torch.equal(fusion.weights(t)["rl"] * t.advantage, t.advantage)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_teacher_that_agrees_changes_nothing(fusion):
    t = batch()
    t = batch(old=t.old_logprob, teacher=t.old_logprob)
    assert torch.equal(fusion.weights(t)["rl"], torch.ones_like(t.advantage))


def test_rlsd_by_hand():
    t = tokens([[4]], old=[-1.0] * 4, teacher=[-0.9, -1.1, -3.0, -1.0], advantage=[[2.0]])
    got = Rlsd(RlsdConfig()).weights(t)["rl"].tolist()
    assert got == pytest.approx([math.exp(0.1), math.exp(-0.1), 0.8, 1.0])
    t = tokens([[4]], old=[-1.0] * 4, teacher=[-0.9, -1.1, -3.0, -1.0], advantage=[[-2.0]])
    got = Rlsd(RlsdConfig(strength=0.5)).weights(t)["rl"].tolist()
    assert got == pytest.approx([0.5 + 0.5 * math.exp(-0.1), 0.5 + 0.5 * math.exp(0.1), 1.1, 1.0])


def test_agentopsd_by_hand():
    old = [-1.0] * 4
    t = tokens([[1, 2, 1]], old=old, teacher=[-0.5, -1.5, -1.0, -1.0], advantage=[[1.0, 1.0, -1.0]])
    evidence = [0.5, -0.5, 0.0]
    deviation = math.sqrt(sum(e * e for e in evidence) / 3)
    assert evidence[0] / deviation > 1
    got = AgentOpsd(AgentOpsdConfig()).weights(t)["rl"].tolist()
    assert got == pytest.approx([0.5 + 0.5 * 1.2, 0.5 + 0.5 * 0.8, 0.5 + 0.5 * 0.8, 1.0])
    got = AgentOpsd(AgentOpsdConfig(bound=0.9, strength=1.0)).weights(t)["rl"].tolist()
    assert got == pytest.approx([1.9, 0.1, 0.1, 1.0])
    mild = tokens([[1, 1, 1]], old=[-1.0] * 3, teacher=[-0.5, -1.0, -1.2], advantage=[[-1.0] * 3])
    e = [0.5, 0.0, -0.2]
    m = sum(e) / 3
    deviation = math.sqrt(sum((x - m) ** 2 for x in e) / 3)
    got = AgentOpsd(AgentOpsdConfig(bound=0.5, strength=1.0)).weights(mild)["rl"].tolist()
    assert got == pytest.approx([0.5, 1 + 0.5 * 0.1 / deviation, 1.5])  # the outer two are clipped


def test_agentopsd_in_probability_starts_from_the_task_s_success():
    """The same evidence counts more where the outcome is open; another task's episodes do not matter."""
    advantage = [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    gaps = [2.0, 2.0] * 3
    t = tokens([[1, 1]] * 3, old=[-5.0] * 6, teacher=[-5.0 + g for g in gaps], advantage=advantage,
               success=[True, False, True], group=[0, 0, 1])  # fmt: skip

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    values = [sigmoid(0.0), sigmoid(2.0), sigmoid(4.0)]  # group 0 has one win in two: a logit of 0
    gain = [values[1] - values[0], values[2] - values[1]]
    assert gain[0] > gain[1]
    got = AgentOpsd(AgentOpsdConfig(space="probability", bound=0.5, strength=1.0)).weights(t)["rl"]
    assert got.tolist() == pytest.approx([1.5, 0.5] * 3)  # two turns: z is 1 and -1
    fusion = AgentOpsd(AgentOpsdConfig(space="probability"))
    owner = torch.tensor([0, 0, 1, 1, 2, 2])
    exact = fusion._in_probability(torch.full((6,), 2.0, dtype=torch.float64), owner, t).tolist()
    start = math.log(1.5 / 0.5)  # one win in one, moved by half an episode
    third = [sigmoid(start + 2) - sigmoid(start), sigmoid(start + 4) - sigmoid(start + 2)]
    assert exact == pytest.approx([*gain, *gain, *third])


def test_one_turn_has_nothing_to_be_compared_with():
    t = tokens([[3], [1]], advantage=[[1.0], [-1.0]])
    assert AgentOpsd(AgentOpsdConfig()).weights(t)["rl"].tolist() == [1.0] * 4


def test_trial_has_the_token_weighted_mean_one_before_its_clip():
    t = batch()
    got = Trial(TrialConfig(low=0.0, high=1e9)).weights(t)["rl"]
    assert float(got.mean()) == pytest.approx(1.0)
    assert all(len(set(got[(t.trajectory == i) & (t.turn == k)].tolist())) == 1 for i, k in ((0, 0), (0, 2), (2, 1)))
    clipped = Trial(TrialConfig(low=0.9, high=1.1)).weights(t)["rl"]
    assert torch.equal(clipped, got.clamp(0.9, 1.1))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_nothing(fusion):
    weights = fusion.weights(tokens([], advantage=[]))
    assert weights is None or all(len(w) == 0 for w in weights.values())
