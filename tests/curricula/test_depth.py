"""The temporal curricula: schedule, edge cases, and their reach to ordinary episodes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_episodes import make_task
from pydantic import ValidationError

from agentdistill.plugins import PluginConfig
from agentdistill.records import Actor, EpisodePlan
from agentdistill.training.curriculum import Progress
from agentdistill_curricula.depth import BackToFront, DepthConfig, FrontToBack, depth
from agentdistill_curricula.full import Full

TASK = make_task()
MAX = 30


def progress(step: int, demonstration=None, max_steps: int = MAX) -> Progress:
    return Progress(step, 250, max_steps, lambda task: demonstration)


def actions(length: int) -> tuple[str, ...]:
    return tuple(f"action {i}" for i in range(length))


@given(st.integers(1, 5), st.integers(1, 8), st.integers(5, 40))
def test_schedule(start, every, maximum):
    ks = [depth(n, start, every, maximum) for n in range(400)]
    assert ks[0] == start and ks[every - 1] == start
    assert ks[every] == min(start + 1, maximum)
    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(ks))
    assert ks[-1] == maximum
    assert ks.index(maximum) == (maximum - start) * every


def test_step_numbering():
    """The first batch is 0 here; the released code counts from 1, one batch earlier at every change."""
    ours = FrontToBack(DepthConfig(every=2))
    theirs = FrontToBack(DepthConfig(every=2, first=1))
    assert [ours.plan(TASK, progress(n)).horizon for n in range(6)] == [1, 1, 2, 2, 3, 3]
    assert [theirs.plan(TASK, progress(n)).horizon for n in range(6)] == [1, 2, 2, 3, 3, 4]


def test_front_to_back_ends_as_an_ordinary_episode():
    curriculum = FrontToBack(DepthConfig(start=1, every=4))
    horizons = [curriculum.plan(TASK, progress(n)).horizon for n in range(200)]
    assert horizons[115] == 29 and horizons[116] is None and set(horizons[116:]) == {None}
    plan, plain = curriculum.plan(TASK, progress(150)), Full(PluginConfig()).plan(TASK, progress(150))
    assert (plan.prefix, plan.horizon) == (plain.prefix, plain.horizon) == ((), None)
    assert plan.note == {"depth": 30.0}


def test_front_to_back_can_stop_deepening():
    curriculum = FrontToBack(DepthConfig(start=2, every=1, maximum=5))
    assert [curriculum.plan(TASK, progress(n)).horizon for n in (0, 1, 3, 100)] == [2, 3, 5, 5]


def test_depth_never_exceeds_a_short_step_limit():
    curriculum = FrontToBack(DepthConfig(start=5))
    assert curriculum.plan(TASK, progress(0, max_steps=3)).horizon is None


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 4))
def test_back_to_front_shares_the_demonstration(length, start, every):
    demo = actions(length)
    curriculum = BackToFront(DepthConfig(start=start, every=every))
    prefixes = []
    for n in range(150):
        plan = curriculum.plan(TASK, progress(n, demo))
        k = min(depth(n, start, every, MAX), length)
        assert len(plan.prefix) + k == length
        assert plan.prefix == demo[: len(plan.prefix)]
        assert plan.horizon is None  # the student may use all steps that are left
        assert plan.prefix_actor is Actor.EXPERT
        prefixes.append(len(plan.prefix))
    assert prefixes == sorted(prefixes, reverse=True) and prefixes[-1] == 0


def test_a_demonstration_of_one_action_leaves_everything_to_the_student():
    curriculum = BackToFront(DepthConfig())
    assert all(curriculum.plan(TASK, progress(n, actions(1))).prefix == () for n in range(50))


@pytest.mark.parametrize("demo", [None, ()])
def test_a_task_without_demonstration_is_played_from_the_start(demo):
    plan = BackToFront(DepthConfig()).plan(TASK, progress(0, demo))
    assert (plan.prefix, plan.horizon) == ((), None)
    assert plan.note["demonstration"] == 0.0


def test_a_demonstration_longer_than_the_limit_leaves_the_student_a_turn():
    curriculum = BackToFront(DepthConfig())
    assert len(curriculum.plan(TASK, progress(0, actions(50), max_steps=10)).prefix) == 9
    assert curriculum.plan(TASK, progress(10**6, actions(50), max_steps=10)).prefix == ()


def test_back_to_front_ends_as_an_ordinary_episode():
    plan = BackToFront(DepthConfig()).plan(TASK, progress(10**6, actions(12)))
    assert (plan.prefix, plan.horizon) == (EpisodePlan().prefix, EpisodePlan().horizon)


def test_needs_and_state():
    assert BackToFront(DepthConfig()).needs == {"demonstrations"}
    for curriculum in (FrontToBack(DepthConfig()), BackToFront(DepthConfig()), Full(PluginConfig())):
        curriculum.observe({"loss": 1.0})
        curriculum.load_state_dict(curriculum.state_dict())
    assert FrontToBack(DepthConfig()).needs == Full(PluginConfig()).needs == frozenset()


@pytest.mark.parametrize("bad", [{"start": 0}, {"every": 0}, {"start": 5, "maximum": 4}, {"evry": 2}])
def test_bad_options_are_refused(bad):
    with pytest.raises(ValidationError):
        DepthConfig(**bad)
