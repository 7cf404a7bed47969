"""The environments of this repository in worker processes: the same answers as in one, whatever is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_world import descendants, gone

from agentdistill.envs.workers.settings import WorkerSettings
from agentdistill.envs.workers.source import SupervisedSource
from agentdistill.records import Task
from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.source import ScienceWorldSource
from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.source import TextWorldSource
from agentdistill_tools.config import ToolsConfig
from agentdistill_tools.formats import write_call
from agentdistill_tools.source import ToolsSource
from agentdistill_webshop.config import GeneratedConfig, WebshopConfig
from agentdistill_webshop.source import WebshopSource

MAKERS: dict[str, Callable[[], Any]] = {
    "webshop": lambda: WebshopSource(WebshopConfig(generated=GeneratedConfig(products=420))),
    "textworld": lambda: TextWorldSource(TextWorldConfig(train=2)),
    "scienceworld": lambda: ScienceWorldSource(ScienceWorldConfig(tasks=("find-plant",))),
    "tools": lambda: ToolsSource(ToolsConfig(families=("gcd", "chain_sum"))),
}
TURNS = 5


@pytest.fixture(params=list(MAKERS))
def plain(request: pytest.FixtureRequest) -> Any:
    """A source whose environments live in this process."""
    return MAKERS[request.param]()


@pytest.fixture
def supervised(plain: Any) -> Iterator[SupervisedSource]:
    """The same source with two worker processes."""
    source = SupervisedSource(plain, WorkerSettings(count=2, retries=5, spares=0))
    yield source
    source.close()


def play(env: Any, task: Task, before_turn: Callable[[int], None] = lambda turn: None) -> list[object]:
    """The first turns of an episode as the expert plays it."""
    seen: list[Any] = [env.reset(seed=3, options={"task": task, "expert": True})]
    for turn in range(TURNS):
        before_turn(turn)
        seen.append(env.step(seen[-1][-1]["expert_action"]))
        if seen[-1][2] or seen[-1][3]:
            break
    return seen


def java(source: SupervisedSource) -> list[int]:
    """The Java processes of its workers."""
    below = [pid for worker in source.pool.pids for pid in descendants(worker)]
    return [pid for pid in below if b"java" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]]


@pytest.mark.slow
def test_two_workers_answer_as_one_process_does_also_when_they_are_killed(
    plain: Any, supervised: SupervisedSource
) -> None:
    tasks = plain.tasks(plain.config.split)[:2]
    alone = plain.make()
    expected = [play(alone, task) for task in tasks]
    alone.close()
    envs = [supervised.make() for _ in tasks]
    assert [play(env, task) for env, task in zip(envs, tasks, strict=True)] == expected
    below: list[int] = []

    def kill(turn: int) -> None:
        if turn == 1:
            for pid in supervised.pool.pids:
                below.extend(descendants(pid))
                os.kill(pid, signal.SIGKILL)

    assert [play(env, task, kill) for env, task in zip(envs, tasks, strict=True)] == expected
    assert supervised.counts["died"] >= 2 and supervised.counts["given up"] == 0
    for env in envs:
        env.close()
    supervised.close()
    assert gone(below, 30.0)


@pytest.mark.slow
@pytest.mark.parametrize("plain", ["scienceworld"], indirect=True)
def test_a_java_that_is_killed_in_a_worker_is_not_seen(plain: Any, supervised: SupervisedSource) -> None:
    (task, *_) = plain.tasks("train")
    env = supervised.make()
    expected = play(env, task)
    killed: list[int] = []

    def kill(turn: int) -> None:
        if turn == 2:
            killed.extend(java(supervised))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    assert play(env, task, kill) == expected
    assert killed and supervised.counts["tried again"] >= 1 and supervised.counts["given up"] == 0
    left = java(supervised)
    env.close()
    supervised.close()
    assert left and gone(left, 30.0)


@pytest.mark.slow
def test_a_tool_that_hangs_in_a_worker_is_an_observation() -> None:
    tools = ToolsSource(ToolsConfig(families=("gcd",), tools=("calculator", "worker_tools:waits"), tool_seconds=1.0))
    source = SupervisedSource(tools, WorkerSettings(count=1, spares=0))
    env = source.make()
    env.reset(options={"task": tools.tasks("train")[0]})
    observation, *_, info = env.step(write_call("waits", {}, "hermes"))
    assert "took longer than 1 s and was stopped" in observation and info["tool_errors"] == 1 and info["valid"]
    observation, *_ = env.step(write_call("calculator", {"expression": "6*7"}, "hermes"))
    assert "42" in observation
    assert source.counts["died"] == 0
    below = [pid for worker in source.pool.pids for pid in descendants(worker)]
    env.close()
    source.close()
    assert gone(below)
