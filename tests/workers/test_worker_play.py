"""Episodes played with workers: the same as in one process, whatever dies, and nobody waits for a straggler."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine, exactly, played
from tiny import tiny_model
from worker_world import LENGTH, MazeSource, supervised, task

from agentdistill.envs.workers.settings import WorkerSettings
from agentdistill.envs.workers.source import SupervisedSource
from agentdistill.records import EpisodePlan, StopReason, Trajectory, trainable_tokens
from agentdistill.rollout.play import EpisodeRequest
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.source import AlfworldSource
from agentdistill_engines.hf import HfConfig, HfEngine


class Killer:
    """Kills random workers at random moments, while the block runs; not for ever, starting takes time, too."""

    def __init__(self, source: SupervisedSource, seconds: float, kills: int = 5, seed: int = 0) -> None:
        self.most = kills
        self.source, self.seconds, self.random = source, seconds, random.Random(seed)
        self.kills = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self.random.uniform(0.2, 1.0) * self.seconds):
            # Only those that play: starting takes long on a busy machine, and one that never starts is an error.
            pids = [process.pid for process in self.source.pool._processes if process.ready]
            if pids and self.kills < self.most:
                os.kill(self.random.choice(pids), signal.SIGKILL)
                self.kills += 1

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()


def requests(count: int) -> list[EpisodeRequest]:
    plans = [EpisodePlan(), EpisodePlan(prefix=("go 0", "go 1", "go 2")), EpisodePlan(horizon=5)]
    return [EpisodeRequest(task(str(i), seed=i), plans[i % 3], seed=i) for i in range(count)]


@pytest.mark.parametrize("ordered", [True, False])
def test_workers_play_what_one_process_plays_whoever_is_killed(ordered: bool) -> None:
    batch = requests(40)
    expected = exactly(played(MazeSource(), batch, concurrency=8))
    source = supervised(MazeSource(seconds=0.02), count=3, retries=1000, spares=1)
    with Killer(source, 0.4) as killer:
        while killer.kills < 4:
            assert exactly(played(source, batch, concurrency=8, ordered=ordered)) == expected
    assert source.counts["died"] >= 3 and source.counts["given up"] == 0
    source.close()


@pytest.mark.parametrize(("engine", "seconds"), [("fast", 0.3), ("real", 2.5)])
def test_real_games_are_played_the_same_to_the_last_bit_whoever_is_killed(
    alfworld_data: Path, monkeypatch: pytest.MonkeyPatch, engine: str, seconds: float
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    games = AlfworldSource(AlfworldConfig.model_validate({"engine": engine}))
    tasks = games.tasks("valid_seen")[3:7]
    batch = [EpisodeRequest(tasks[i % len(tasks)], seed=i, sample=i // len(tasks)) for i in range(6)]
    settings = {"max_steps": 8, "max_new_tokens": 40, "constrained": True, "concurrency": 4, "want_expert": True}
    model = tiny_model(seed=1, max_position_embeddings=16384)

    def student() -> HfEngine:
        return HfEngine(HfConfig(), SimpleNamespace(model=model))

    expected = exactly(played(games, batch, student(), **settings))
    source = SupervisedSource(games, WorkerSettings(count=2, retries=1000, spares=1))
    with Killer(source, seconds, kills=3) as killer:
        while not killer.kills or not source.counts["tried again"]:
            assert exactly(played(source, batch, student(), **settings)) == expected
    assert source.counts["died"] >= 1 and source.counts["given up"] == 0
    source.close()


def test_a_straggler_holds_up_nobody(tmp_path: Path) -> None:
    """One environment does not answer before every other episode is over: a barrier would never get there."""
    source = supervised(MazeSource(str(tmp_path)), count=4, step_seconds=300.0)
    batch = [EpisodeRequest(task("wait" if i == 0 else str(i)), seed=i) for i in range(10)]
    over: list[int] = []

    def landed(trajectory: Trajectory) -> None:
        over.append(trajectory.seed)
        if len(over) == 9:
            (tmp_path / "open").touch()

    trajectories = played(source, batch, on_episode=landed, concurrency=4, ordered=False)
    source.close()
    assert over[-1] == 0 and sorted(over) == list(range(10))
    assert [trajectory.seed for trajectory in trajectories] == list(range(10))
    assert exactly(trajectories) == exactly(played(MazeSource(str(tmp_path)), batch, concurrency=4))


def test_batches_are_filled_as_long_as_sampling_takes() -> None:
    source = supervised(MazeSource(seconds=0.002), count=4)
    batch = [EpisodeRequest(task(str(i)), seed=i) for i in range(4)]
    engine = ScriptedEngine(0.25)
    played(source, batch, engine, concurrency=4, max_steps=1)  # processes are up
    engine.batches.clear()
    played(source, batch, engine, concurrency=4, ordered=False)
    source.close()
    assert sum(len(sessions) == 4 for sessions in engine.batches) >= LENGTH - 2


def test_what_cannot_be_mended_is_aborted_counted_and_not_trained_on(tmp_path: Path) -> None:
    keys = ["0", "exit", "1", "raise", "four", "2"]
    source = supervised(MazeSource(str(tmp_path)), count=2, retries=1)
    trajectories = played(
        source, [EpisodeRequest(task(key), seed=i) for i, key in enumerate(keys)], concurrency=3, ordered=False
    )
    source.close()
    stops = {key: trajectory.stop for key, trajectory in zip(keys, trajectories, strict=True)}
    assert {key for key, stop in stops.items() if stop is StopReason.ABORTED} == {"exit", "raise", "four"}
    for key in ("exit", "raise", "four"):
        trajectory = trajectories[keys.index(key)]
        assert trainable_tokens([trajectory]) == 0 and trajectory.rows and not trajectory.success
        assert trajectory.meta["error"].startswith("EnvironmentFailure: ")
    assert trajectories[0].success
    assert not source.counts
