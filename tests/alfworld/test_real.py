"""The cached engine against the stock one, its cost, and what it leaves behind (nothing)."""

from __future__ import annotations

import os
import random
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest
from stock import stock_engine, write_text

from agentdistill.errors import DataError, EnvironmentFailure
from agentdistill_alfworld import real_env, translation
from agentdistill_alfworld.data import disk_split
from agentdistill_alfworld.dialect import GameText, upgrade
from agentdistill_alfworld.real import RealGame

NONSENSE = ["", "   ", "xyzzy", "LOOK", "take apple 99 from fridge 1", "go to  fridge 1", "put", "ü\n"]


def play_both(text: GameText, path, steps: int, rng: random.Random, ours: RealGame) -> int:
    """Plays one game in both engines; everything must be equal. Returns the number of wins."""
    stock = stock_engine()
    stock.load(str(write_text(text, path)))
    ours.load(text)
    state, observation, wins = stock.reset(), ours.reset(), 0
    for step in range(steps + 1):
        assert observation == state.feedback
        assert ours.admissible() == state["admissible_commands"]
        assert ours.won == state["won"]
        if step == steps:
            break
        offered = ours.admissible()
        deeds = [command for command in offered if command.split()[0] not in {"go", "look", "help", "examine"}]
        command = rng.choice(deeds) if deeds and rng.random() < 0.5 else rng.choice(offered)
        if rng.random() < 0.1:
            command = rng.choice(NONSENSE)
        elif rng.random() < 0.1:
            command = f"  {command} "
        state, _, done = stock.step(command)
        observation = ours.step(command)
        assert ours.done == done
        assert ours.valid == (command.strip() in offered)
        wins += done
    return wins


MORE_SPLITS = ("train", "valid_train")


@pytest.mark.parametrize("dialect", ["move", "put"])
@pytest.mark.parametrize("index", [2, 77])
def test_byte_identical_to_the_stock_engine(real_data, tmp_path, dialect, index):
    text = disk_split("valid_seen").games[index].text()
    text = upgrade(text) if dialect == "move" else text
    play_both(text, tmp_path / "game.tw-pddl", 30, random.Random(index), RealGame())


