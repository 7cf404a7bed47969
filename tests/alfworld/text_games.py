"""Real games for the tests of what reads text."""

from __future__ import annotations

from pathlib import Path

from agentdistill_alfworld.data import disk_split
from agentdistill_alfworld.game import Game, parse_problem


def real_games(split: str, root: Path) -> list[Game]:
    """All games of a split on disk, as plain facts."""
    games = []
    for file in disk_split(split, root).games:
        text = file.text()
        games.append(parse_problem(text.problem, text.goal, file.key))
    return games
