"""The fast engine's promises in numbers, on one core; each with room for a busy machine."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import Game, parse_problem


@pytest.fixture(scope="module")
def problems(alfworld_data: Path) -> list[str]:
    paths = sorted(alfworld_data.rglob("game.tw-pddl"))[::20]
    return [json.loads(path.read_text())["pddl_problem"] for path in paths]


@pytest.fixture(scope="module")
def games(problems: list[str]) -> list[Game]:
    return [parse_problem(problem, "do it", "k") for problem in problems]


def _best(work: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest run: what the machine can do when nobody else uses it."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _random_play(games: list[Game], steps: int) -> list[list[str]]:
    rng = random.Random(0)
    histories = []
    for game in games:
        fast, history = FastGame(game), []
        for _ in range(steps):
            command = rng.choice(fast.admissible())
            fast.step(command)
            history.append(command)
        histories.append(history)
    return histories


def test_steps_per_second(games: list[Game]) -> None:
    histories = _random_play(games, 100)
    players = [FastGame(game) for game in games]
    steps = sum(map(len, histories))

    def play(with_admissible: bool) -> None:
        for player, history in zip(players, histories, strict=True):
            player.reset()
            for command in history:
                player.step(command)
                _ = player.won
                if with_admissible:
                    player.admissible()

    assert steps / _best(lambda: play(True)) >= 5_000
    assert steps / _best(lambda: play(False)) >= 10_000


def test_reset_copy_and_parsing_are_quick(problems: list[str], games: list[Game]) -> None:
    players = [FastGame(game) for game in games]
    assert _best(lambda: [player.reset() for player in players]) / len(players) <= 0.001
    assert _best(lambda: [player.copy() for player in players]) / len(players) <= 0.000_2
    assert _best(lambda: [FastGame(game) for game in games]) / len(games) <= 0.002
    assert _best(lambda: [parse_problem(problem, "do it", "k") for problem in problems]) / len(problems) <= 0.005
