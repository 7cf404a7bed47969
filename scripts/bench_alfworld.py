"""Measures ALFWorld's engines side by side: the stock one, ours over the same engine with caches, and the fast one.

    python scripts/bench_alfworld.py [--quick]

All play the same games and the same commands, and must answer the same; seconds are process time of one core, so that
ratios hold on a busy machine. Real games where $ALFWORLD_DATA is set, generated ones otherwise. The cache starts empty.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agentdistill_alfworld.dialect import GameText
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import TASK_TYPES, Game, parse_problem
from agentdistill_alfworld.generate import generate_one
from agentdistill_alfworld.real import RealGame
from agentdistill_alfworld.source import AlfworldSource
from agentdistill_alfworld.upstream import import_alfworld

RESETS = 3
SPLITS = ("valid_seen", "generated-seen")


@dataclass
class Times:
    """Seconds that an engine took, by what it did."""

    first_load: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    reset: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)


def timed(into: list[float], call: Callable[..., Any], *arguments: Any) -> Any:
    """Calls, and appends the process time it took."""
    start = time.process_time()
    result = call(*arguments)
    into.append(time.process_time() - start)
    return result


def choose_games(count: int) -> tuple[str, list[tuple[GameText, Game]]]:
    """The same number of games of every task type, real if there are any."""
    source = AlfworldSource()
    split = SPLITS[0] if os.environ.get("ALFWORLD_DATA") else SPLITS[1]
    tasks = source.tasks(split)
    chosen = []
    for kind in TASK_TYPES:
        found = [task for task in tasks if task.type == kind]
        chosen += [found[index * len(found) // count] for index in range(count)]
    return split, [(source.game(task).text("move"), source.game(task).facts()) for task in chosen]


def commands_for(game: Game, steps: int) -> list[str]:
    """A random walk that mostly does things."""
    rng, engine, commands = random.Random(game.key), FastGame(game), []
    for _ in range(steps):
        offered = engine.admissible()
        deeds = [command for command in offered if command.split()[0] not in {"go", "look", "help", "examine"}]
        commands.append(rng.choice(deeds) if deeds and rng.random() < 0.4 else rng.choice(offered))
        engine.step(commands[-1])
    return commands


def play_stock(games: list[tuple[GameText, Game]], steps: int) -> tuple[Times, list[list[str]]]:
    """The unmodified engine, wrapped as `AlfredTWEnv` wraps it. It computes admissible commands at every step."""
    upstream = import_alfworld("alfworld.agents.environment.alfred_tw_env")
    import textworld
    from textworld.envs import PddlEnv

    times, seen = Times(), []
    infos = textworld.EnvInfos(won=True, admissible_commands=True)
    env = upstream.AlfredInfos(upstream.AlfredDemangler(PddlEnv(infos)))
    with tempfile.TemporaryDirectory() as folder:
        for text, game in games:
            path = Path(folder) / "game.tw-pddl"
            content = {"pddl_domain": text.domain, "grammar": text.grammar, "pddl_problem": text.problem}
            path.write_text(json.dumps(content))
            timed(times.first_load, env.load, str(path))
            timed(times.load, env.load, str(path))
            state = timed(times.reset, env.reset)
            told = [state.feedback, *state["admissible_commands"]]
            for command in commands_for(game, steps):
                state, _, _ = timed(times.step, env.step, command)
                told += [state.feedback, *state["admissible_commands"]]
            seen.append(told)
    return times, seen


def play_real(games: list[tuple[GameText, Game]], steps: int) -> tuple[Times, list[list[str]]]:
    """The same engine with its caches, which start empty. It too computes admissible commands at every step."""
    times, seen = Times(), []
    engine = RealGame()
    for text, game in games:
        timed(times.first_load, engine.load, text)
        timed(times.load, engine.load, text)
        for _ in range(RESETS):
            observation = timed(times.reset, engine.reset)
        told = [observation, *engine.admissible()]
        for command in commands_for(game, steps):
            told += [timed(times.step, engine.step, command), *engine.admissible()]
        seen.append(told)
    return times, seen


def play_fast(games: list[tuple[GameText, Game]], steps: int, admissible: bool) -> tuple[Times, list[list[str]]]:
    """The simulator. A step is far below the clock's resolution, so whole walks are timed and divided.

    Every walk gets an engine of its own and facts parsed anew: nothing of an earlier walk may be remembered.
    """
    times, seen = Times(), []
    for text, game in games:
        commands = commands_for(game, steps)
        for _ in range(RESETS):
            engine = timed(times.first_load, lambda text=text, key=game.key: fresh_engine(text, key))
            timed(times.load, FastGame, game)
            timed(times.reset, engine.reset)
            told = timed(times.step, walk, engine, commands, admissible)
            times.step[-1] /= len(commands)
        seen.append(told)
    return times, seen


def fresh_engine(text: GameText, key: str) -> FastGame:
    """Parses a problem and makes an engine for it."""
    return FastGame(parse_problem(text.problem, text.goal, key))


def walk(engine: FastGame, commands: list[str], admissible: bool) -> list[str]:
    """Plays commands and collects what was said."""
    told = [engine.reset(), *(engine.admissible() if admissible else ())]
    for command in commands:
        told.append(engine.step(command))
        if admissible:
            told += engine.admissible()
    return told


def generation(count: int) -> float:
    """Games generated a second, each with its checked plan."""
    generate_one("train", 0, 0)  # reads the tables
    start = time.process_time()
    for index in range(count):
        generate_one("train", 1, index)
    return count / (time.process_time() - start)


def show(console: Console, title: str, rows: dict[str, Times]) -> None:
    """Medians, and how many times faster than stock."""
    table = Table(title=title)
    for column in ("engine", "first load", "load again", "reset", "step", "steps/s", "x stock: reset", "step"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    stock = rows["stock"]
    for name, times in rows.items():
        load, again, reset, step = (
            statistics.median(values) for values in (times.first_load, times.load, times.reset, times.step)
        )
        ratios = [statistics.median(ours) / theirs for ours, theirs in ((stock.reset, reset), (stock.step, step))]
        shown = [f"{1e3 * value:.3g} ms" for value in (load, again, reset, step)]
        table.add_row(name, *shown, f"{1 / step:,.0f}", *(f"{ratio:,.0f}" for ratio in ratios))
    console.print(table)


def machine_line() -> str:
    """Where this was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(": ")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, one core, Python {platform.python_version()}"


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one game of each type and short walks")
    quick = parser.parse_args().quick
    per_type, steps = (1, 10) if quick else (3, 40)
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AGENTDISTILL_CACHE"] = cache
        split, games = choose_games(per_type)
        RealGame(games[0][0])  # imports
        os.environ["AGENTDISTILL_CACHE"] = str(Path(cache) / "empty")
        stock, expected = play_stock(games, steps)
        real, same = play_real(games, steps)
        fast, also = play_fast(games, steps, admissible=True)
        bare, _ = play_fast(games, steps, admissible=False)
    if not expected == same == also:
        raise SystemExit("The engines did not answer the same.")
    title = f"{split}: {len(games)} games, {steps} commands each; all engines answered the same"
    show(console, title, {"stock": stock, "real": real, "fast": fast, "fast, no admissible list": bare})
    worst = f"real, worst: first load {1e3 * max(real.first_load):.0f} ms, step {1e3 * max(real.step):.1f} ms"
    console.print(f"{worst}; generated with plans: {generation(60 if quick else 600):,.0f} games/s")
    console.print(machine_line())


if __name__ == "__main__":
    main()
