from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from text_games import real_games

from agentdistill.errors import DataError
from agentdistill_alfworld.experts.text import TextExpert
from agentdistill_alfworld.experts.text_belief import Belief
from agentdistill_alfworld.experts.text_goal import Goal, goal_of, parse_goal
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import Game
from agentdistill_alfworld.generate import generate

FIRST = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    "cabinet 2, a cabinet 1, a countertop 1, a fridge 1, a microwave 1, and a sinkbasin 1.\n\n"
    "Your task is to: {}."
)


def play(game: Game, limit: int) -> int | None:
    """Steps the expert needs alone, None if it does not win."""
    world, expert = FastGame(game), TextExpert()
    action = expert.reset(world.reset())
    for taken in range(1, limit + 1):
        observation = world.step(action)
        if world.won:
            return taken
        action = expert.observe(observation)
    return None


def garbage(world: FastGame, rng: Random) -> str:
    """What a bad student may do: anything admissible, or nonsense."""
    if rng.random() < 0.5:
        return rng.choice(world.admissible())
    names = sorted(world.names.values())
    one, two = rng.choice(names), rng.choice(names)
    forms = (
        "go to {}",
        "take {} from {}",
        "move {} to {}",
        "open {}",
        "close {}",
        "heat {} with {}",
        "use {}",
        "{}",
        "",
    )
    return rng.choice(forms).format(one, two)


def play_disturbed(game: Game, rate: float, rng: Random, limit: int = 50) -> bool:
    """The expert wins although somebody else acts at random with probability `rate`."""
    world, expert = FastGame(game), TextExpert()
    expert.reset(world.reset())
    for _ in range(limit):
        action = garbage(world, rng) if rng.random() < rate else expert.action()
        observation = world.step(action)
        if world.won:
            return True
        expert.record(action, observation)
    return False


@pytest.mark.parametrize(
    ("sentence", "goal"),
    [
        ("put a mug in desk", Goal("pick_and_place_simple", "mug", "desk")),
        ("put some mug on desk", Goal("pick_and_place_simple", "mug", "desk")),
        ("put a clean mug in desk", Goal("pick_clean_then_place_in_recep", "mug", "desk", "clean")),
        ("clean some mug and put it in desk", Goal("pick_clean_then_place_in_recep", "mug", "desk", "clean")),
        ("put a hot mug in desk", Goal("pick_heat_then_place_in_recep", "mug", "desk", "heat")),
        ("heat some mug and put it in desk", Goal("pick_heat_then_place_in_recep", "mug", "desk", "heat")),
        ("put a cool mug in desk", Goal("pick_cool_then_place_in_recep", "mug", "desk", "cool")),
        ("cool some mug and put it in desk", Goal("pick_cool_then_place_in_recep", "mug", "desk", "cool")),
        ("put two mug in desk", Goal("pick_two_obj_and_place", "mug", "desk", None, 2)),
        ("find two mug and put them in desk", Goal("pick_two_obj_and_place", "mug", "desk", None, 2)),
        ("look at mug under the desklamp", Goal("look_at_obj_in_light", "mug", "desklamp")),
        ("examine the mug with the desklamp", Goal("look_at_obj_in_light", "mug", "desklamp")),
    ],
)
def test_every_goal_sentence_is_understood(sentence: str, goal: Goal) -> None:
    assert parse_goal(sentence) == goal
    assert goal_of(FIRST.format(sentence)) == goal


def test_unknown_goals_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="dance"):
        parse_goal("dance on the desk")
    with pytest.raises(DataError, match="names no task"):
        TextExpert().reset("You are in a maze.")


@pytest.mark.parametrize("split", ["valid_seen", "valid_train"])
def test_goals_of_real_games_agree_with_their_problems(split: str, alfworld_data: Path) -> None:
    for game in real_games(split, alfworld_data):
        goal = parse_goal(game.goal_text)
        assert (goal.task_type, goal.object, goal.receptacle) == (
            game.task_type,
            game.goal_object,
            game.goal_receptacle,
        )


def test_wins_real_valid_seen_within_thirty_steps(alfworld_data: Path) -> None:
    games = real_games("valid_seen", alfworld_data)
    steps = [play(game, 30) for game in games]
    assert len(games) == 140
    assert sum(step is not None for step in steps) >= 139


