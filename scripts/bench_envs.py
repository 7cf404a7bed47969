"""Measures supervised environment processes, then runs the benchmark of every environment that has one.

    python scripts/bench_envs.py [--quick] [--workers-only]

Straggler: eight environments that take 2 ms a step, one of them 50 ms; steps per second of all together, against a
barrier after every step. Kill: a worker process gets SIGKILL in the middle of an episode; seconds until the step that
was asked for is answered, start, replay and check of the replay included, and whether all replies are the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from rich.console import Console
from rich.table import Table

from agentdistill.envs.spaces import Utf8Text
from agentdistill.envs.workers.calls import ResetCall, StepCall
from agentdistill.envs.workers.settings import WorkerSettings
from agentdistill.envs.workers.source import SupervisedSource
from agentdistill.records import Task

SCRIPTS = Path(__file__).resolve().parent
OTHERS = ("alfworld", "webshop", "scienceworld", "textworld", "sandbox")
"""Environments with a benchmark of their own, `bench_NAME.py`."""
COUNT, FAST, SLOW = 8, 0.002, 0.050


class TimedEnv(gymnasium.Env[str, str]):
    """Takes its time for each step and answers with a number."""

    def __init__(self, source: TimedSource) -> None:
        self.action_space = self.observation_space = Utf8Text()
        self._source = source
        self._random = random.Random(0)
        self._seconds = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts; the task "slow" is the straggler's."""
        key = (options or {})["task"].key
        self._seconds = self._source.slow if key == "slow" else self._source.fast
        self._random = random.Random(key)
        return f"You are at {self._random.random()}.", self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Waits, then answers."""
        time.sleep(self._seconds)
        return f"{action}: you are at {self._random.random()}.", 0.0, False, False, self._info()

    def _info(self) -> dict[str, Any]:
        actions = [f"go to shelf {index}" for index in range(20)]
        return {"admissible_actions": actions, "won": False, "score": 0.0, "task": "walk", "valid": True}


@dataclass
class TimedSource:
    """Makes such environments."""

    fast: float = FAST
    slow: float = SLOW
    name: str = "timed"

    def make(self) -> TimedEnv:
        """One environment."""
        return TimedEnv(self)

    def tasks(self, split: str) -> list[Task]:
        """The straggler's task and seven others."""
        return [Task(self.name, split, "slow" if index == 0 else str(index)) for index in range(COUNT)]

    def provenance(self) -> dict[str, Any]:
        """Nothing to say."""
        return {}


def start(source: SupervisedSource) -> list[Any]:
    """Environments at the first observation of their tasks, each in a process of its own."""
    envs = [source.make() for _ in range(COUNT)]
    for env, task in zip(envs, source.tasks("train"), strict=True):
        env.begin(ResetCall(0, {"task": task}))
    for env in envs:
        while not env.settled:
            env.wait(None)
        env.outcome()
    return envs


def straggler(seconds: float, barrier: bool) -> float:
    """Steps per second of eight environments; each is sent its next command as soon as it has answered."""
    source = SupervisedSource(TimedSource(), WorkerSettings(count=COUNT, spares=0))
    envs = start(source)
    steps, began = 0, time.perf_counter()
    for env in envs:
        env.begin(StepCall("go"))
    while time.perf_counter() - began < seconds:
        envs[0].wait(1.0)
        ready = [env for env in envs if env.settled]
        if barrier and len(ready) < len(envs):
            continue
        for env in ready:
            env.outcome()
            env.begin(StepCall("go"))
        steps += len(ready)
    rate = steps / (time.perf_counter() - began)
    source.close()
    return rate


def kills(source: Any, task: Task, rounds: int, length: int) -> tuple[list[float], bool]:
    """Seconds from SIGKILL to the answer of the step it hit, and whether every reply was the same as without it."""
    env = source.make()
    actions, expected = ["look"] * length, []
    expected.append(env.reset(seed=0, options={"task": task}))
    for index in range(length):
        offered = expected[-1][-1]["admissible_actions"]
        actions[index] = offered[index * 7 % len(offered)] if offered else "look"
        expected.append(env.step(actions[index]))
    env.close()
    supervised = SupervisedSource(source, WorkerSettings(count=1, retries=rounds, spares=1))
    remote = supervised.make()
    remote.reset(seed=0, options={"task": task})
    draw, took, same = random.Random(0), [], True
    for _ in range(rounds):
        until = time.monotonic() + 10  # the spare of the last round has been used: normal life lets the next one start
        while time.monotonic() < until and not supervised.pool.spares_ready:
            remote.wait(0.05)
        at, replies = draw.randrange(length), [remote.reset(seed=0, options={"task": task})]
        for index, action in enumerate(actions):
            if index == at:
                os.kill(supervised.pool.pids[0], signal.SIGKILL)
            began = time.perf_counter()
            replies.append(remote.step(action))
            if index == at:
                took.append(time.perf_counter() - began)
        same &= replies == expected
    supervised.close()
    return took, same


def real_game() -> tuple[Any, Task]:
    """A household game: real where $ALFWORLD_DATA is set, generated otherwise."""
    from agentdistill_alfworld.source import AlfworldSource

    source = AlfworldSource()
    tasks = source.tasks("valid_seen" if os.environ.get("ALFWORLD_DATA") else "generated-seen")
    return source, tasks[0]


def workers(console: Console, quick: bool) -> None:
    """Prints what the supervised processes do."""
    seconds, rounds = (1.0, 3) if quick else (4.0, 10)
    table = Table(title=f"{COUNT} environments of {FAST * 1e3:g} ms, one straggler of {SLOW * 1e3:g} ms")
    for name in ("", "steps/s"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("no barrier", f"{straggler(seconds, barrier=False):,.0f}")
    table.add_row("barrier", f"{straggler(seconds, barrier=True):,.0f}")
    console.print(table)
    table = Table(title="SIGKILL in the middle of a 20-step episode, until its step is answered")
    for name in ("environment", "kills", "median", "longest", "replies"):
        table.add_column(name, justify="left" if name == "environment" else "right")
    toy = TimedSource()
    for name, (source, task) in {"2 ms": (toy, toy.tasks("train")[1]), "ALFWorld, real engine": real_game()}.items():
        took, same = kills(source, task, rounds, 20)
        verdict = "all the same" if same else "DIFFERENT"
        table.add_row(name, str(rounds), f"{statistics.median(took):.2f} s", f"{max(took):.2f} s", verdict)
    console.print(table)


def main() -> int:
    """Runs everything; the exit status is that of the worst part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter, less exact")
    parser.add_argument("--workers-only", action="store_true", help="leave the environments' own benchmarks out")
    arguments = parser.parse_args()
    console = Console()
    load = f"load {os.getloadavg()[0]:.1f}"
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}")
    workers(console, arguments.quick)
    worst = 0
    for name in () if arguments.workers_only else OTHERS:
        script = SCRIPTS / f"bench_{name}.py"
        console.rule(name)
        if not script.is_file():
            console.print(f"scripts/{script.name} is not there: {name} was not measured")
            continue
        command = [sys.executable, str(script), *(["--quick"] if arguments.quick else [])]
        worst = max(worst, abs(subprocess.run(command, check=False).returncode))
    return worst


if __name__ == "__main__":
    # Workers import the environments by the module's name, which `__main__` is not.
    sys.path.insert(0, str(SCRIPTS))
    import bench_envs

    sys.exit(bench_envs.main())
