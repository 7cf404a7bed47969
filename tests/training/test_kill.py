"""SIGKILL at any moment: the resumed run ends in the very weights of one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEPS = 6


def start(recipe: Path, directory: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agentdistill", "train", str(recipe), "--output", str(directory), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


def steps_logged(directory: Path) -> int:
    file = directory / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(recipe: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(recipe, whole))
    rng = random.Random(7)
    for kill_after in (0, 1, 3, 5):
        process = start(recipe, broken, *(["--resume"] if (broken / "checkpoints").exists() else []))
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            ready = (broken / "checkpoints" / "step-000000").exists() and steps_logged(broken) >= kill_after
            if ready:
                time.sleep(rng.uniform(0, 0.15))
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(recipe, broken, "--resume"))
    for name in ("model.safetensors", "config.json"):
        assert (whole / "student" / name).read_bytes() == (broken / "student" / name).read_bytes()
    assert steps_logged(whole) == steps_logged(broken) == STEPS
    from agentdistill.store import TrajectoryStore

    episodes = [[(t.task.key, t.policy_version, t.steps[0].response) for t in TrajectoryStore(d / "episodes").read()]
                for d in (whole, broken)]  # fmt: skip
    assert episodes[0] == episodes[1]
