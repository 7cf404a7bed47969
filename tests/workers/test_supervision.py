"""What environments do wrong, in real processes: hang, die, leak, shout, break the API."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_world import (
    LENGTH,
    BrokenSource,
    DyingSource,
    MazeSource,
    alive,
    descendants,
    gone,
    supervised,
    task,
    walk,
)

from agentdistill.envs.check import check_environment
from agentdistill.envs.workers.settings import WorkerSettings
from agentdistill.envs.workers.source import SupervisedSource
from agentdistill.errors import ConfigError, EnvironmentFailure, PluginError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedSource]:
    log = str(tmp_path_factory.mktemp("log"))
    source = supervised(MazeSource(log), step_seconds=1.0, heartbeat_seconds=60.0, retries=1)
    yield source
    source.close()


def test_a_worker_answers_as_the_environment_itself_does(source: SupervisedSource) -> None:
    env = source.make()
    assert walk(env, "0") == walk(MazeSource().make(), "0")
    assert walk(env, "1") == walk(MazeSource().make(), "1")
    env.close()
    assert source.make() is env, "environments are used again"
    assert len(source.pool.pids) == 1
    assert source.provenance() == {"maze": 1} and source.name == "maze" and source.options == {}


@pytest.mark.parametrize("kind", ["hang", "spin", "stop", "raise", "leave", "exit", "segfault", "reset-dies"])
def test_what_goes_wrong_once_does_not_show(source: SupervisedSource, kind: str) -> None:
    key = f"{kind}/once"
    before = source.counts["tried again"]
    env = source.make()
    replies = walk(env, key)
    assert source.counts["tried again"] > before, "it did go wrong"
    assert replies == walk(MazeSource(source.log).make(), key), "the flag is set: now it goes right"
    env.close()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raise", "RuntimeError: the floor gave way"),
        ("leave", "SystemExit: 4"),
        ("exit", r"ended at step 2 of 'exit' \(exit code 3; its last words: 'I am done with this'\).*tried 2 times"),
        ("hang", r"did not answer within 1 s at step 2 of 'hang' \(signal 9\)"),
        ("four", r"step\(\) breaks the Gymnasium API. It returned a tuple of 4 instead of \(observation, reward"),
        ("bytes", "The observation is of type bytes, not text"),
        ("noinfo", "info is of type NoneType, not a dict"),
        ("reward", "The reward is 'lots', not a number"),
        ("lambda", "cannot be sent: .*Return plain data"),
    ],
)
def test_what_always_goes_wrong_is_given_up_and_says_why(source: SupervisedSource, kind: str, message: str) -> None:
    env = source.make()
    with pytest.raises(EnvironmentFailure, match=message):
        walk(env, kind)
    env.close()
    assert walk(source.make(), "0") == walk(MazeSource().make(), "0")


def test_prints_big_replies_and_big_actions_and_any_text_get_through(tmp_path: Path) -> None:
    source = supervised(MazeSource(str(tmp_path)), step_seconds=60.0)  # how fast they do is another question
    for key in ("print", "big", "unicode"):
        assert walk(source.make(), key) == walk(MazeSource(source.log).make(), key)
    env = source.make()
    for action in ("a" * (1 << 20), "漢🙂\ud83d\0\n\u2028", ""):
        env.reset(seed=1, options={"task": task("0")})
        assert env.step(action)[0].startswith(f"1: {action} ")
    source.close()


def test_a_worker_that_does_not_even_read_blocks_nobody(source: SupervisedSource) -> None:
    env = source.make()
    env.reset(seed=7, options={"task": task("0"), "expert": True})
    os.kill(source.pool.pids[0], signal.SIGSTOP)
    began = time.monotonic()
    observation = env.step("b" * (8 << 20))[0]
    assert observation.startswith("1: bbb") and time.monotonic() - began < 60


def test_no_sign_of_life_is_noticed_long_before_the_deadline() -> None:
    source = supervised(step_seconds=600.0, heartbeat_seconds=1.5)
    env = source.make()
    first = walk(env, "0")
    os.kill(source.pool.pids[0], signal.SIGSTOP)
    began = time.monotonic()
    assert walk(env, "0") == first and time.monotonic() - began < 60
    assert source.counts == {"died": 1, "tried again": 1}
    source.close()


def test_a_dead_worker_is_back_within_two_seconds() -> None:
    source = supervised(spares=1)
    env = source.make()
    expected = walk(env, "0")
    other = source.make()

    def wait_for_the_spare() -> None:
        until = time.monotonic() + 30
        while not (source.pool._spares and source.pool._spares[0].ready) and time.monotonic() < until:
            other.reset(seed=7, options={"task": task("0")})
            time.sleep(0.05)

    replies = [env.reset(seed=7, options={"task": task("0"), "expert": True})]
    for index in range(LENGTH):
        if index in (2, 6):
            wait_for_the_spare()
            os.kill(source.pool.pids[0], signal.SIGKILL)
            began = time.monotonic()
        replies.append(env.step(f"go {index}"))
        if index in (2, 6):
            assert time.monotonic() - began < 2.0
    assert replies == expected and source.counts["died"] == 2
    source.close()


def test_a_leak_is_stopped_before_it_takes_the_machine(tmp_path: Path) -> None:
    source = supervised(MazeSource(str(tmp_path)), step_seconds=60.0, retries=1, memory_mb=200)
    env = source.make()
    replies = walk(env, "leak/once")
    assert source.counts == {"died": 1, "tried again": 1}
    assert replies == walk(MazeSource(str(tmp_path)).make(), "leak/once")
    with pytest.raises(EnvironmentFailure, match=r"memory limit; its last words: '\d+ MiB resident memory, 200 allow"):
        walk(env, "leak")
    source.close()


def test_neighbours_of_one_that_dies_are_not_blamed(tmp_path: Path) -> None:
    source = supervised(MazeSource(str(tmp_path)), retries=0)
    good, bad = source.make(), source.make()
    for env, key in ((good, "0"), (bad, "exit")):
        env.reset(seed=7, options={"task": task(key), "expert": True})
        env.step("go 0"), env.step("go 1")
    with pytest.raises(EnvironmentFailure, match="exit code 3"):
        bad.step("go 2")
    rest = [good.step(f"go {index}") for index in range(2, LENGTH)]
    assert rest == walk(MazeSource().make(), "0")[3:] and good.tries == 0
    source.close()


def test_a_replay_that_goes_another_way_is_an_error() -> None:
    source = supervised()
    env = source.make()
    env.reset(seed=None, options={"task": "other"})
    env.step("go")
    env._replies[1] = ("something else", *env._replies[1][1:])
    os.kill(source.pool.pids[0], signal.SIGKILL)
    with pytest.raises(EnvironmentFailure, match="diverged after action 1"):
        env.step("go")
    source.close()


@pytest.mark.parametrize(
    ("broken", "message"),
    [(BrokenSource(), "ImportError: no module named jericho"), (DyingSource(), "in a row did not start.*exit code 5")],
)
def test_a_source_that_cannot_be_set_up_stops_the_run(broken: MazeSource, message: str) -> None:
    before, source = set(descendants(os.getpid())), supervised(broken)
    with pytest.raises(PluginError, match=message):
        source.make().reset(seed=1, options={"task": task("0")})
    source.close()
    assert gone([*(set(descendants(os.getpid())) - before)])


def test_a_source_that_cannot_be_pickled_says_so() -> None:
    source = supervised(MazeSource(options={"f": lambda: 0}))
    with pytest.raises(ConfigError, match=r"cannot be sent to worker processes.*env\.workers\.count = 0"):
        source.make()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"step_seconds": 0.0}, {"retries": -1}, {"memory_mb": -5}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"env\.workers"):
        WorkerSettings(**wrong)


def test_closing_closes_environments_and_leaves_nothing(tmp_path: Path) -> None:
    others = set(descendants(os.getpid()))
    source = supervised(MazeSource(str(tmp_path)), count=2, spares=1)
    envs = [source.make() for _ in range(4)]
    for env in envs:
        walk(env, "child")
    directory, pids = source.pool._janitor.directory, [p for p in descendants(os.getpid()) if p not in others]
    assert list(directory.rglob("left")), "the environments wrote temporary files"
    assert len(pids) >= 2 + 4 + 1
    source.close()
    assert gone(pids) and not directory.exists()
    assert len((tmp_path / "closed").read_text().splitlines()) == 4
    source.close()
    assert walk(source.make(), "0"), "it can be used again"
    pid = source.pool.pids[0]
    del source, envs, env
    assert not alive(pid), "and ends with its last user"


def test_the_whole_conformance_kit_passes_through_workers() -> None:
    source = supervised(count=2)
    local = {result.name: result.passed for result in check_environment(MazeSource(), "train")}
    remote = {result.name: result.passed for result in check_environment(source, "train")}
    assert local == remote
    source.close()
