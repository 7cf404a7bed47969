"""Fixtures of the TextWorld tests: a cache of their own, and one small set of games for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.env import TextWorldEnv
from agentdistill_textworld.source import TextWorldSource


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder that starts empty and that no user shares."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTDISTILL_CACHE", str(folder))
        yield folder


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
