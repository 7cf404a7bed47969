"""The fast engine says what the stock engine says, byte for byte."""

from __future__ import annotations

import importlib.util
import json
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from corner_kitchen import problem
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill_alfworld.dialect import GameText, shipped
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.fuzz import Fuzzer, Winner, compare
from agentdistill_alfworld.game import TASK_TYPES, parse_problem

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_alfworld_parity.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_alfworld_parity", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parity = _script()


@pytest.fixture(scope="module")
def stock() -> Any:
    return parity.StockGame()


def _kitchen(task_type: str = "pick_and_place_simple", thing: str = "Apple", agent: int = 0) -> GameText:
    target = "DeskLamp" if task_type == "look_at_obj_in_light" else "Shelf"
    domain, grammar = shipped()
    return GameText(domain, grammar.replace("UNKNOWN GOAL", "do it"), problem(task_type, thing, target, agent))


def _fast(text: GameText) -> FastGame:
    return FastGame(parse_problem(text.problem, text.goal, "kitchen"))


def _play(game: FastGame, *commands: str) -> str:
    observation = ""
    for command in commands:
        observation = game.step(command)
        assert game.valid, (command, observation)
    return observation


_KITCHENS = [
    ("look_at_obj_in_light", 4),
    ("pick_two_obj_and_place", 0),
    *(pytest.param(task_type, agent, marks=pytest.mark.slow) for task_type in TASK_TYPES for agent in (1, 6)),
]


@pytest.mark.parametrize(("task_type", "agent"), _KITCHENS)
def test_a_kitchen_of_corner_cases_reads_the_same(stock: Any, task_type: str, agent: int) -> None:
    text = _kitchen(task_type, agent=agent)
    stock.load(text)
    game = _fast(text)
    played = compare(stock, game, Winner(random.Random(1)), 20)
    fuzzed = compare(stock, game, Fuzzer(random.Random(f"{task_type}/{agent}")), 35)
    assert (played.mismatch, fuzzed.mismatch) == (None, None)
    assert played.won


def test_the_whole_catalogue_of_commands_reads_the_same(stock: Any) -> None:
    text = _kitchen("pick_two_obj_and_place")
    stock.load(text)
    game = _fast(text)
    found = compare(stock, game, _Script(_TOUR), len(_TOUR))
    assert found.mismatch is None
    texts = _texts(_fast(text), _TOUR)
    for state in ("clean sliced", "hot and clean sliced", "cool and clean sliced", "cold"):
        assert f"This is a {state} apple {2 if state == 'cold' else 1}." in texts
    assert {"There's nothing special about laptop 1.", "This laptop 1 is on."} <= texts
    verbs = {"clean", "close", "cool", "examine", "go", "heat", "help", "inventory", "look", "move", "open", "slice"}
    assert set(found.accepted) == verbs | {"take", "use"}


def _texts(game: FastGame, commands: list[str]) -> set[str]:
    return {game.step(command) for command in commands}


class _Script:
    def __init__(self, commands: list[str]) -> None:
        self._commands = iter(commands)

    def command(self, game: FastGame, admissible: list[str]) -> str:
        return next(self._commands)


_TOUR = [
    *("help", "inventory", "look", "go to countertop 1", "go to countertop 2", "look", "examine countertop 1"),
    *("use desklamp 1", "open cabinet 1", "examine cabinet 1", "use desklamp 1", "close cabinet 1", "open cabinet 1"),
    *("take bowl 1 from cabinet 1", "examine bowl 1", "inventory", "slice bread 1 with bowl 1"),
    *("move bowl 1 to countertop 1", "look", "take bowl 1 from countertop 1", "look", "move bowl 1 to countertop 2"),
    *("look", "take knife 1 from countertop 2", "slice bread 1 with knife 1", "slice apple 1 with knife 1"),
    *("move knife 1 to countertop 1", "look", "take apple 1 from countertop 1", "examine apple 1"),
    *("go to sinkbasin 1", "clean apple 1 with sinkbasin 1", "examine apple 1", "go to microwave 1"),
    *("heat apple 1 with microwave 1", "examine apple 1", "go to fridge 1", "cool apple 1 with fridge 1"),
    *("examine apple 1", "open fridge 1", "move apple 1 to fridge 1", "take apple 2 from fridge 1", "examine apple 2"),
    *("go to countertop 1", "look", "examine apple 2", "slice bread 1 with knife 1", "go to shelf 1"),
    *("move apple 2 to shelf 1", "go to countertop 1", "take apple 1 from countertop 2", "go to shelf 1"),
    *("move apple 1 to shelf 1", "look", "take apple 1 from shelf 1", "go to microwave 1", "look"),
    *("open microwave 1", "move apple 1 to microwave 1", "go to countertop 1", "take laptop 1 from countertop 2"),
    *("examine laptop 1", "move laptop 1 to countertop 1", "use laptop 1", "take laptop 1 from countertop 1"),
    *("examine laptop 1", "use laptop 1", "examine laptop 1"),
]


