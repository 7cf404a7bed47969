"""`adaptive`: each branch of its rule, both signals, where it settles, and that it comes back."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from scored import played, progress, reborn, task

from agentdistill.records import EpisodePlan, StopReason
from agentdistill_curricula.adaptive import Adaptive, AdaptiveConfig, change

CONFIG = AdaptiveConfig(kl=0.5, logprob=-1.0, slack=1.5)


@pytest.mark.parametrize(
    ("kl", "logprob", "move"),
    [
        (0.5, -1.0, 1),
        (0.0, -0.2, 1),
        (-0.1, -0.9, 1),
        (0.6, -0.5, 0),
        (0.1, -1.2, 0),
        (0.76, -0.5, -1),
        (0.1, -1.6, -1),  # both follow the same bad context: agreement alone is no reliability
        (2.0, -3.0, -1),
    ],
)
def test_the_rule_needs_both_signals(kl, logprob, move):
    assert change(CONFIG, kl, logprob) == move


def step(curriculum, logprob, *, count=8, limit=30, length=99, kl=0.1):
    """One batch under the curriculum's own plan; `logprob` of a turn is a function of its index."""
    plan = curriculum.plan(task(), progress(limit=limit))
    turns = min(length, plan.horizon or limit)
    stop = StopReason.HORIZON if plan.horizon is not None and turns == plan.horizon else StopReason.ENV_LIMIT
    values = [logprob(turn) for turn in range(turns)]
    # Episodes of one student whose own log-probability lies `kl` above the teacher's at the frontier.
    batch = [played(plan, values, stop=stop, own=values[-1] + kl) for _ in range(count)]
    curriculum.observe_episodes([t for t, _ in batch], [s for _, s in batch])
    return plan.horizon or limit


def test_depth_grows_by_a_turn_a_step_while_the_teacher_is_reliable():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=8))
    assert [step(curriculum, lambda turn: -0.3, limit=8) for _ in range(9)] == [2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert curriculum.plan(task(), progress(limit=8)).horizon is None


def test_it_settles_where_the_teacher_stops_being_reliable():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=8))
    depths = [step(curriculum, lambda turn: -0.3 if turn < 6 else -2.0) for _ in range(30)]
    assert set(depths[10:]) == {6, 7}  # it keeps looking one turn further, and comes back
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=8))
    depths = [step(curriculum, lambda turn: -0.3 if turn < 6 else -1.2) for _ in range(30)]
    assert set(depths[10:]) == {7}  # between the bounds it stays


def test_it_comes_back_when_the_student_worsens_and_never_below_its_start():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=3, turns=8))
    for _ in range(6):
        step(curriculum, lambda turn: -0.3)
    assert curriculum.depth == 9
    assert [step(curriculum, lambda turn: -2.0) for _ in range(9)] == [9, 8, 7, 6, 5, 4, 3, 3, 3]


def test_a_large_divergence_alone_shrinks_it():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=8))
    curriculum.depth = 5
    step(curriculum, lambda turn: -0.9, kl=0.9)
    assert curriculum.depth == 4


def test_it_waits_until_enough_turns_are_seen():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=20, patience=10))
    assert [step(curriculum, lambda turn: -0.3) for _ in range(5)] == [2, 2, 2, 3, 3]


def test_a_cut_nobody_reaches_gives_way():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=6, turns=8, patience=2))
    assert [step(curriculum, lambda turn: -5.0, length=3) for _ in range(5)] == [6, 6, 7, 7, 8]


def test_only_the_frontier_counts():
    narrow, wide = (Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=5, turns=8, width=w)) for w in (1, 5))
    for curriculum in (narrow, wide):
        step(curriculum, lambda turn: -0.3 if turn == 4 else -9.0, kl=0.0)
    assert (narrow.depth, wide.depth) == (6, 5)


def test_episodes_of_another_depth_or_another_curriculum_do_not_count():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=4, patience=1))
    stale = curriculum.plan(task(), progress())
    step(curriculum, lambda turn: -0.3)
    assert curriculum.depth == 3
    before = curriculum.state_dict()
    for plan in (stale, EpisodePlan()):
        trajectory, scores = played(plan, [-9.0] * 3)
        curriculum.observe_episodes([trajectory] * 8, [scores] * 8)
    curriculum.observe_episodes([trajectory], None)
    assert curriculum.state_dict() == before


def test_a_maximum_is_kept():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, maximum=4, turns=8))
    assert [step(curriculum, lambda turn: -0.3) for _ in range(5)] == [2, 3, 4, 4, 4]
    with pytest.raises(ValidationError, match="maximum = 1 is below start = 2"):
        AdaptiveConfig(maximum=1)


def test_a_resumed_controller_goes_on():
    curriculum = Adaptive(AdaptiveConfig(kl=0.5, logprob=-1.0, start=2, turns=20, patience=9))
    for _ in range(4):
        step(curriculum, lambda turn: -0.3)
    other = reborn(curriculum)
    assert other.state_dict() == curriculum.state_dict() and other.kl
    for _ in range(5):
        assert step(curriculum, lambda turn: -0.3) == step(other, lambda turn: -0.3)
        assert other.state_dict() == curriculum.state_dict()
