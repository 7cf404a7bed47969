"""Token weights against loops over tokens, and the identities their pages promise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_weights import best, gap, make_tokens, min_max, patient, responses, seeds, shapes

from agentdistill.learner.statistics import TokenRole, TokenStatistics
from agentdistill_token_weights.action_only import ActionOnlyConfig, action_only
from agentdistill_token_weights.cord import CordConfig, cord
from agentdistill_token_weights.iw_opd import IwOpdConfig, iw_opd
from agentdistill_token_weights.prune import PruneConfig, prune
from agentdistill_token_weights.role_weights import RoleWeightsConfig, role_weights
from agentdistill_token_weights.special_mask import SpecialMaskConfig, special_mask
from agentdistill_token_weights.teacher_confidence import TeacherConfidenceConfig, teacher_confidence
from agentdistill_token_weights.tip import TipConfig, tip
from agentdistill_token_weights.tsd_kd import TsdKdConfig, tsd_kd

pytestmark = pytest.mark.oracle

SHAPE = ((3, 1, 4), (2,), (1, 1, 2, 6))
scopes = st.sampled_from(["response", "episode", "batch"])


def one_response(**columns) -> TokenStatistics:
    """One response whose tokens have these statistics."""
    length = len(next(iter(columns.values())))
    return replace(make_tokens([[length]]), **{name: torch.as_tensor(values) for name, values in columns.items()})


def disagreement(values) -> TokenStatistics:
    """One response with these |log pi_old - log pi_T|."""
    size = torch.as_tensor(values, dtype=torch.float32)
    return one_response(old_logprob=torch.zeros(len(size)), teacher_logprob=-size)


# --- CORD ------------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.integers(1, 4), st.floats(1.0, 3.0), st.floats(1.0, 3.0))
def test_cord_is_the_loop(shape, seed, top_k, alpha, beta):
    tokens = make_tokens(shape, seed)
    expected = [0.0] * len(tokens)
    for run in responses(tokens):
        large = best([gap(tokens, i) for i in run], top_k)
        for t, i in enumerate(run):
            position = beta - (beta - 1) * t / (len(run) - 1) if len(run) > 1 else beta
            expected[i] = (alpha if t in large else 1.0) * position
    weights = cord(tokens, CordConfig(alpha=alpha, beta=beta, top_k=top_k))
    assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    assert all(1 - 1e-6 <= w <= alpha * beta + 1e-5 for w in weights.tolist())


def test_cord_ends_and_one_token():
    flat = cord(disagreement([0.5] * 5), CordConfig(alpha=1.0))
    assert flat.tolist() == [2.0, 1.75, 1.5, 1.25, 1.0]
    assert cord(disagreement([0.5]), CordConfig()).tolist() == [4.0]
    ties = cord(disagreement([0.1, 0.9, 0.5, 0.5, 0.5]), CordConfig(beta=1.0, top_k=2))
    assert ties.tolist() == [1.0, 2.0, 2.0, 1.0, 1.0]


# --- IW-OPD ----------------------------------------------------------------------------------------------------------


def trl_weights(advantages: list[list[float]], gamma: float, epsilon: float) -> list[list[float]]:
    """What `IWOPDTrainer` computes: rows padded with masked tokens of advantage 0."""
    width = max(map(len, advantages))
    size = torch.tensor([row + [0.0] * (width - len(row)) for row in advantages], dtype=torch.float64).abs()
    before = size.cumsum(dim=1) - size
    weights = 1.0 + gamma * (1.0 - before / size.sum(dim=1, keepdim=True).clamp_min(epsilon))
    return [row[: len(given)].tolist() for row, given in zip(weights, advantages, strict=True)]


@patient
@given(shapes, seeds, st.floats(0.0, 2.0), st.sampled_from(["response", "episode"]))
def test_iw_opd_is_the_loop_and_trl_s_formula(shape, seed, gamma, scope):
    tokens = make_tokens(shape, seed)
    runs = responses(tokens, scope)
    expected, rows = {}, []
    for run in runs:
        sizes = [gap(tokens, i) for i in run]
        rows.append(sizes)
        for t, i in enumerate(run):
            expected[i] = 1 + gamma * (1 - sum(sizes[:t]) / max(sum(sizes), 1e-8))
    weights = iw_opd(tokens, IwOpdConfig(gamma=gamma, scope=scope))
    assert weights.tolist() == pytest.approx([expected[i] for i in range(len(tokens))], rel=1e-6)
    for run, reference in zip(runs, trl_weights(rows, gamma, 1e-8), strict=True):
        assert weights[run].tolist() == pytest.approx(reference, rel=1e-6)
        assert float(weights[run[0]]) == pytest.approx(1 + gamma, rel=1e-7)
        assert weights[run].tolist() == sorted(weights[run].tolist(), reverse=True) and float(weights[run[-1]]) >= 1


def test_iw_opd_without_disagreement_and_without_gamma():
    assert iw_opd(disagreement([0.0] * 4), IwOpdConfig()).tolist() == [1.5] * 4
    assert iw_opd(make_tokens(SHAPE), IwOpdConfig(gamma=0.0)).tolist() == [1.0] * 20
    assert iw_opd(disagreement([1.0, 1.0, 2.0]), IwOpdConfig()).tolist() == [1.5, 1.375, 1.25]
    # A quiet response after a loud one is not disturbed by it.
    tokens = make_tokens([[2, 2]])
    loud = replace(tokens, old_logprob=torch.zeros(4), teacher_logprob=-torch.tensor([1e6, 1e6, 0.0, 0.0]))
    assert iw_opd(loud, IwOpdConfig()).tolist() == [1.5, 1.25, 1.5, 1.5]


@patient
@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 100))
def test_iw_opd_does_not_care_for_scale(sizes, scale):
    small, large = disagreement(torch.tensor(sizes) / 16), disagreement(torch.tensor(sizes) * scale)
    assert torch.allclose(iw_opd(small, IwOpdConfig()), iw_opd(large, IwOpdConfig()), atol=1e-6)


# --- TIP -------------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, scopes, st.floats(0.05, 1.0), st.floats(0.3, 1.0))
def test_tip_is_the_loop_and_keeps_the_share(shape, seed, scope, share, clip):
    tokens = make_tokens(shape, seed)
    entropies = sorted(tokens.old_entropy.tolist())
    top = entropies[max(0, round(clip * len(entropies)) - 1)]
    expected = [0.0] * len(tokens)
    for run in responses(tokens, scope):
        h = min_max([min(float(tokens.old_entropy[i]), top) for i in run])
        d = min_max([gap(tokens, i) for i in run])
        scores = [1 - (1 - a) * (1 - b) for a, b in zip(h, d, strict=True)]
        count = math.ceil(share * len(run))
        for t in best(scores, count):
            expected[run[t]] = 1.0
    weights = tip(tokens, TipConfig(scope=scope, share=share, clip=clip))
    assert weights.tolist() == expected
    kept = [math.ceil(share * len(run)) for run in responses(tokens, scope)]
    assert float(weights.sum()) == sum(kept) >= 1


def test_tip_keeps_both_regions_of_the_paper():
    """Unsure tokens, and sure ones that are wrong; what is sure and right goes."""
    tokens = replace(disagreement([0.0, 2.0, 0.0, 0.1]), old_entropy=torch.tensor([2.0, 0.0, 0.0, 0.1]))
    assert tip(tokens, TipConfig(clip=1.0)).tolist() == [1, 1, 0, 0]
    assert tip(tokens, TipConfig(share=0.25, clip=1.0)).tolist() == [1, 0, 0, 0]  # a tie, to the earlier one
    flat = replace(disagreement([0.5] * 3), old_entropy=torch.ones(3))
    assert tip(flat, TipConfig()).tolist() == [1, 1, 0]
    assert tip(make_tokens(SHAPE), TipConfig(share=1.0)).tolist() == [1.0] * 20


@patient
@given(shapes, seeds, st.integers(0, 30))
def test_tip_is_monotone_in_the_divergence(shape, seed, which):
    """A kept token stays kept when its own divergence grows (below the largest one, which fixes the scale)."""
    tokens = make_tokens(shape, seed)
    i = which % len(tokens)
    largest = max(gap(tokens, j) for j in range(len(tokens)))
    if float(tip(tokens, TipConfig())[i]) == 0 or gap(tokens, i) in (largest, min(map(float, tokens.log_ratio.abs()))):
        return
    raised = tokens.teacher_logprob.clone()
    raised[i] = tokens.old_logprob[i] - (gap(tokens, i) + largest) / 2
    assert float(tip(replace(tokens, teacher_logprob=raised), TipConfig())[i]) == 1


def test_tip_does_not_take_unknown_for_anything():
    assert bool(tip(replace(make_tokens(SHAPE), old_entropy=torch.full((20,), torch.nan)), TipConfig()).isnan().all())


# --- Prune -----------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.floats(0.0, 0.6), st.floats(0.0, 1.0, width=32), st.sampled_from(["response", "episode"]))
def test_prune_is_the_loop_never_rises_and_stays_in_range(shape, seed, penalty, threshold, scope):
    tokens = make_tokens(shape, seed)
    expected = [0.0] * len(tokens)
    for run in responses(tokens, scope):
        bad = 0
        for i in run:
            bad += float(tokens.overlap[i]) < threshold
            expected[i] = min(1.0, max(0.0, 1 - penalty * bad)) + 0.5
    weights = prune(tokens, PruneConfig(penalty=penalty, threshold=threshold, scope=scope))
    assert weights.tolist() == pytest.approx(expected, abs=1e-6)
    for run in responses(tokens, scope):
        row = weights[run].tolist()
        assert row == sorted(row, reverse=True) and all(0.5 <= w <= 1.5 for w in row)


def test_prune_counts_and_does_not_take_unknown_for_agreement():
    tokens = one_response(overlap=[0.9, 0.6, 0.8, 0.69, 0.7])
    assert prune(tokens, PruneConfig()).tolist() == pytest.approx([1.5, 1.49, 1.49, 1.48, 1.48])
    unknown = one_response(overlap=[0.9, torch.nan, 0.9])
    assert prune(unknown, PruneConfig()).isnan().tolist() == [False, True, False]


# --- TSD-KD ----------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds)
def test_tsd_kd_is_the_loop_and_complementary(shape, seed):
    tokens = make_tokens(shape, seed)
    pairs = list(zip(tokens.old_entropy.tolist(), tokens.teacher_entropy.tolist(), strict=True))
    weights = tsd_kd(tokens, TsdKdConfig())
    assert weights.tolist() == pytest.approx([1 / (1 + math.exp(t - s)) for s, t in pairs], rel=1e-5)
    swapped = replace(tokens, old_entropy=tokens.teacher_entropy, teacher_entropy=tokens.old_entropy)
    assert torch.allclose(weights + tsd_kd(swapped, TsdKdConfig()), torch.ones(len(tokens)))


def test_tsd_kd_equal_entropies_and_order():
    equal = one_response(old_entropy=[0.0, 1.0, 3.0], teacher_entropy=[0.0, 1.0, 3.0])
    assert tsd_kd(equal, TsdKdConfig()).tolist() == [0.5] * 3
    rising = one_response(old_entropy=[0.0, 1.0, 2.0, 3.0], teacher_entropy=[1.0] * 4)
    assert tsd_kd(rising, TsdKdConfig()).tolist() == sorted(tsd_kd(rising, TsdKdConfig()).tolist())
    falling = one_response(old_entropy=[1.0] * 3, teacher_entropy=[0.0, 1.0, 2.0])
    assert tsd_kd(falling, TsdKdConfig()).tolist() == sorted(tsd_kd(falling, TsdKdConfig()).tolist(), reverse=True)
    assert tsd_kd(rising, TsdKdConfig(scale=0.0)).tolist() == [0.5] * 4


# --- the teacher's confidence ----------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.floats(0.0, 4.0))
def test_teacher_confidence_is_the_loop(shape, seed, power):
    tokens = make_tokens(shape, seed)
    weights = teacher_confidence(tokens, TeacherConfidenceConfig(power=power))
    assert weights.tolist() == pytest.approx([c**power for c in tokens.teacher_confidence.tolist()], rel=1e-5)


def test_teacher_confidence_powers():
    tokens = make_tokens(SHAPE)
    one, two, three = (teacher_confidence(tokens, TeacherConfidenceConfig(power=p)) for p in (1, 2, 3))
    assert torch.allclose(one * two, three) and torch.equal(one, tokens.teacher_confidence)
    unknown = replace(tokens, teacher_confidence=torch.full((20,), torch.nan))
    assert bool(teacher_confidence(unknown, TeacherConfidenceConfig(power=0.0)).isnan().all())


# --- roles -----------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds)
def test_roles_are_the_loop(shape, seed):
    tokens = make_tokens(shape, seed)
    roles = [TokenRole(role) for role in tokens.role.tolist()]
    weights = role_weights(tokens, RoleWeightsConfig(text=0.25, action=2.0, special=0.5, branches=("kd", "rl")))
    table = {TokenRole.TEXT: 0.25, TokenRole.ACTION: 2.0, TokenRole.SPECIAL: 0.5}
    assert weights["kd"].tolist() == weights["rl"].tolist() == [table[role] for role in roles]
    actions = action_only(tokens, ActionOnlyConfig())["kd"]
    assert actions.tolist() == [float(role is TokenRole.ACTION) for role in roles]
    ends = action_only(tokens, ActionOnlyConfig(special=True, branches=("rl",)))
    assert list(ends) == ["rl"] and ends["rl"].tolist() == [float(role is not TokenRole.TEXT) for role in roles]
    plain = special_mask(tokens, SpecialMaskConfig())
    assert plain.tolist() == [float(role is not TokenRole.SPECIAL) for role in roles]
    also = special_mask(tokens, SpecialMaskConfig(weight=0.5, also=(3, 7)))
    ids = tokens.token_id.tolist()
    marked = [role is TokenRole.SPECIAL or i in (3, 7) for role, i in zip(roles, ids, strict=True)]
    assert also.tolist() == [0.5 if m else 1.0 for m in marked]


def test_the_special_cases_are_role_weights():
    tokens = make_tokens(SHAPE)
    by_role = role_weights(tokens, RoleWeightsConfig(text=0, special=0))["kd"]
    assert torch.equal(action_only(tokens, ActionOnlyConfig())["kd"], by_role)
    by_role = role_weights(tokens, RoleWeightsConfig(special=0))["kd"]
    assert torch.equal(special_mask(tokens, SpecialMaskConfig()), by_role)


def test_role_weights_that_train_nothing_are_refused():
    with pytest.raises(ValueError, match="no token would be trained"):
        RoleWeightsConfig(text=0, action=0, special=0)
    with pytest.raises(ValueError):
        RoleWeightsConfig(branches=())


# --- all of them -----------------------------------------------------------------------------------------------------

WEIGHTS = {
    "action-only": lambda tokens: action_only(tokens, ActionOnlyConfig())["kd"],
    "cord": lambda tokens: cord(tokens, CordConfig(top_k=2)),
    "iw-opd": lambda tokens: iw_opd(tokens, IwOpdConfig()),
    "prune": lambda tokens: prune(tokens, PruneConfig(penalty=0.1)),
    "role-weights": lambda tokens: role_weights(tokens, RoleWeightsConfig())["kd"],
    "special-mask": lambda tokens: special_mask(tokens, SpecialMaskConfig()),
    "teacher-confidence": lambda tokens: teacher_confidence(tokens, TeacherConfidenceConfig()),
    "tip": lambda tokens: tip(tokens, TipConfig(scope="response", clip=1.0)),
    "tsd-kd": lambda tokens: tsd_kd(tokens, TsdKdConfig()),
}


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_responses_do_not_mix_and_weights_are_plain_numbers(name):
    """The weights of a response are the same in a batch and alone."""
    tokens = make_tokens(SHAPE)
    together = WEIGHTS[name](tokens)
    assert together.shape == (20,) and together.dtype == torch.float32 and not together.requires_grad
    assert bool(torch.isfinite(together).all()) and bool((together >= 0).all())
    for run in responses(tokens):
        alone = WEIGHTS[name](tokens.select(torch.tensor(run), torch.device("cpu")))
        assert torch.allclose(alone, together[run], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_an_empty_batch_has_no_weights(name):
    empty = make_tokens(SHAPE).select(torch.zeros(0, dtype=torch.int64), torch.device("cpu"))
    assert WEIGHTS[name](empty).shape == (0,)
