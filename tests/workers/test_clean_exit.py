"""Nothing is left behind: not after the end, not after Ctrl-C, not after SIGKILL of the run itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_world import alive, descendants, gone

HERE = Path(__file__).parent

PROGRAM = """
import sys, threading, time
from worker_world import MazeSource, supervised, task
source = supervised(MazeSource(), count=3, spares=1, step_seconds=600.0)
envs = [source.make() for _ in range(3)]
for env in envs:
    env.reset(seed=1, options={"task": task("child")})
    for _ in range(3):
        env.step("go")
while not source.pool._spares:
    envs[0].reset(seed=1, options={"task": task("0")})
    time.sleep(0.05)
last = source.make()
last.reset(seed=1, options={"task": task("spin")})
last.step("go"), last.step("go")
print("ready", flush=True)
"""
ENDS = {
    "ends": "",
    "sys.exit": "sys.exit(3)",
    "raises": "raise RuntimeError",
    "works": 'last.step("go")',
}


def start(end: str, tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + ENDS[end]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    pids = descendants(process.pid) if end == "works" else []
    return process, pids


@pytest.mark.parametrize("end", ["ends", "sys.exit", "raises"])
def test_a_program_that_ends_takes_its_workers_along(end: str, tmp_path: Path) -> None:
    process, _ = start(end, tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == {"ends": 0, "sys.exit": 3, "raises": 1}[end]
    assert not list(tmp_path.iterdir())
    left = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_stopped_or_killed_leaves_no_process_and_no_file(how: signal.Signals, tmp_path: Path) -> None:
    process, pids = start("works", tmp_path)
    assert len(pids) >= 3 + 1 + 3 + 1, "workers, a spare, their children, the janitor"
    assert all(alive(pid) for pid in pids) and list(tmp_path.iterdir())
    time.sleep(0.1)
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: every process of the group
    else:
        process.send_signal(how)
    process.communicate(timeout=60)
    assert gone(pids, 10.0)
    until = time.monotonic() + 5
    while list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())


def test_workers_start_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['']; import agentdistill.envs.workers.child, worker_world; "
        "assert not {'torch', 'transformers'} & sys.modules.keys(), sorted(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
