"""What can be done, and what an expert would do, in the games whose rules are simple enough to say."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_DIRECTIONS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@dataclass(frozen=True, slots=True)
class Moves:
    """A family of games.

    Attributes:
        listed: TextArena's environment -> moves that the rules allow now; empty when they are not listed.
        advice: TextArena's environment -> the expert's move.
    """

    listed: Callable[[Any], list[str]]
    advice: Callable[[Any], str]


def _numbers(game: Any) -> list[str]:
    return [f"[{n}]" for n in range(game.min_number, game.max_number + 1) if n not in game.guessed_numbers]


def _bisect(game: Any) -> str:
    """Halves what the hints have left: it knows no more than the player."""
    low, high = game.min_number, game.max_number
    for guess, told in game.state.game_state["guess_history"]:
        low, high = (max(low, guess + 1), high) if told == "higher" else (low, min(high, guess - 1))
    return f"[{(low + high) // 2}]"


def _steps(game: Any) -> list[str]:
    row, column = game.state.game_state["player_pos"]
    inside = range(game.size)
    return [f"[{name}]" for name, (r, c) in _DIRECTIONS.items() if row + r in inside and column + c in inside]


def _walk(game: Any) -> str:
    """The first step of a shortest way around the holes."""
    state = game.state.game_state
    grid, start, goal = state["grid"], tuple(state["player_pos"]), tuple(state["goal_pos"])
    queue: deque[tuple[tuple[int, int], str]] = deque([(start, "")])
    seen = {start}
    while queue:
        (row, column), first = queue.popleft()
        if (row, column) == goal:
            return f"[{first}]"
        for name, (r, c) in _DIRECTIONS.items():
            cell = (row + r, column + c)
            if cell in seen or not all(0 <= x < game.size for x in cell) or grid[cell[0]][cell[1]] == "H":
                continue
            seen.add(cell)
            queue.append((cell, first or name))
    raise ValueError("TextArena made a lake without a way across")


def _disks(game: Any) -> list[str]:
    towers = game.state.game_state["towers"]
    return [
        f"[{source} {target}]"
        for source, target in itertools.permutations(towers, 2)
        if towers[source] and (not towers[target] or towers[target][-1] > towers[source][-1])
    ]


def _shift(game: Any) -> str:
    """The next move of a shortest solution from any position, by the position of the largest misplaced disk."""
    towers = game.state.game_state["towers"]
    where = {disk: name for name, disks in towers.items() for disk in disks}
    target, move = "C", ""
    for disk in range(game.num_disks, 0, -1):
        if where[disk] != target:
            move = f"[{where[disk]} {target}]"
            (target,) = {"A", "B", "C"} - {where[disk], target}
    return move


def _pegs(guess: Sequence[int], code: Sequence[int]) -> tuple[int, int]:
    black = sum(a == b for a, b in zip(guess, code, strict=True))
    common = sum(min(list(guess).count(n), list(code).count(n)) for n in sorted(set(guess)))
    return black, common - black


def _consistent(game: Any) -> str:
    """The first code that agrees with every answer so far: it knows no more than the player."""
    state = game.state.game_state
    digits = range(1, state["num_numbers"] + 1)
    length = state["code_length"]
    codes = (
        itertools.product(digits, repeat=length)
        if state["duplicate_numbers"]
        else itertools.permutations(digits, length)
    )
    history = [(tuple(entry["guess"]), (entry["black"], entry["white"])) for entry in state["history"]]
    code = next(code for code in codes if all(_pegs(guess, code) == told for guess, told in history))
    return f"[{' '.join(map(str, code))}]"


MOVES: dict[str, Moves] = {
    "FrozenLake": Moves(_steps, _walk),
    "GuessTheNumber": Moves(_numbers, _bisect),
    "Mastermind": Moves(lambda game: [], _consistent),
    "TowerOfHanoi": Moves(_disks, _shift),
}
"""By family of games, the part of an id before its first hyphen."""