@pytest.mark.parametrize("split", ["train", "valid_unseen"])
def test_wins_generated_games_within_thirty_steps(split: str) -> None:
    steps = [play(game, 30) for game in generate(split, 300, seed=11)]
    assert sum(step is not None for step in steps) >= 294


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_recovers_from_whatever_a_student_does(rate: float, alfworld_data: Path) -> None:
    rng = Random(f"garbage:{rate}")
    wins = [play_disturbed(game, rate, rng) for game in real_games("valid_seen", alfworld_data)]
    assert sum(wins) >= 0.95 * len(wins)


def test_advice_is_a_function_of_what_was_recorded() -> None:
    (game,) = generate("train", 1, seed=3)
    world, first, second = FastGame(game), TextExpert(), TextExpert()
    observation = world.reset()
    assert first.reset(observation) == second.reset(observation)
    rng = Random("twice")
    for _ in range(20):
        action = garbage(world, rng)
        observation = world.step(action)
        first.record(action, observation)
        second.record(action, observation)
        assert first.action() == first.action() == second.action()


def test_puts_back_a_wrong_object() -> None:
    expert = TextExpert()
    expert.reset(FIRST.format("put a clean mug in cabinet"))
    expert.record(
        "go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a knife 1, and a mug 2."
    )
    assert expert.action() == "take mug 2 from countertop 1"
    expert.record("take knife 1 from countertop 1", "You pick up the knife 1 from the countertop 1.")
    assert expert.action() == "move knife 1 to countertop 1"
    expert.record("move knife 1 to countertop 1", "You move the knife 1 to the countertop 1.")
    assert expert.action() == "take mug 2 from countertop 1"


def test_treats_before_it_places_and_again_when_undone() -> None:
    expert = TextExpert()
    expert.reset(FIRST.format("put a cool mug in cabinet"))
    expert.record("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see a mug 1.")
    expert.record("take mug 1 from countertop 1", "You pick up the mug 1 from the countertop 1.")
    assert expert.action() == "go to fridge 1"
    expert.record("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.")
    assert expert.action() == "cool mug 1 with fridge 1"
    expert.record("cool mug 1 with fridge 1", "You cool the mug 1 using the fridge 1.")
    assert expert.action() == "go to cabinet 1"
    expert.record("go to microwave 1", "You arrive at microwave 1. The microwave 1 is closed.")
    expert.record("heat mug 1 with microwave 1", "You heat the mug 1 using the microwave 1.")
    assert expert.action() == "go to fridge 1"


def test_opens_what_somebody_closed() -> None:
    expert = TextExpert()
    expert.reset(FIRST.format("put a mug in countertop"))
    expert.record("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.")
    expert.record("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a mug 1.")
    assert expert.action() == "take mug 1 from fridge 1"
    expert.record("close fridge 1", "You close the fridge 1.")
    assert expert.action() == "open fridge 1"


def test_a_refused_trip_tells_where_one_stands() -> None:
    expert = TextExpert()
    advice = expert.reset(FIRST.format("put a mug in countertop"))
    expert.record(advice, "Nothing happens.")
    assert advice.removeprefix("go to ") in expert.belief.here
    assert expert.action() == advice.replace("go to", "examine")


def test_speaks_the_old_dialect() -> None:
    expert = TextExpert(dialect="put")
    expert.reset(FIRST.format("put a mug in countertop"))
    expert.record("go to cabinet 1", "You arrive at loc 3. The cabinet 1 is closed.")
    expert.record("open cabinet 1", "You open the cabinet 1. The cabinet 1 is open. In it, you see a mug 1.")
    expert.record("take mug 1 from cabinet 1", "You pick up the mug 1 from the cabinet 1.")
    expert.record("go to countertop 1", "You arrive at loc 7. On the countertop 1, you see nothing.")
    assert expert.action() == "put mug 1 in/on countertop 1"
    expert.record("put mug 1 in/on countertop 1", "You put the mug 1 in/on the countertop 1.")
    assert expert.belief.held is None


def test_belief_reads_hands_and_shared_spots() -> None:
    belief = Belief.of(FIRST.format("put a mug in countertop"))
    assert belief.receptacles == ("cabinet 1", "cabinet 2", "countertop 1", "fridge 1", "microwave 1", "sinkbasin 1")
    belief.record("look", "You are facing the cabinet 1, and sinkbasin 1. Next to it, you see nothing.")
    assert belief.here == {"cabinet 1", "sinkbasin 1"}
    belief.record("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.")
    belief.record("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.")
    assert belief.here == {"cabinet 1", "sinkbasin 1"}
    belief.record("inventory", "You are carrying: a mug 1.")
    assert belief.held == "mug 1"
    belief.record("inventory", "You are not carrying anything.")
    assert belief.held is None
