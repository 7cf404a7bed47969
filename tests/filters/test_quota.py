"""Quotas: shares stay in bounds to within a turn, as much as possible is kept, the choice is always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_episodes import make_episode, random_scores

from agentdistill.errors import TrainingError
from agentdistill.learner.facts import task_groups
from agentdistill.records import LossRole, Task
from agentdistill.training.rewarded import ScoredBatch, filtered
from agentdistill_filters.bounds import tokens_within
from agentdistill_filters.quota import QuotaConfig, quota


def batch(domains: dict[str, int], *, members=(), step=0, roles=None) -> ScoredBatch:
    """Episodes of ten turns of three tokens; of each domain as many as said."""
    episodes = []
    for name, count in domains.items():
        for number in range(count):
            made = make_episode(None, ((2, 3),) * 10, seed=len(episodes), roles=roles)
            made.task = Task(env=name, split="train", key=str(number), type=f"type-{name}")
            episodes.append(made)
    scores = random_scores(episodes)
    for made, own in zip(episodes, scores, strict=True):
        for score in own:
            place = members.index(made.task.env) if members else -1
            score.source = np.where(score.valid, place, -1).astype(np.int16)
    return ScoredBatch(episodes, scores, None, task_groups(episodes), step, tuple(members))


def kept_tokens(made: ScoredBatch, config: QuotaConfig) -> dict[str, int]:
    found: dict[str, int] = {}
    for trajectory, keep in zip(made.trajectories, quota(made, config), strict=True):
        found[trajectory.task.env] = found.get(trajectory.task.env, 0) + 3 * int(keep.sum())
    return found


def test_a_cap_leaves_out_what_is_too_much_and_nothing_else():
    made = batch({"long": 8, "short": 2})
    kept = kept_tokens(made, QuotaConfig(by="env", at_most={"long": 0.5}))
    assert kept == {"long": 60, "short": 60}
    assert kept_tokens(made, QuotaConfig(by="env", at_least={"short": 0.4})) == {"long": 90, "short": 60}
    assert kept_tokens(made, QuotaConfig(by="type", at_most={"type-long": 0.9})) == {"long": 240, "short": 60}


def test_teachers_are_known_by_the_names_of_the_members():
    made = batch({"expert": 6, "model": 2}, members=["model", "expert"])
    assert kept_tokens(made, QuotaConfig(at_most={"expert": 0.25})) == {"expert": 18, "model": 60}
    turns, metrics = filtered({"quota": lambda b: quota(b, QuotaConfig(at_most={"expert": 0.25}))}, made)
    assert metrics["filter/quota"] == pytest.approx(1 - 26 / 80)
    assert sum(s.loss_role is LossRole.DISTILL for t in turns for s in t.steps) == 26


def test_the_choice_is_the_same_every_time_and_another_in_the_next_step():
    config = QuotaConfig(by="env", at_most={"long": 0.5})
    first, again, later = (batch({"long": 4, "short": 1}, step=s) for s in (3, 3, 4))
    masks = [np.concatenate(quota(made, config)) for made in (first, again, later)]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])
    early = masks[0][: 4 * 10].reshape(4, 10)
    assert early[:, :5].any() and early[:, 5:].any()  # not the first turns of every episode


def test_imitated_turns_and_turns_without_a_score():
    roles = [LossRole.IMITATE] * 5 + [LossRole.DISTILL] * 5
    made = batch({"long": 4, "short": 2}, roles=roles)
    made.scores[5][0].valid[:] = False  # the second short episode has no score
    keep = quota(made, QuotaConfig(by="env", at_most={"long": 0.5}))
    assert all(mask[:5].all() for mask in keep)
    assert sum(int(mask[5:].sum()) for mask in keep[:4]) == 5  # as many as the one scored short episode


@pytest.mark.parametrize("unmet", ["stop", "keep", "drop"])
def test_bounds_that_cannot_be_met(unmet):
    alone = batch({"long": 3})
    for bounds in ({"at_most": {"long": 0.5}}, {"at_least": {"short": 0.2}}):
        config = QuotaConfig(by="env", unmet=unmet, **bounds)
        if unmet == "stop":
            with pytest.raises(TrainingError, match=r"cannot meet its quotas.*long 90.*tasks_per_step"):
                quota(alone, config)
        else:
            assert kept_tokens(alone, config) == {"long": 90 if unmet == "keep" else 0}


def test_bad_options_and_no_scores():
    for options, words in (
        ({"at_least": {"a": 0.6, "b": 0.6}}, "more than 1"),
        ({"at_least": {"a": 0.6}, "at_most": {"a": 0.5}}, "larger than"),
        ({"at_most": {"a": 1.5}}, "less than 1"),
    ):
        with pytest.raises(ValueError, match=words):
            QuotaConfig(**options)
    made = batch({"a": 1})
    assert all(mask.all() for mask in quota(made, QuotaConfig()))
    blind = ScoredBatch(made.trajectories, None, None, made.group, 0)
    with pytest.raises(TrainingError, match="nothing was scored"):
        quota(blind, QuotaConfig(at_most={"a": 0.5}))


SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 1000), min_size=1)
BOUNDS = st.dictionaries(st.sampled_from("abcd"), st.floats(0.05, 0.95))


@pytest.mark.oracle
@settings(max_examples=300, deadline=None)
@given(SIZES, BOUNDS, BOUNDS)
def test_as_much_is_kept_as_the_bounds_allow(sizes, at_least, at_most):
    at_least = {n: min(v, at_most.get(n, 1.0)) / max(1.0, sum(at_least.values())) for n, v in at_least.items()}
    given_ = tokens_within(sizes, at_least, at_most)
    # The largest total that is possible, by trying every one.
    everything = sum(sizes.values())

    def possible(total: int) -> bool:
        low = {n: at_least.get(n, 0.0) * total for n in sizes}
        high = {n: min(sizes[n], at_most.get(n, 1.0) * total) for n in sizes}
        fits = all(low[n] <= high[n] + 1e-9 for n in sizes) and not set(at_least) - set(sizes)
        return fits and sum(low.values()) <= total + 1e-9 and sum(high.values()) >= total - 1e-9

    best = max((total for total in range(1, everything + 1) if possible(total)), default=0)
    if given_ is None:
        assert best == 0
        return
    kept = sum(given_.values())
    assert best - len(sizes) <= kept <= best + 1  # whole tokens of each domain, rounded down
    for name, tokens in given_.items():
        assert 0 <= tokens <= sizes[name]
        assert tokens <= at_most.get(name, 1.0) * (kept + len(sizes)) + 1e-6
        assert tokens >= at_least.get(name, 0.0) * kept - 1
