#!/usr/bin/env python
"""Compares the fast ALFWorld engine with the stock one, byte for byte, over whole folders of games.

Every game is played twice: "expert" wins it, plays on, undoes the goal and wins again; "fuzz" mixes errands, random
admissible commands and garbage. Compared at every step: observation, admissible commands, won, done, validity.

    python scripts/check_alfworld_parity.py --data $ALFWORLD_DATA --jobs 2 --out parity.jsonl

Results are appended to --out as they come; a second start with the same settings does only what is missing.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from agentdistill_alfworld.dialect import GameText, upgrade
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.fuzz import Comparison, Fuzzer, Player, Winner, compare
from agentdistill_alfworld.game import parse_problem
from agentdistill_alfworld.upstream import import_alfworld

PLAYERS: dict[str, Callable[[random.Random], Player]] = {"expert": Winner, "fuzz": Fuzzer}


class StockGame:
    """The unmodified engine, wrapped as `AlfredTWEnv` wraps it: PddlEnv, AlfredDemangler, AlfredInfos."""

    def __init__(self) -> None:
        upstream = import_alfworld("alfworld.agents.environment.alfred_tw_env")
        import textworld
        from textworld.envs import PddlEnv

        wanted = textworld.EnvInfos(won=True, admissible_commands=True)
        self._env = upstream.AlfredInfos(upstream.AlfredDemangler(PddlEnv(wanted)))
        self._state: Any = None
        self._done, self._valid = False, True

    def load(self, text: GameText) -> None:
        """Takes another game."""
        arguments = sys.argv  # Fast Downward's translator overwrites them.
        data = {"pddl_domain": text.domain, "grammar": text.grammar, "pddl_problem": text.problem}
        try:
            self._env.load(data)
        finally:
            sys.argv = arguments

    def reset(self) -> str:
        """Starts the game over."""
        arguments = sys.argv
        try:
            self._state, self._done, self._valid = self._env.reset(), False, True
        finally:
            sys.argv = arguments
        return str(self._state.feedback)

    def step(self, command: str) -> str:
        """Sends one command."""
        self._valid = command.strip() in self._state["admissible_commands"]
        self._state, _, self._done = self._env.step(command)
        return str(self._state.feedback)

    @property
    def won(self) -> bool:
        """The engine's goal test."""
        return bool(self._state["won"])

    @property
    def done(self) -> bool:
        """What the engine said at the last step."""
        return bool(self._done)

    @property
    def valid(self) -> bool:
        """The last command was admissible."""
        return self._valid

    def admissible(self) -> list[str]:
        """The engine's list, as it is."""
        return list(self._state["admissible_commands"])


def memoise_engine() -> None:
    """Makes the stock engine repeat less: templates parsed once, commands derived once per operator, SAS kept.

    What it computes and in which order stays its own; compare `--engine stock` and `--engine memoised` on a sample.
    """
    import fast_downward
    from textworld.envs.pddl import textgen

    parse = functools.lru_cache(maxsize=None)(textgen._parse_and_convert)
    textgen._parse_and_convert = lambda text, rule_name=None, **_: deepcopy(parse(text, rule_name=rule_name))
    fast_downward.pddl2sas = functools.lru_cache(maxsize=2)(fast_downward.pddl2sas)
    derive = textgen.ContextSensitiveGrammar.derive

    def derive_once(self: Any, start: str, context: Any = None) -> str:
        if start.startswith("#"):
            return str(derive(self, start, context))
        # A command's template; what it says depends on the operator's arguments, which never change their meaning.
        known = self.__dict__.setdefault("known_commands", {})
        key = (start, *sorted((ph.name, variable.name) for ph, variable in context["mapping"].items()))
        if key not in known:
            known[key] = derive(self, start, context)
        return str(known[key])

    textgen.ContextSensitiveGrammar.derive = derive_once


def read_game(path: Path) -> GameText:
    """A game file in the "move" dialect, whichever dialect it is written in."""
    data = json.loads(path.read_text())
    return upgrade(GameText(data["pddl_domain"], data["grammar"], data["pddl_problem"]))


def disturb(text: GameText, rng: random.Random) -> GameText:
    """The same game from an unusual start: things open, clean, hot, sliced or on, and the agent beside something."""
    start, end = text.problem.index("(:init"), text.problem.index("(:goal")
    facts = text.problem[start:end]

    def some(predicate: str, share: float) -> list[str]:
        found = sorted(set(re.findall(rf"\({predicate} ([^\s()]+)", facts, re.IGNORECASE)))
        return [name for name in found if rng.random() < share]

    added = [f"(opened {name})" for name in some("openable", 0.3)]
    added += [f"(isClean {name})" for name in some("cleanable", 0.3)]
    added += [f"({rng.choice(['isHot', 'isCool'])} {name})" for name in some("pickupable", 0.3)]
    added += [f"(isSliced {name})" for name in some("sliceable", 0.5)]
    added += [f"(isToggled {name})" for name in some("toggleable", 0.5)]
    places = _places(facts, rng)
    added += [f"(objectAtLocation {name} {next(places)})" for name in some("sliceable", 0.3)]
    if rng.random() < 0.5:
        place = next(places)
        facts = re.sub(r"\(atLocation (\S+) \S+\)", rf"(atLocation \1 {place})", facts, flags=re.IGNORECASE)
    changed = facts.replace("(:init", "(:init\n" + "\n".join(added), 1)
    return replace(text, problem=text.problem[:start] + changed + text.problem[end:])


