"""The full-information planner: from any state its plan wins, and no shorter one exists."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill.errors import EnvironmentFailure
from agentdistill_alfworld.data import disk_split
from agentdistill_alfworld.experts.planner import Planner
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import Game
from agentdistill_alfworld.games import DiskGame
from agentdistill_alfworld.generate import check_plan, game

IDLE = ("examine", "look", "inventory", "help")


@pytest.fixture(scope="module")
def real_games(alfworld_data: Path) -> list[Game]:
    games = disk_split("valid_seen", alfworld_data).games + disk_split("valid_train", alfworld_data).games
    return [DiskGame(one).facts() for one in games[::3]]


def wander(state: FastGame, rng: random.Random, steps: int) -> None:
    """Plays random commands that change something, rarely just walking."""
    for _ in range(steps):
        useful = [command for command in state.admissible() if not command.startswith(IDLE)]
        here = [command for command in useful if not command.startswith("go")]
        state.step(rng.choice(here if here and rng.random() < 0.6 else useful))


def follow(state: FastGame, plan: list[str]) -> None:
    for command in plan:
        assert not state.won
        state.step(command)
        assert state.valid, command
    assert state.won


@settings(max_examples=300, deadline=None)
@given(index=st.integers(0, 5000), steps=st.integers(0, 80), seed=st.integers(0, 10**6))
def test_the_plan_wins_from_any_state(index: int, steps: int, seed: int) -> None:
    made = game("train", 21, index)
    state, planner = FastGame(made), Planner(made)
    wander(state, random.Random(seed), steps)
    plan = planner.plan(state)
    assert planner.action(state) == (plan[0] if plan else None)
    assert bool(plan) != state.won
    follow(state, plan)


def test_real_games_are_won_and_checked(real_games: list[Game]) -> None:
    for one in real_games:
        plan = Planner(one).plan(FastGame(one))
        follow(FastGame(one), plan)
        assert check_plan(one, plan) == ""


def test_only_an_object_that_fits_nowhere_is_a_dead_end(real_games: list[Game]) -> None:
    rng = random.Random(4)
    dead = 0
    for one in real_games:
        state, planner = FastGame(one), Planner(one)
        wander(state, rng, rng.randrange(50))
        try:
            follow(state, planner.plan(state))
        except EnvironmentFailure as error:
            dead += 1
            assert "cannot be won any more" in str(error)
            assert planner.action(state) is None
            held = state.held
            assert held is not None
            assert one.objects[held] not in {thing for _, thing in one.can_contain}
    assert dead <= len(real_games) // 10


def test_each_step_of_the_advice_is_one_step_nearer() -> None:
    for index in range(30):
        made = game("valid_seen", 2, index)
        state, planner = FastGame(made), Planner(made)
        left = len(planner.plan(state))
        while not state.won:
            action = planner.action(state)
            assert action is not None
            state.step(action)
            assert len(planner.plan(state)) == left - 1
            left -= 1


def test_no_shorter_plan_exists() -> None:
    """Against exhaustive search over every command that could help, from fresh and from disturbed states."""
    rng = random.Random(8)
    proven = 0
    for index in range(36):
        made = game("train", 31, index)
        state = FastGame(made)
        wander(state, rng, rng.choice((0, 20)))
        if state.won:
            continue
        length = len(Planner(made).plan(state))
        shorter = shorter_plan_exists(state, length, 12_000)
        assert not shorter, made.key
        proven += shorter is False
    assert proven > 30


def shorter_plan_exists(start: FastGame, length: int, budget: int) -> bool | None:
    """Breadth-first search for a plan of fewer than `length` commands; None when it gave up after `budget` states."""
    made, names = start.game, start.names
    matter = {o for o, kind in made.objects.items() if kind in (made.goal_object, made.goal_receptacle)}
    held = start.held
    useful = {made.goal_receptacle, "sinkbasin", "microwave", "fridge"}
    places = {
        names[r]
        for r, place in made.receptacles.items()
        if place.type in useful
        or place.location == start.location
        or matter & set(start.contents[r])
        or (held is not None and held not in matter and (place.type, made.objects[held]) in made.can_contain)
    }
    things = {names[o] for o in matter | ({held} if held else set())}

    def helps(command: str) -> bool:
        verb, _, rest = command.partition(" ")
        if verb in ("go", "open"):
            return rest.removeprefix("to ") in places
        if verb in ("take", "use"):
            return rest.partition(" from ")[0] in things
        return verb in ("move", "clean", "heat", "cool")

    def key(state: FastGame) -> tuple[object, ...]:
        lies = tuple(sorted((r, inside) for r, inside in state.contents.items()))
        return state.location, state.held, lies, state.opened, state.clean, state.hot, state.cool, state.toggled

    level, seen = [start.copy()], {key(start)}
    for _ in range(length - 1):
        after: list[FastGame] = []
        for state in level:
            for command in filter(helps, state.admissible()):
                then = state.copy()
                then.step(command)
                if then.won:
                    return True
                if (known := key(then)) not in seen:
                    seen.add(known)
                    after.append(then)
                if len(seen) > budget:
                    return None
        level = after
    return False
