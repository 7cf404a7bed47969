"""Fusions that send episodes to one branch: SCOPE, SRPO, KDRL's mask."""

from __future__ import annotations

import math

import pytest
import torch
from made_rewarded import tokens

from agentdistill_fusions.kdrl import Kdrl, KdrlConfig
from agentdistill_fusions.scope import Scope, ScopeConfig
from agentdistill_fusions.srpo import Srpo, SrpoConfig

pytestmark = pytest.mark.oracle

GROUP = [0, 0, 0, 0, 1, 1, 2, 3]
SUCCESS = [True, True, False, False, True, True, False, True]


def batch(**more):
    turns = [[2, 1], [1], [3], [1, 1], [2], [1], [2], [1]]
    return tokens(turns, group=GROUP, success=SUCCESS, seed=2, **more)


def by_episode(weights, t) -> list[float]:
    """The weight of each episode; all its tokens have the same."""
    found = []
    for i in range(len(GROUP)):
        (value,) = set(weights[t.trajectory == i].tolist())
        found.append(value)
    return found


def mean(values, t, i) -> float:
    return float(values[t.trajectory == i].mean())


def test_scope_weights_by_hand():
    t = batch()
    got = Scope(ScopeConfig()).weights(t)
    kd, rl = by_episode(got["kd"], t), by_episode(got["rl"], t)
    won = [math.exp(-mean(t.old_logprob, t, i)) for i in (0, 1)]  # perplexity under the student
    lost = [math.exp(mean(t.teacher_logprob, t, i)) for i in (2, 3)]  # one over that under the teacher
    other = [math.exp(-mean(t.old_logprob, t, i)) for i in (4, 5)]
    assert rl == pytest.approx(
        [won[0] / sum(won), won[1] / sum(won), 0, 0, other[0] / sum(other), other[1] / sum(other), 0, 1]
    )
    assert kd == pytest.approx([0, 0, lost[0] / sum(lost), lost[1] / sum(lost), 0, 0, 1, 0])


@pytest.mark.parametrize("sign", ["paper", "released"])
def test_scope_sums(sign):
    t = batch()
    for scale, sums in (("sum", [1, 1, 1, 1, 1]), ("mean", [2, 2, 2, 1, 1])):
        got = Scope(ScopeConfig(student_sign=sign, scale=scale)).weights(t)
        both = torch.tensor(by_episode(got["kd"] + got["rl"], t))
        classes = [[0, 1], [2, 3], [4, 5], [6], [7]]
        assert [float(both[c].sum()) for c in classes] == pytest.approx(sums)


def test_scope_prefers_what_surprised_the_student_and_the_released_code_the_opposite():
    t = batch()
    perplexities = [-mean(t.old_logprob, t, i) for i in (0, 1)]
    for sign, prefers in (("paper", max), ("released", min)):
        rl = by_episode(Scope(ScopeConfig(student_sign=sign)).weights(t)["rl"], t)[:2]
        assert rl.index(max(rl)) == perplexities.index(prefers(perplexities))
    kd = by_episode(Scope(ScopeConfig()).weights(t)["kd"], t)[2:4]
    confidence = [mean(t.teacher_logprob, t, i) for i in (2, 3)]
    assert kd.index(max(kd)) == confidence.index(max(confidence))  # the teacher's side has the paper's sign in both


def test_scope_at_a_high_temperature_is_uniform():
    got = Scope(ScopeConfig(temperature=1e9, scale="mean")).weights(batch())
    assert torch.allclose(got["kd"] + got["rl"], torch.ones_like(got["kd"]))


def test_scope_has_no_teacher_term_where_all_won_and_each_token_is_in_one_branch():
    t = batch()
    got = Scope(ScopeConfig()).weights(t)
    assert (got["kd"][t.group == 1] == 0).all()
    assert ((got["kd"] > 0) ^ (got["rl"] > 0)).all()


def test_scope_survives_extreme_log_probabilities():
    t = tokens([[1], [1]], old=[-1e4, -1.0], teacher=[-1e4, -1.0], group=[0, 0], success=[True, True])
    got = Scope(ScopeConfig()).weights(t)
    assert got["rl"].tolist() == [1.0, 0.0]


def test_srpo():
    t = batch()
    lost = Srpo(SrpoConfig()).weights(t)
    assert by_episode(lost["kd"], t) == [0, 0, 1, 1, 0, 0, 1, 0]
    hopeless = Srpo(SrpoConfig(distil="hopeless")).weights(t)
    assert by_episode(hopeless["kd"], t) == [0, 0, 0, 0, 0, 0, 1, 0]
    for got in (lost, hopeless):
        assert torch.equal(got["kd"] + got["rl"], torch.ones_like(got["kd"]))


def test_kdrl_spares_won_episodes_if_asked():
    t = batch()
    assert Kdrl(KdrlConfig()).weights(t) is None
    got = Kdrl(KdrlConfig(spare_won=True)).weights(t)
    assert set(got) == {"kd"} and by_episode(got["kd"], t) == [0, 0, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("fusion", [Scope(ScopeConfig()), Srpo(SrpoConfig())])
def test_nothing(fusion):
    weights = fusion.weights(tokens([]))
    assert weights is None or all(len(w) == 0 for w in weights.values())