@pytest.mark.slow
@pytest.mark.parametrize("split", ["valid_seen", *(pytest.param(s, marks=pytest.mark.thorough) for s in MORE_SPLITS)])
def test_byte_identical_over_every_type_and_dialect(real_data, tmp_path, split, recwarn):
    games = disk_split(split).games
    rng, ours = random.Random(split), RealGame()
    for number, file in enumerate(games[:: len(games) // 8]):
        text = file.text() if number % 2 else upgrade(file.text())
        play_both(text, tmp_path / "game.tw-pddl", 60, rng, ours)


def test_won_is_the_engines_and_play_goes_on(real_data, tmp_path):
    from agentdistill_alfworld.experts.planner import Planner
    from agentdistill_alfworld.fast import FastGame
    from agentdistill_alfworld.game import parse_problem

    file = disk_split("valid_seen").games[40]
    text = upgrade(file.text())
    facts = parse_problem(text.problem, text.goal, file.key)
    plan = Planner(facts).plan(FastGame(facts))
    ours, stock = RealGame(text), stock_engine()
    stock.load(str(write_text(text, tmp_path / "game.tw-pddl")))
    ours.reset()
    stock.reset()
    for number, command in enumerate(plan, start=1):
        state, _, done = stock.step(command)
        assert ours.step(command) == state.feedback
        assert ours.won == ours.done == done == (number == len(plan))
    assert ours.step("inventory") == stock.step("inventory")[0].feedback


def test_a_game_can_be_reset_and_replaced_at_any_time(real_data):
    one, other = (upgrade(file.text()) for file in disk_split("valid_seen").games[10:12])
    game = RealGame(one)
    first = game.reset(), game.admissible()
    for command in random.Random(0).sample(game.admissible(), 5):
        game.step(command)
    assert (game.reset(), game.admissible()) == first
    game.load(other)
    assert game.reset() == RealGame(other).reset() != first[0]
    game.load(one)
    assert (game.reset(), game.admissible()) == first
    assert game.valid
    assert not game.done


def test_instances_are_independent(real_data):
    text = upgrade(disk_split("valid_seen").games[10].text())
    alone, beside = RealGame(text), RealGame(text)
    alone.reset()
    commands = [command for command in alone.admissible() if command.startswith("go to")][:4]
    expected = [alone.step(command) for command in commands]
    alone.reset()
    beside.reset()
    for command, observation in zip(commands, expected, strict=True):
        beside.step("look")
        assert alone.step(command) == observation
        beside.step(commands[0])


def test_threads_play_as_one_thread_does(real_data):
    texts = [upgrade(file.text()) for file in disk_split("valid_seen").games[20:24]]

    def walk(text: GameText) -> list[str]:
        game, rng = RealGame(text), random.Random(0)
        seen = [game.reset()]
        for _ in range(25):
            seen.append(game.step(rng.choice(game.admissible())))
        game.close()
        return seen

    expected = [walk(text) for text in texts]
    found: dict[int, list[str]] = {}
    workers = [threading.Thread(target=lambda i=i: found.update({i: walk(texts[i])})) for i in range(len(texts))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [found[i] for i in range(len(texts))] == expected


def test_nothing_global_changes(real_data, monkeypatch, capsys):
    import gc

    monkeypatch.setenv("AGENTDISTILL_CACHE", str(real_data / "no-cache-yet"))
    monkeypatch.setattr(sys, "argv", ["mine", "alone"])
    text = upgrade(disk_split("valid_seen").games[5].text())
    before = (sys.stdout, dict(os.environ), random.getstate(), gc.isenabled(), Path.cwd())
    game = RealGame(text)
    game.reset()
    game.step("look")
    assert sys.argv == ["mine", "alone"]
    assert (sys.stdout, dict(os.environ), random.getstate(), gc.isenabled(), Path.cwd()) == before
    assert capsys.readouterr() == ("", "")


def test_a_translation_is_made_once_per_machine(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path))
    text = upgrade(disk_split("valid_seen").games[6].text())
    made = []
    translate = translation._translate
    monkeypatch.setattr(translation, "_translate", lambda *texts: made.append(1) or translate(*texts))
    first = RealGame(text).reset()
    assert RealGame(text).reset() == first
    assert len(made) == 1
    (stored,) = (tmp_path / "alfworld" / "sas").iterdir()
    stored.write_bytes(stored.read_bytes()[:-100])
    assert RealGame(text).reset() == first
    assert len(made) == 2
    assert RealGame(text).reset() == first
    assert len(made) == 2
    assert [path.name for path in (tmp_path / "alfworld" / "sas").iterdir()] == [stored.name]


def test_broken_pddl_is_a_data_error_and_leaves_no_trace(real_data, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mine"])
    text = upgrade(disk_split("valid_seen").games[7].text())
    stdout = sys.stdout
    for problem in (text.problem[:-200], "", "(define)"):
        with pytest.raises(DataError, match="cannot be translated"):
            RealGame(GameText(text.domain, text.grammar, problem))
    assert sys.stdout is stdout
    assert sys.argv == ["mine"]
    assert RealGame(text).reset().startswith("-= Welcome")


def test_libraries_are_handed_on(real_data):
    text = upgrade(disk_split("valid_seen").games[7].text())
    game = RealGame(text)
    game.close()
    game.close()
    with pytest.raises(EnvironmentFailure, match="closed"):
        game.reset()
    idle = len(real_env._idle)
    for _ in range(60):
        game = RealGame(text)
        game.reset()
        game.step("look")
        game.close()
    assert len(real_env._idle) == idle


def test_it_is_as_fast_as_promised(real_data, tmp_path, monkeypatch):
    """8 ms a step, 100 ms a repeated reset, 400 ms the first load; medians, in seconds of one core."""
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path))
    games = disk_split("valid_seen").games
    texts = [upgrade(file.text()) for file in games[:: len(games) // 7]]
    game = RealGame(texts[0])
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "fresh"))
    rng, loads, resets, steps = random.Random(0), [], [], []

    def timed(into: list[float], call, *arguments) -> None:
        start = time.process_time()
        call(*arguments)
        into.append(time.process_time() - start)

    for text in texts:
        timed(loads, game.load, text)
        game.reset()
        for _ in range(3):
            timed(resets, game.reset)
        for _ in range(20):
            timed(steps, game.step, rng.choice(game.admissible()))
    assert statistics.median(loads) <= 0.4
    assert statistics.median(resets) <= 0.1
    assert statistics.median(steps) <= 0.008
