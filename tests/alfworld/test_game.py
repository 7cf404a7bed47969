"""Reading PDDL problems into plain facts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from corner_kitchen import GOALS, problem

from agentdistill.errors import DataError
from agentdistill_alfworld.game import TASK_TYPES, Game, parse_problem
from agentdistill_alfworld.upstream import import_alfworld


def _read(path: Path) -> Game:
    return parse_problem(json.loads(path.read_text())["pddl_problem"], "do it", path.parent.parent.name)


@pytest.fixture(scope="module")
def real_games(alfworld_data: Path) -> dict[Path, Game]:
    return {path: _read(path) for path in sorted(alfworld_data.rglob("game.tw-pddl"))}


def test_every_real_problem_is_read_and_its_folder_name_agrees_with_its_goal(real_games: dict[Path, Game]) -> None:
    assert len(real_games) == 394
    for path, game in real_games.items():
        task, thing, _, target, _ = path.parent.parent.name.split("-")
        assert (game.task_type, game.goal_object, game.goal_receptacle) == (task, thing.lower(), target.lower()), path
        assert game.placement == tuple(sorted(game.placement))
        assert all(o in game.objects and r in game.receptacles for o, r in game.placement)
        assert not any(kind.endswith("type") for kind in game.objects.values())


def test_real_problems_hold_the_trivia_that_simple_readings_miss(real_games: dict[Path, Game]) -> None:
    games = real_games.values()
    assert sum(len({o for o, _ in game.placement}) < len(game.placement) for game in games) == 145
    assert all(len({o for o, _ in game.placement}) < len(game.objects) for game in games)
    assert sum(len({r.location for r in game.receptacles.values()}) < len(game.receptacles) for game in games) == 290
    assert sum(bool(game.cool) for game in games) == 43
    assert sum(bool(game.inside_objects) for game in games) == 62


def test_names_are_numbered_as_alfworld_numbers_them(real_games: dict[Path, Game]) -> None:
    demangler = import_alfworld("alfworld.agents.utils.misc").Demangler

    class Info:
        def __init__(self, identifier: str) -> None:
            self.id = identifier

    for game in list(real_games.values())[::10]:
        infos = {i: Info(i) for i in [*game.receptacles, *game.objects]}
        stock = demangler(game_infos=infos)
        assert game.names == {i: stock.demangle_alfred_name(i) for i in infos}


def test_the_spelling_of_a_problem_does_not_matter() -> None:
    text = problem("pick_two_obj_and_place", "Apple", "Shelf")
    plain = parse_problem(text, "put two apple in shelf", "k")
    assert plain.task_type == "pick_two_obj_and_place"
    variants = [
        text.upper(),
        text.replace("\n", "\n  ; a comment (with a bracket\n"),
        text.replace("(openable ", "( openable\n\t"),
        text.replace("(:init", "(:init (= (total-cost) 0) (= (distance loc_bar_1 loc_bar_2) 3)\n"),
        text.replace("(:init", "(:init (atLocation agent1  loc_bar_0)\n").replace("(atLocation agent1 loc_bar_0)", ""),
    ]
    for variant in variants:
        assert parse_problem(variant, "put two apple in shelf", "k") == plain


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_goal_tells_the_task_type(task_type: str) -> None:
    target = "DeskLamp" if task_type == "look_at_obj_in_light" else "Shelf"
    game = parse_problem(problem(task_type, "Apple", target), "do it", "k")
    assert (game.task_type, game.goal_object, game.goal_receptacle) == (task_type, "apple", target.lower())
    assert set(GOALS) == set(TASK_TYPES)


def test_a_game_survives_pickling() -> None:
    game = parse_problem(problem("pick_and_place_simple", "Apple", "Shelf"), "do it", "k")
    again = pickle.loads(pickle.dumps(game))
    assert again == game
    assert again.names == game.names


GOOD = problem("pick_and_place_simple", "Apple", "Shelf")
FRIDGE = "Fridge_bar__plus_00_dot_01_bar__plus_01_dot_00_bar__plus_00_dot_50"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD[: GOOD.index("(:goal")], "no (:init ...) before a (:goal ...)"),
        ("", "no (:init ...) before a (:goal ...)"),
        (GOOD.replace("(inReceptacle ?o ?r)", "(isSliced ?o) (inReceptacle ?o ?r)"), "none of the six"),
        (GOOD.replace("(objectType ?o AppleType)", "(holds ?a ?o)"), "none of the six"),
        (GOOD.replace(f"(receptacleAtLocation {FRIDGE} loc_bar_1)", ""), "without a type or a place: fridge"),
        (GOOD.replace("(:init", f"(:init (receptacleAtLocation {FRIDGE} loc_bar_2)"), "more than one place"),
        (GOOD.replace("(:init", "(:init (holds agent1 apple_bar_1)"), "no meaning at the start: holds"),
        (GOOD.replace("(:init", "(:init (inReceptacle apple_bar_1 " + FRIDGE + ")"), "without a type: apple_bar_1"),
        (GOOD.replace("(:init", "(:init (openable a b)"), "needs 1 argument"),
        (GOOD.replace("(:init", "(:init (not (openable a))"), "not of the form"),
        (GOOD.replace("(:init", "(:init (atLocation agent1 loc_bar_3)"), "exactly one location"),
        (GOOD.replace("(:init", "(:init (objectType apple AppleType)"), "lacking coordinates: apple"),
        (GOOD.replace("(:init", f"(:init (objectType {FRIDGE} BoxType)"), "both as a receptacle and as an object"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_problem(text, "do it", "some/game")
    assert "'some/game'" in str(caught.value)
    assert says in str(caught.value)
