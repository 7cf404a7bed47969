"""Goals, dialects, and the upgrade of old games in memory."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdistill.errors import DataError
from agentdistill_alfworld.data import disk_split
from agentdistill_alfworld.dialect import GameText, shipped, to_move, to_put, upgrade, with_goal_blank


def grammar_with(goal: str) -> str:
    _, grammar = shipped()
    return grammar.replace("Your task is to: UNKNOWN GOAL.", json.dumps(f"Your task is to: {goal}.")[1:-1])


def test_every_old_game_is_recognised_and_upgraded(real_data):
    domain, grammar = shipped()
    for file in disk_split("valid_seen").games:
        old = file.text()
        new = upgrade(old)
        assert (old.dialect, new.dialect) == ("put", "move")
        assert new.goal == old.goal
        assert new.problem == old.problem
        assert new.domain == domain
        assert new.grammar == grammar.replace("UNKNOWN GOAL", old.goal)
        assert upgrade(new) == new


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_any_goal_survives(goal):
    text = GameText("domain", grammar_with(goal), "problem")
    assert text.goal == goal
    assert upgrade(text).goal == goal
    blank, sentence = with_goal_blank(text.grammar)
    assert blank == shipped()[1]
    assert sentence == f"Your task is to: {goal}."


def test_a_goal_with_quotes_and_backslashes_stays_valid_json():
    goal = 'say "put" \\ to: it. Twice'
    assert upgrade(GameText("", grammar_with(goal), "")).goal == goal


def test_a_grammar_without_goal_is_an_error():
    with pytest.raises(DataError, match="has no goal"):
        _ = GameText("", "{}", "").goal


@pytest.mark.parametrize(
    ("move", "put"),
    [
        ("move apple 1 to fridge 1", "put apple 1 in/on fridge 1"),
        ("take apple 1 from fridge 1", "take apple 1 from fridge 1"),
        ("go to fridge 1", "go to fridge 1"),
        ("look", "look"),
        ("", ""),
    ],
)
def test_commands_are_spelled_in_either_dialect(move, put):
    assert (to_put(move), to_move(put)) == (put, move)
    assert (to_put(put), to_move(move)) == (put, move)
