"""Step weights against loops over turns, and the identities their pages promise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from made_weights import make_steps, make_tokens, min_max, patient, per_turn, ragged, seeds, shapes, turns_of

from agentdistill.errors import PluginError
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.reduce import reduction_coefficients
from agentdistill.learner.statistics import step_statistics
from agentdistill_step_weights.atod import AtodConfig, atod
from agentdistill_step_weights.drop_stuck import DropStuckConfig, drop_stuck
from agentdistill_step_weights.iw_opd import IwOpdConfig, iw_opd
from agentdistill_step_weights.prune import PruneConfig, prune
from agentdistill_step_weights.sage import SageConfig, sage
from agentdistill_step_weights.sod import SodConfig, sod
from agentdistill_step_weights.turn_equal import TurnEqualConfig, alpha, turn_equal
from agentdistill_token_weights.iw_opd import IwOpdConfig as TokenIwOpdConfig
from agentdistill_token_weights.iw_opd import iw_opd as token_iw_opd

pytestmark = pytest.mark.oracle

ROW = ((3, 1, 4), (2,), (1, 1, 2, 6))


def same(weights, steps, expected, tolerance=2e-6):
    got = ragged(weights, steps)
    assert [len(row) for row in got] == [len(row) for row in expected]
    for a, b in zip(got, expected, strict=True):
        assert a == pytest.approx(b, abs=tolerance, rel=tolerance)


def at(step: int, total: int = 100) -> LearnerProgress:
    return LearnerProgress(step, total)


def with_turns(steps, **rows):
    """One trajectory with these turn statistics."""
    width = len(next(iter(rows.values())))
    mask = torch.ones(1, width, dtype=torch.bool)
    base = replace(
        steps, index=torch.arange(width)[None], mask=mask, tokens=mask.long(), valid=mask, repeated=~mask,
        annotations={},
        **{name: torch.ones(1, width) for name in ("abs_log_ratio", "log_ratio", "old_logprob", "teacher_logprob",
           "teacher_entropy", "teacher_confidence", "old_entropy", "overlap", "reference_log_ratio", "advantage")},
    )  # fmt: skip
    return replace(base, **{name: torch.as_tensor(values)[None] for name, values in rows.items()})


# --- SOD's relatives -------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.floats(1e-4, 1.0))
def test_og_opd_s_base_moderation_is_sod(shape, seed, epsilon):
    steps = make_steps(shape, seed)

    def naive(row, columns):
        nu = [math.log(epsilon + float(steps.abs_log_ratio[row, k])) for k in columns]
        return [1.0] + [min(1.2, math.exp(nu[0] - value)) for value in nu[1:]]

    same(sod(steps, SodConfig(epsilon=epsilon, delta=0.2)), steps, per_turn(steps, naive))


# --- ATOD ------------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds)
def test_atod_is_the_loop(shape, seed):
    steps = make_steps(shape, seed)

    def naive(row, columns):
        d = min_max([float(steps.abs_log_ratio[row, k]) for k in columns])
        h = min_max([-float(steps.old_logprob[row, k]) for k in columns])
        return [a + b - a * b for a, b in zip(d, h, strict=True)]

    same(atod(steps, AtodConfig()), steps, per_turn(steps, naive))


@patient
@given(shapes, seeds)
def test_atod_is_in_the_unit_interval_and_an_or(shape, seed):
    steps = make_steps(shape, seed)
    weights = ragged(atod(steps, AtodConfig()), steps)
    for row, values in enumerate(weights):
        columns = turns_of(steps, row)
        d = min_max([float(steps.abs_log_ratio[row, k]) for k in columns])
        h = min_max([-float(steps.old_logprob[row, k]) for k in columns])
        assert all(0 <= w <= 1 and w >= max(a, b) - 1e-6 for w, a, b in zip(values, d, h, strict=True))


def test_atod_flat_trajectories_and_single_turns_weigh_three_quarters():
    flat = with_turns(make_steps(ROW), abs_log_ratio=[0.3] * 4, old_logprob=[-1.0] * 4)
    assert atod(flat, AtodConfig()).tolist() == [[0.75] * 4]
    single = with_turns(make_steps(ROW), abs_log_ratio=[0.3], old_logprob=[-1.0])
    assert atod(single, AtodConfig()).tolist() == [[0.75]]
    half = with_turns(make_steps(ROW), abs_log_ratio=[0.1, 0.3, 0.2], old_logprob=[-1.0] * 3)
    assert atod(half, AtodConfig()).tolist()[0] == pytest.approx([0.5, 1.0, 0.75])
    assert atod(flat, AtodConfig(flat_value=0.0)).tolist() == [[0.0] * 4]


def test_atod_extremes():
    steps = with_turns(make_steps(ROW), abs_log_ratio=[0.0, 1.0, 0.0, 1.0], old_logprob=[0.0, 0.0, -2.0, -2.0])
    assert atod(steps, AtodConfig()).tolist() == [[0.0, 1.0, 1.0, 1.0]]


@patient
@given(st.lists(st.integers(0, 20), min_size=2, max_size=6), st.integers(1, 9), st.integers(0, 5))
def test_atod_does_not_care_for_scale_and_origin(values, scale, shift):
    drift = torch.tensor(values) / 8
    steps = with_turns(make_steps(ROW), abs_log_ratio=drift, old_logprob=-drift.flip(0))
    other = with_turns(make_steps(ROW), abs_log_ratio=scale * drift + shift, old_logprob=-drift.flip(0) - shift)
    assert torch.allclose(atod(steps, AtodConfig()), atod(other, AtodConfig()), atol=1e-6)


# --- TurnOPD's progressive normalisation -----------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.integers(0, 100), st.sampled_from(["episode", "batch"]))
def test_turn_equal_is_the_loop(shape, seed, step, scope):
    steps = make_steps(shape, seed)
    share = step / 100
    tokens, turns = sum(map(sum, shape)), sum(map(len, shape))

    def naive(row, columns):
        lengths = [int(steps.tokens[row, k]) for k in columns]
        n, t = (sum(lengths), len(lengths)) if scope == "episode" else (tokens, turns)
        q = [(1 - share) * length / n + share / t for length in lengths]
        return [weight * n / length for weight, length in zip(q, lengths, strict=True)]

    same(turn_equal(steps, TurnEqualConfig(scope=scope), at(step)), steps, per_turn(steps, naive))


@patient
@given(shapes, seeds, st.integers(0, 100))
def test_turn_equal_over_the_batch_is_the_core_s_blend(shape, seed, step):
    tokens = make_tokens(shape, seed)
    weights = turn_equal(step_statistics(tokens, len(shape)), TurnEqualConfig(scope="batch"), at(step))
    mean = reduction_coefficients(tokens.trajectory, tokens.turn, "token-mean", 0.0)
    blend = reduction_coefficients(tokens.trajectory, tokens.turn, "blend", step / 100)
    assert torch.allclose(mean * weights[tokens.trajectory, tokens.column], blend, atol=1e-7)


@patient
@given(shapes, seeds, st.integers(0, 100))
def test_turn_equal_keeps_every_episode_s_share(shape, seed, step):
    steps = make_steps(shape, seed)
    weights = turn_equal(steps, TurnEqualConfig(), at(step)).double()
    total = torch.where(steps.mask, weights * steps.tokens, 0.0).sum(1)
    assert total.tolist() == pytest.approx(steps.tokens.sum(1).tolist(), rel=1e-5)


def test_turn_equal_ends_of_the_schedule():
    steps = make_steps(ROW)
    assert ragged(turn_equal(steps, TurnEqualConfig(), at(0)), steps) == [[1.0] * len(row) for row in ROW]
    last = turn_equal(steps, TurnEqualConfig(), at(100)) * steps.tokens
    for row, turns in enumerate(ROW):
        assert last[row, : len(turns)].tolist() == pytest.approx([sum(turns) / len(turns)] * len(turns))
    config = TurnEqualConfig(start=0.2, end=0.6)
    assert [alpha(at(s), config) for s in (0, 20, 40, 60, 99)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [alpha(at(s), TurnEqualConfig()) for s in (0, 25, 100)] == pytest.approx([0, 0.25, 1])


def test_turn_equal_has_to_grow():
    with pytest.raises(ValueError, match="must be below end"):
        TurnEqualConfig(start=0.5, end=0.5)


# --- SAGE ------------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.sampled_from(["episode", "batch"]), st.booleans())
def test_sage_is_the_loop_and_preserves_the_sum(shape, seed, scope, confident):
    steps = make_steps(shape, seed)
    assume("judge" in steps.annotations)

    def raw(row, columns):
        verdicts = [float(steps.annotations["judge"][row, k]) for k in columns]
        trust = [float(steps.teacher_confidence[row, k]) if confident else 1.0 for k in columns]
        return [(1.0 if math.isnan(v) else v) * c for v, c in zip(verdicts, trust, strict=True)]

    values = per_turn(steps, raw)
    mass = [sum(v * n for v, n in zip(row, turns, strict=True)) for row, turns in zip(values, shape, strict=True)]
    whole = [sum(turns) for turns in shape]
    if scope == "batch":
        mass, whole = [sum(mass)] * len(mass), [sum(whole)] * len(whole)
    expected = [[v * n / m if m else 0.0 for v in row] for row, m, n in zip(values, mass, whole, strict=True)]
    weights = sage(steps, SageConfig(scope=scope, confidence=confident))
    same(weights, steps, expected, 2e-5)
    if all(mass):
        kept = torch.where(steps.mask, weights.double() * steps.tokens, 0.0).sum()
        assert float(kept) == pytest.approx(sum(map(sum, shape)), rel=1e-5)


def test_sage_verdicts():
    judge = torch.tensor([[0.0, 0.5, 1.0, torch.nan]])
    steps = replace(with_turns(make_steps(ROW), teacher_confidence=[0.8] * 4), annotations={"judge": judge})
    weights = sage(steps, SageConfig())
    assert weights.tolist()[0] == pytest.approx([0.0, 0.8, 1.6, 1.6])  # 2.5 of 4 are kept, so times 1.6
    half = replace(steps, teacher_confidence=steps.teacher_confidence / 2)
    assert torch.allclose(sage(half, SageConfig()), weights)
    assert sage(replace(steps, annotations={"judge": judge[:, :1].expand(1, 4)}), SageConfig()).tolist() == [[0.0] * 4]


def test_sage_without_verdicts_or_with_strange_ones():
    steps = with_turns(make_steps(ROW), teacher_confidence=[0.8, 0.8])
    with pytest.raises(PluginError, match="found no verdict"):
        sage(steps, SageConfig())
    with pytest.raises(PluginError, match=r"is 0\.5 or 3"):
        sage(replace(steps, annotations={"judge": torch.tensor([[0.5, 3.0]])}), SageConfig())


# --- Prune -----------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.floats(0.0, 0.6), st.floats(0.0, 1.0, width=32))
def test_prune_is_the_loop_never_rises_and_stays_in_range(shape, seed, penalty, threshold):
    steps = make_steps(shape, seed)

    def naive(row, columns):
        bad, weights = 0, []
        for k in columns:
            bad += float(steps.overlap[row, k]) < threshold
            weights.append(min(1.0, max(0.0, 1 - penalty * bad)) + 0.5)
        return weights

    weights = prune(steps, PruneConfig(penalty=penalty, threshold=threshold))
    same(weights, steps, per_turn(steps, naive))
    for row in ragged(weights, steps):
        assert row == sorted(row, reverse=True) and all(0.5 <= w <= 1.5 for w in row)


def test_prune_counts_and_does_not_take_unknown_for_agreement():
    steps = with_turns(make_steps(ROW), overlap=[0.9, 0.6, 0.8, 0.69, 0.7])
    assert prune(steps, PruneConfig()).tolist()[0] == pytest.approx([1.5, 1.4, 1.4, 1.3, 1.3])
    unknown = with_turns(make_steps(ROW), overlap=[0.9, torch.nan, 0.9])
    assert prune(unknown, PruneConfig()).isnan().tolist() == [[False, True, False]]


# --- IW --------------------------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.floats(0.0, 2.0))
def test_iw_opd_is_the_loop_and_the_token_weight_at_the_turn_s_first_token(shape, seed, gamma):
    steps, tokens = make_steps(shape, seed), make_tokens(shape, seed)

    def naive(row, columns):
        spent = [float(steps.abs_log_ratio[row, k]) * int(steps.tokens[row, k]) for k in columns]
        return [1 + gamma * (1 - sum(spent[:k]) / max(sum(spent), 1e-8)) for k in range(len(spent))]

    weights = iw_opd(steps, IwOpdConfig(gamma=gamma))
    same(weights, steps, per_turn(steps, naive))
    of_tokens = token_iw_opd(tokens, TokenIwOpdConfig(gamma=gamma, scope="episode"))[tokens.position == 0]
    assert weights[steps.mask].tolist() == pytest.approx(of_tokens.tolist(), rel=1e-5)
    for row in ragged(weights, steps):
        assert row[0] == pytest.approx(1 + gamma) and row == sorted(row, reverse=True) and row[-1] >= 1


def test_iw_opd_without_disagreement():
    steps = with_turns(make_steps(ROW), abs_log_ratio=[0.0] * 3)
    assert iw_opd(steps, IwOpdConfig()).tolist() == [[1.5] * 3]


# --- turns without progress ------------------------------------------------------------------------------------------


@patient
@given(shapes, seeds, st.sampled_from(["repeated-invalid", "invalid", "no-progress"]), st.integers(0, 3))
def test_drop_stuck_is_the_loop(shape, seed, on, keep):
    steps = make_steps(shape, seed)

    def naive(row, columns):
        run, weights = 0, []
        for k in columns:
            invalid, repeated = not steps.valid[row, k], bool(steps.repeated[row, k])
            stuck = {"repeated-invalid": invalid and repeated, "invalid": invalid, "no-progress": invalid or repeated}
            run = run + 1 if stuck[on] else 0
            weights.append(0.25 if run > keep else 1.0)
        return weights

    config = DropStuckConfig(on=on, keep=keep, weight=0.25, branches=("kd", "rl"))
    by_branch = drop_stuck(steps, config)
    assert set(by_branch) == {"kd", "rl"} and torch.equal(by_branch["kd"], by_branch["rl"])
    same(by_branch["kd"], steps, per_turn(steps, naive))


def test_drop_stuck_sees_the_turns_that_somebody_else_played():
    steps = with_turns(make_steps(ROW), valid=[False, False, False, True, False])
    config = DropStuckConfig(on="invalid", keep=1)
    assert drop_stuck(steps, config)["kd"].tolist() == [[1, 0, 0, 1, 1]]
    gap = replace(steps, index=torch.tensor([[0, 2, 3, 4, 5]]))
    assert drop_stuck(gap, config)["kd"].tolist() == [[1, 1, 0, 1, 1]]


def test_drop_stuck_by_default_drops_what_opw_drops():
    """The same refused command under the same answer; a repeated valid one is none of it."""
    repeated = [False, True, False, True, True]
    steps = with_turns(make_steps(ROW), valid=[False, False, True, True, False], repeated=repeated)
    weights = drop_stuck(steps, DropStuckConfig())
    assert list(weights) == ["kd"] and weights["kd"].tolist() == [[1, 0, 1, 1, 0]]
    assert drop_stuck(steps, DropStuckConfig(on="no-progress"))["kd"].tolist() == [[0, 0, 1, 0, 0]]


# --- all of them -----------------------------------------------------------------------------------------------------

WEIGHTS = {
    "atod": lambda steps: atod(steps, AtodConfig()),
    "drop-stuck": lambda steps: drop_stuck(steps, DropStuckConfig(on="no-progress"))["kd"],
    "iw-opd": lambda steps: iw_opd(steps, IwOpdConfig()),
    "prune": lambda steps: prune(steps, PruneConfig()),
    "sage": lambda steps: sage(steps, SageConfig(scope="episode")),
    "sod": lambda steps: sod(steps, SodConfig()),
    "turn-equal": lambda steps: turn_equal(steps, TurnEqualConfig(), at(50)),
}


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_trajectories_do_not_mix_and_weights_are_plain_numbers(name):
    """The weights of an episode are the same in a batch and alone, whatever the padding and the first turn's index."""
    both = make_steps(ROW, first_turn=2)
    together = WEIGHTS[name](both)
    assert together.shape == both.shape and together.dtype == torch.float32 and not together.requires_grad
    assert bool(torch.isfinite(together[both.mask]).all()) and bool((together[both.mask] >= 0).all())
    for row, turns in enumerate(ROW):
        narrow = slice(0, len(turns))
        alone = replace(
            both,
            **{
                name: getattr(both, name)[row : row + 1, narrow]
                for name in both.__dataclass_fields__
                if name not in {"group", "success", "reward", "annotations"}
            },
            annotations={"judge": both.annotations["judge"][row : row + 1, narrow]},
        )
        assert torch.allclose(WEIGHTS[name](alone)[0], together[row, narrow], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_an_episode_without_turns_is_padding(name):
    steps = make_steps(ROW)
    empty = replace(steps, mask=steps.mask & torch.tensor([True, False, True])[:, None])
    weights = WEIGHTS[name](replace(empty, tokens=torch.where(empty.mask, empty.tokens, 0)))
    assert bool(torch.isfinite(weights[empty.mask]).all())


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_a_batch_without_turns_has_no_weights(name):
    """Only imitated turns: there is a shape, and nothing in it."""
    tokens = make_tokens(ROW).select(torch.zeros(0, dtype=torch.int64), torch.device("cpu"))
    assert WEIGHTS[name](step_statistics(tokens, 3)).shape == (3, 1)