def _by_type(data: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    games = sorted(data.rglob("game.tw-pddl"))
    random.Random(3).shuffle(games)
    for path in games:
        found.setdefault(path.parent.parent.name.split("-")[0], path)
    return dict(sorted(found.items()))


_QUICK = ("look_at_obj_in_light", "pick_two_obj_and_place")


@pytest.mark.parametrize(
    "task_type", [t if t in _QUICK else pytest.param(t, marks=pytest.mark.slow) for t in TASK_TYPES]
)
def test_real_games_read_the_same(stock: Any, alfworld_data: Path, task_type: str) -> None:
    text = parity.read_game(_by_type(alfworld_data)[task_type])
    if task_type in ("pick_two_obj_and_place", "pick_heat_then_place_in_recep"):
        text = parity.disturb(text, random.Random(5))
    stock.load(text)
    game = _fast(text)
    played = compare(stock, game, Winner(random.Random(0)), 12)
    fuzzed = compare(stock, game, Fuzzer(random.Random(0)), 18)
    assert (played.mismatch, fuzzed.mismatch) == (None, None)
    assert (played.steps, fuzzed.steps) == (12, 18)


@pytest.mark.slow
def test_the_sweep_finds_nothing_and_resumes(alfworld_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "parity.jsonl"
    command = [sys.executable, str(SCRIPT), "--data", str(alfworld_data), "--engine", "memoised", "--out", str(out)]
    command += ["--steps", "40", "--limit"]
    first = subprocess.run([*command, "6"], capture_output=True, text=True, check=True)
    assert "6 games, 6 to play" in first.stdout
    assert "420 steps compared, 0 mismatches, 0 games that could not be played" in first.stdout
    again = subprocess.run([*command, "6"], capture_output=True, text=True, check=True)
    assert "6 games, 0 to play" in again.stdout
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == 12


def test_a_difference_is_found_and_told() -> None:
    text = _kitchen()

    class Wrong(FastGame):
        def step(self, command: str) -> str:
            return super().step(command).replace("countertop 1", "countertop 7")

    found = compare(Wrong(_fast(text).game), _fast(text), _Script(["look", "go to countertop 1"]), 2)
    assert found.steps == 1
    assert found.mismatch is not None and "countertop 7" in found.mismatch and "'go to countertop 1'" in found.mismatch


def test_surprises_of_the_engine_are_kept() -> None:
    game = _fast(_kitchen())
    nothing = "Nothing happens."
    assert game.step("look") == "You are in the middle of a room. Looking quickly around you, you see nothing."
    _play(game, "go to countertop 1")
    assert game.step("go to countertop 2") == nothing  # one stands there already
    assert game.step("examine desklamp 1") == nothing  # only what is held can be examined
    assert _play(game, "use desklamp 1", "use desklamp 1") == "You turn on the desklamp 1."  # closed in a cabinet
    _play(game, "take knife 1 from countertop 2", "slice bread 1 with knife 1", "move knife 1 to countertop 1")
    beside = "You are facing the cabinet 1, countertop 2, and countertop 1. Next to it, you see a knife 1."
    assert game.step("look") == beside


def test_a_copy_and_a_pickle_play_on_alone() -> None:
    game = _fast(_kitchen())
    _play(game, "go to countertop 1", "open cabinet 1")
    for other in (game.copy(), pickle.loads(pickle.dumps(game))):
        before = (game.admissible(), game.location, game.held, dict(game.contents), game.opened)
        assert other.admissible() == game.admissible()
        _play(other, "take bowl 1 from cabinet 1", "move bowl 1 to countertop 1", "close cabinet 1", "go to fridge 1")
        assert (game.admissible(), game.location, game.held, dict(game.contents), game.opened) == before
        assert other.reset() == game.copy().reset()


def test_the_state_is_open_to_planners() -> None:
    game = _fast(_kitchen("pick_heat_then_place_in_recep"))
    ids = {name: identifier for identifier, name in game.names.items()}
    apple = ids["apple 1"]
    assert game.receptacles_of(apple) == (ids["countertop 2"], ids["countertop 1"])
    _play(game, "go to countertop 1", "take apple 1 from countertop 1", "go to microwave 1")
    assert game.held == apple
    assert game.reachable == (ids["microwave 1"],)
    _play(game, "heat apple 1 with microwave 1", "open microwave 1")
    assert apple in game.hot and ids["microwave 1"] in game.opened
    _play(game, "go to shelf 1", "move apple 1 to shelf 1")
    assert game.won and game.done and game.receptacles_of(apple) == (ids["countertop 2"], ids["shelf 1"])[::1]
    with pytest.raises(TypeError):
        game.contents[apple] = ()  # type: ignore[index]
    _play(game, "take apple 1 from shelf 1")
    assert not game.won and not game.done


_KITCHEN = _fast(_kitchen())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=30) | st.integers(0, 10_000), max_size=12))
def test_any_text_is_a_command_and_what_is_refused_changes_nothing(commands: list[str | int]) -> None:
    _KITCHEN.reset()
    for command in commands:
        admissible = _KITCHEN.admissible()
        assert admissible == sorted(set(admissible))
        text = command if isinstance(command, str) else admissible[command % len(admissible)]
        _KITCHEN.step(text)
        assert _KITCHEN.valid == (text.strip() in admissible)
        if not _KITCHEN.valid:
            assert _KITCHEN.admissible() == admissible


def test_players_are_seeded_and_reach_every_verb() -> None:
    verbs: Counter[str] = Counter()
    for task_type in TASK_TYPES:
        text = _kitchen(task_type)
        runs = []
        for _ in range(2):
            found = compare(_fast(text), _fast(text), Fuzzer(random.Random(7)), 300)
            assert found.mismatch is None and found.steps == 300
            runs.append((found.accepted, found.rejected, found.won))
        assert runs[0] == runs[1]
        verbs.update(runs[0][0])
        assert compare(_fast(text), _fast(text), Winner(random.Random(7)), 40).won
    assert len(verbs) == 14 and min(verbs.values()) > 5