def _places(facts: str, rng: random.Random) -> Iterator[str]:
    places = sorted(set(re.findall(r"\(receptacleAtLocation \S+ ([^\s()]+)\)", facts, re.IGNORECASE)))
    while True:
        yield rng.choice(places)


_STOCK: list[StockGame] = []


def check_game(key: str, path: Path, settings: argparse.Namespace) -> list[dict[str, Any]]:
    """Plays one game in both engines, once per player."""
    if not _STOCK:
        if settings.engine == "memoised":
            memoise_engine()
        _STOCK.append(StockGame())
    stock = _STOCK[0]
    text = read_game(path)
    if settings.disturb:
        text = disturb(text, random.Random(f"{settings.seed}/disturb/{key}"))
    rows = []
    try:
        game = FastGame(parse_problem(text.problem, text.goal, key))
        stock.load(text)
    except Exception as error:
        return [{"game": key, "player": name, "error": f"{type(error).__name__}: {error}"} for name in settings.players]
    for name in settings.players:
        began = time.perf_counter()
        player = PLAYERS[name](random.Random(f"{settings.seed}/{name}/{key}"))
        found = compare(stock, game, player, settings.expert_steps if name == "expert" else settings.steps)
        rows.append({"game": key, "player": name, "seconds": round(time.perf_counter() - began, 2), **_row(found)})
    return rows


def _row(found: Comparison) -> dict[str, Any]:
    return {
        "steps": found.steps,
        "accepted": dict(sorted(found.accepted.items())),
        "rejected": found.rejected,
        "won": found.won,
        "mismatch": found.mismatch,
    }


def find_games(settings: argparse.Namespace) -> dict[str, Path]:
    """Game files by their path inside the data folder, in a fixed order."""
    found = sorted(settings.data.rglob("game.tw-pddl"))
    games = {path.parent.relative_to(settings.data).as_posix(): path for path in found}
    keys = list(games)
    if settings.limit:
        random.Random(settings.seed).shuffle(keys)
        keys = sorted(keys[: settings.limit])
    return {key: games[key] for key in keys}


def report(rows: list[dict[str, Any]]) -> int:
    """Prints what was compared; returns the number of differences and failures."""
    failures = [row for row in rows if row.get("error") or row.get("mismatch")]
    for name in sorted({row["player"] for row in rows}):
        mine = [row for row in rows if row["player"] == name and "steps" in row]
        verbs: Counter[str] = Counter()
        for row in mine:
            verbs.update(row["accepted"])
        steps, rejected = sum(row["steps"] for row in mine), sum(row["rejected"] for row in mine)
        print(f"{name}: {len(mine)} games, {sum(row['won'] for row in mine)} of them won, {steps} steps compared")
        print(f"  accepted: {', '.join(f'{verb} {count}' for verb, count in sorted(verbs.items()))}")
        print(f"  refused: {rejected}")
    for row in failures:
        print(f"{row['player']} {row['game']}: {row.get('error') or row['mismatch']}")
    total = sum(row.get("steps", 0) for row in rows)
    print(f"{total} steps compared, {sum(bool(r.get('mismatch')) for r in rows)} mismatches, ", end="")
    print(f"{sum(bool(r.get('error')) for r in rows)} games that could not be played")
    return len(failures)


def main() -> int:
    """Runs the sweep; the exit status is 1 where the engines differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("ALFWORLD_DATA"), help="folder with game files")
    parser.add_argument(
        "--engine", choices=("stock", "memoised"), default="stock", help="memoised: several times faster"
    )
    parser.add_argument("--players", nargs="+", choices=tuple(PLAYERS), default=list(PLAYERS))
    parser.add_argument("--steps", type=int, default=60, help="fuzzed steps per game")
    parser.add_argument("--expert-steps", type=int, default=30, help="steps of the winning player per game")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="only so many games, drawn with the seed")
    parser.add_argument("--disturb", action="store_true", help="start every game from an unusual state")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON lines; makes the sweep resumable")
    settings = parser.parse_args()
    if settings.data is None:
        parser.error("give --data, or set ALFWORLD_DATA")
    settings.data = Path(settings.data)
    games = find_games(settings)
    if not games:
        parser.error(f"no game.tw-pddl below {settings.data}")
    identity = {k: getattr(settings, k) for k in ("engine", "steps", "expert_steps", "seed", "disturb")}
    done: dict[tuple[str, str], dict[str, Any]] = {}
    if settings.out and settings.out.exists():
        for line in settings.out.read_text().splitlines():
            row = json.loads(line)
            same = row.pop("settings") == identity and row["game"] in games and row["player"] in settings.players
            # What differed or failed is played again: that is what one looks at after a repair.
            if same and not row.get("mismatch") and not row.get("error"):
                done[row["game"], row["player"]] = row
    rows = list(done.values())
    missing = [key for key in games if any((key, name) not in done for name in settings.players)]
    print(f"{len(games)} games, {len(missing)} to play", flush=True)

    def keep(new: list[dict[str, Any]]) -> None:
        for row in new:
            if (row["game"], row["player"]) in done:
                continue
            rows.append(row)
            if row.get("mismatch") or row.get("error"):
                print(f"{row['player']} {row['game']}: {row.get('error') or row['mismatch']}", flush=True)
            if settings.out:
                with settings.out.open("a") as stream:
                    stream.write(json.dumps({**row, "settings": identity}) + "\n")

    if settings.jobs == 1:
        for key in missing:
            keep(check_game(key, games[key], settings))
    else:
        # One engine per process: TextWorld's parser and the translator keep global state.
        with ProcessPoolExecutor(settings.jobs, mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(check_game, key, games[key], settings) for key in missing]):
                keep(future.result())
    return 1 if report(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
