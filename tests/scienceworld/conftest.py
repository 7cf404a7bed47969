"""One JVM for all ScienceWorld tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.env import ScienceWorldEnv
from agentdistill_scienceworld.source import ScienceWorldSource


@pytest.fixture(scope="session")
def env(own_cache: Path) -> Iterator[ScienceWorldEnv]:
    """An environment of two quick tasks; as long as it lives, so does the JVM."""
    made = ScienceWorldSource(ScienceWorldConfig(tasks=("find-plant", "melt"))).make()
    made.reset(options={"task": "find-plant/0"})
    yield made
    made.close()
