"""Generates ALFWorld games offline: the real rooms, objects placed as in real problems, every game with its plan."""

from __future__ import annotations

from agentdistill_alfworld.generate.document import game_document, game_text, problem_text, write_game, write_games
from agentdistill_alfworld.generate.sample import GeneratedGame, game, generate, generate_one
from agentdistill_alfworld.generate.verify import check_plan, initial_facts

__all__ = [
    "GeneratedGame",
    "check_plan",
    "game",
    "game_document",
    "game_text",
    "generate",
    "generate_one",
    "initial_facts",
    "problem_text",
    "write_game",
    "write_games",
]
