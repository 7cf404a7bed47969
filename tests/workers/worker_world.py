"""A toy world for worker processes: what each of its environments does wrong is in the task's key."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from agentdistill.envs.spaces import Utf8Text
from agentdistill.envs.workers.settings import WorkerSettings
from agentdistill.envs.workers.source import SupervisedSource
from agentdistill.records import Task

LENGTH = 8
LEAK: list[bytearray] = []


class MazeEnv(gym.Env[str, str]):
    """Every command changes a number; the observation tells it. `step 3` of a task may do something bad."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, source: MazeSource) -> None:
        self.source = source
        self.action_space = self.observation_space = Utf8Text()
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        task = (options or {}).get("task")
        self.key = task.key if isinstance(task, Task) else str(task or "plain")
        self.random = random.Random(f"{self.key} {seed}")
        self.taken = 0
        if self.key.startswith("reset-dies") and self.source.once(self.key):
            os._exit(9)
        return f"start {self.random.random()}", self.info()

    def info(self) -> dict[str, Any]:
        won = self.taken >= LENGTH
        return {
            "admissible_actions": ["go", f"turn {self.taken}"],
            "won": won,
            "score": float(self.taken),
            "task": "walk",
            "valid": True,
            "expert_action": None if won else "go",
        }

    def step(self, action: str) -> Any:
        self.taken += 1
        if self.source.seconds:
            time.sleep(self.source.seconds * (self.source.straggler if self.key.startswith("slow") else 1))
        while self.key == "wait" and not Path(self.source.log, "open").exists():
            time.sleep(0.005)
        if self.taken == 3:
            bad = self.misbehave(action)
            if bad is not None:
                return bad
        text = f"{self.taken}: {action} {self.random.random()}"
        return text, float(self.taken == LENGTH), self.taken >= LENGTH, False, self.info()

    def misbehave(self, action: str) -> Any:
        kind, _, mode = self.key.partition("/")
        if mode == "once" and not self.source.once(self.key):
            return None
        if kind == "hang":
            while True:
                time.sleep(1)
        if kind == "spin":
            while True:
                pass
        if kind == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if kind == "raise":
            raise RuntimeError("the floor gave way")
        if kind == "leave":
            sys.exit(4)
        if kind == "exit":
            print("I am done with this", flush=True)
            os._exit(3)
        if kind == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == "leak":
            while True:
                LEAK.append(bytearray(b"x" * (16 << 20)))
                time.sleep(0.01)
        if kind == "print":
            print("shouting " * 500_000)
            os.write(1, b"to the file descriptor, too\n")
        if kind == "big":
            return "x" * (10 << 20), 0.0, False, False, self.info()
        if kind == "huge":
            return "x" * (300 << 20), 0.0, False, False, self.info()
        if kind == "unicode":
            return f"{action}\ud800\0\u2028é漢🙂", 0.0, False, False, self.info()
        if kind == "child":
            subprocess.Popen(["sleep", "1000"])
            Path(tempfile.mkdtemp(), "left").write_text("over")
        return {
            "four": ("text", 0.0, False, self.info()),
            "bytes": (b"text", 0.0, False, False, self.info()),
            "noinfo": ("text", 0.0, False, False, None),
            "reward": ("text", "lots", False, False, self.info()),
            "lambda": ("text", 0.0, False, False, {**self.info(), "f": lambda: 0}),
        }.get(kind)

    def close(self) -> None:
        if self.source.log:
            with Path(self.source.log, "closed").open("a") as log:
                log.write(f"{os.getpid()}\n")
        self.closed = True


@dataclass
class MazeSource:
    """Makes mazes. `log` is a folder where something that happens once is remembered across processes."""

    log: str = ""
    seconds: float = 0.0
    straggler: float = 25.0
    random_seed: int | None = None
    name: str = "maze"
    options: dict[str, Any] = field(default_factory=dict)

    def once(self, key: str) -> bool:
        path = Path(self.log, key.replace("/", "-"))
        if path.exists():
            return False
        path.touch()
        return True

    def make(self) -> MazeEnv:
        return MazeEnv(self)

    def tasks(self, split: str) -> list[Task]:
        return [task(str(index)) for index in range(20)]

    def provenance(self) -> dict[str, Any]:
        return {"maze": 1}


class BrokenSource(MazeSource):
    """Cannot be set up in another process."""

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise ImportError("no module named jericho")


class DyingSource(MazeSource):
    """Kills every process that sets it up."""

    def __reduce__(self) -> Any:
        return os._exit, (5,)


def task(key: str, seed: int = 7) -> Task:
    return Task("maze", "train", key, seed=seed)


def supervised(source: Any = None, **settings: Any) -> SupervisedSource:
    given = {"count": 1, "step_seconds": 10.0, "reset_seconds": 30.0, "spares": 0, **settings}
    return SupervisedSource(source or MazeSource(), WorkerSettings(**given))


def walk(env: Any, key: str, steps: int = LENGTH, **options: Any) -> list[Any]:
    """An episode's replies."""
    replies = [env.reset(seed=7, options={"task": task(key), "expert": True, **options})]
    for index in range(steps):
        replies.append(env.step(f"go {index}"))
    return replies


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Every process below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Whether processes end within that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False
