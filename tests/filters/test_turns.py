"""Filters of turns: no progress, cut responses."""

from __future__ import annotations

from made_rewarded import episode, scored

from agentdistill_filters.progress import ProgressConfig, progress
from agentdistill_filters.truncated import TruncatedConfig, truncated


def kept(made, **options) -> list[bool]:
    (mask,) = progress(scored([made]), ProgressConfig(**options))
    return mask.tolist()


def test_repeated_invalid_turns():
    made = episode([0] * 6, valid=[True, False, False, False, False, True])
    assert kept(made) == [True, True, True, False, False, True]
    assert kept(made, patience=0) == [True, False, False, False, False, True]
    assert kept(made, patience=9) == [True] * 6


def test_the_same_action_in_the_same_place():
    made = episode([0] * 5, observations=["a", "b", "b", "b", "b"], actions=["go", "look", "look", "look", "take"])
    assert kept(made, patience=1) == [True, True, True, False, True]
    moving = episode([0] * 3, observations=["a", "b", "c"], actions=["go", "go", "go"])
    assert kept(moving, patience=0) == [True] * 3


def test_reasons_add_up_to_one_run_and_progress_ends_it():
    made = episode(
        [0] * 6,
        observations=["a", "a", "a", "b", "b", "b"],
        actions=["x", "x", "y", "y", "y", "y"],
        valid=[True, True, False, True, True, True],
    )
    assert kept(made, patience=1) == [True, True, False, True, True, False]


def test_an_episode_of_one_turn_and_replayed_turns():
    assert kept(episode([0], valid=[False])) == [True]
    made = episode([0] * 3, observations=["a"] * 3, actions=["x"] * 3, replayed=2)
    assert kept(made, patience=1) == [True, True, False]


def test_truncated():
    made = episode([0] * 4)
    for step, finish in zip(made.steps, ["stop", "length", None, "length"], strict=True):
        if finish:
            step.info["finish"] = finish
    assert truncated(scored([made]), TruncatedConfig())[0].tolist() == [True, False, True, False]
    assert truncated(scored([made]), TruncatedConfig(whole_episode=True))[0].tolist() == [False] * 4
    fine = episode([0] * 2)
    assert truncated(scored([fine]), TruncatedConfig(whole_episode=True))[0].tolist() == [True] * 2
