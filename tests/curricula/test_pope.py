"""POPE: how many twins are guided, what a guided one replays, and that nothing of it is trained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scored import played, progress, reborn, task

from agentdistill.records import EpisodePlan
from agentdistill_curricula.draws import uniform
from agentdistill_curricula.pope import Pope, PopeConfig, is_guided

SOLUTION = tuple(f"action {i}" for i in range(10))


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.integers(1, 40))
def test_the_share_of_guided_twins_is_exact_up_to_rounding(share, offset, count):
    guided = sum(is_guided(share, offset, sample) for sample in range(count))
    assert abs(guided - share * count) < 1 + 1e-9


def test_a_single_episode_of_a_task_is_guided_as_often_as_asked():
    curriculum = Pope(PopeConfig(guided=0.3))
    plans = [curriculum.plan(task(n), progress(s, demonstration=SOLUTION)) for n in range(40) for s in range(50)]
    assert abs(sum(plan.note["guided"] for plan in plans) / 2000 - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5


def test_twins_are_the_same_task_with_and_without_a_prefix():
    curriculum = Pope(PopeConfig())
    for step in range(20):
        pair = [curriculum.plan(task(), progress(step, demonstration=SOLUTION, seed=s, sample=s)) for s in (0, 1)]
        guided, plain = sorted(pair, key=lambda plan: -plan.note["guided"])
        assert 1 <= len(guided.prefix) <= 5 and guided.prefix == SOLUTION[: len(guided.prefix)]
        assert plain == EpisodePlan(note={"guided": 0.0})
        assert guided.horizon is None and guided.control is None


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_a_prefix_always_leaves_the_student_a_turn(length, limit, seed):
    plan = Pope(PopeConfig(guided=1.0, shortest=0.9, longest=1.0)).plan(
        task(), progress(limit=limit, demonstration=SOLUTION * 4 if length > 10 else SOLUTION[:length], seed=seed)
    )
    assert len(plan.prefix) < min(length if length <= 10 else 40, limit) or not plan.prefix


def test_prefix_lengths_cover_the_range():
    curriculum = Pope(PopeConfig(guided=1.0, shortest=0.2, longest=0.6))
    found = {len(curriculum.plan(task(), progress(demonstration=SOLUTION, seed=s)).prefix) for s in range(200)}
    assert found == {3, 4, 5, 6}  # ceil of (2, 6]; 0.2 itself has no mass
    assert 0.0 <= uniform("prefix", 3) < 1.0


@pytest.mark.parametrize("demonstration", [None, ()])
def test_a_task_without_a_solution_is_played_plainly(demonstration):
    plan = Pope(PopeConfig(guided=1.0)).plan(task(), progress(demonstration=demonstration))
    assert plan == EpisodePlan(note={"guided": 0.0})


def test_a_task_that_was_solved_alone_is_guided_no_more():
    curriculum, stubborn = Pope(PopeConfig(guided=1.0)), Pope(PopeConfig(guided=1.0, spare_solved=False))
    helped = played(EpisodePlan(prefix=("a",)), [-1.0], success=True, number=1)[0]
    alone = played(EpisodePlan(), [-1.0], success=True, number=2)[0]
    failed = played(EpisodePlan(), [-1.0], number=3)[0]
    for each in (curriculum, stubborn):
        each.observe_episodes([helped, alone, failed], None)
    again = reborn(curriculum)
    for number, guided in ((1, 1.0), (2, 0.0), (3, 1.0)):
        assert curriculum.plan(task(number), progress(demonstration=SOLUTION)).note["guided"] == guided
        assert again.plan(task(number), progress(demonstration=SOLUTION)).note["guided"] == guided
        assert stubborn.plan(task(number), progress(demonstration=SOLUTION)).note["guided"] == 1.0


def test_bad_options_are_refused():
    with pytest.raises(ValidationError, match=r"longest = 0.1 is below shortest = 0.5"):
        PopeConfig(shortest=0.5, longest=0.1)
