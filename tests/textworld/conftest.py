"""Fixtures of the TextWorld tests: one small set of games for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.env import TextWorldEnv
from agentdistill_textworld.source import TextWorldSource


@pytest.fixture(scope="session")
def games() -> TextWorldSource:
    """Five games, one of each kind."""
    return TextWorldSource(TextWorldConfig(train=5))


@pytest.fixture
def env(games: TextWorldSource) -> Iterator[TextWorldEnv]:
    """An environment over the five games."""
    made = games.make()
    yield made
    made.close()
