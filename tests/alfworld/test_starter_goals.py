from __future__ import annotations

from collections import Counter
from random import Random

from agentdistill_alfworld.demonstrations import Mistakes, demonstrations
from agentdistill_alfworld.experts.text_goal import parse_goal
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import TASK_TYPES
from agentdistill_alfworld.generate import generate
from agentdistill_alfworld.starter_training.goals import with_other_goal, with_second_goals

GAMES = list(generate("train", 200, seed=41))
BOTH = list(with_second_goals(GAMES, TASK_TYPES, seed=0))
OTHERS = [game for game in BOTH if game.key.endswith("/other")]


def test_every_room_is_played_twice_where_it_can_be() -> None:
    assert [game for game in BOTH if game not in OTHERS] == GAMES
    assert len(OTHERS) > 0.95 * len(GAMES)
    assert list(with_second_goals(GAMES, TASK_TYPES, seed=0)) == BOTH
    assert list(with_second_goals(GAMES, TASK_TYPES, seed=1)) != BOTH


def test_second_goals_are_open_stated_and_can_be_reached() -> None:
    for game in OTHERS:
        goal = parse_goal(game.goal_text)
        stated = (goal.task_type, goal.object, goal.receptacle)
        assert stated == (game.task_type, game.goal_object, game.goal_receptacle)
        assert not FastGame(game).won
    solved = list(demonstrations(OTHERS, split="train", seed=0, mistakes=Mistakes(rate=0.0)))
    assert len(solved) >= 0.97 * len(OTHERS)
    assert {episode.task.type for episode in solved} == set(TASK_TYPES)


def test_second_goals_ask_for_more_kinds_of_objects() -> None:
    def asked(games: list) -> int:
        return len(Counter((game.task_type, game.goal_object) for game in games))

    assert asked(OTHERS) > asked(GAMES)


def test_a_room_that_allows_nothing_gets_no_goal() -> None:
    lone = next(game for game in GAMES if not any(r.type == "fridge" for r in game.receptacles.values()))
    assert with_other_goal(lone, ["pick_cool_then_place_in_recep"], Random(0)) is None
