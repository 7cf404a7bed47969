"""One real server of the starter teacher for all tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import STARTERS, Server, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The starter teacher, served in float32 with up to 64 log-probabilities; nobody may change it.

    It is started by `vllm serve`; the other servers of these tests, and those that runs start, by `python -m`.
    """
    log = tmp_path_factory.mktemp("server") / "server.log"
    with running(STARTERS / "teacher", log, "--served-model-name", "starter-teacher", serve=True) as made:
        yield made
