"""Generates ALFWorld games offline: the real rooms, objects placed as in real problems, every game with its plan."""

from __future__ import annotations

from agentdistill_alfworld.generate.sample import GeneratedGame, game, generate, generate_one

__all__ = ["GeneratedGame", "game", "generate", "generate_one"]
