"""`agentdistill train tcod-alfworld starter --teacher.type vllm` against the real server, which goes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from served import Server, gate

pytestmark = pytest.mark.vllm

STEPS = 4
# One request at a time: what a server computes for a row may depend, in the last digits, on the rows beside it.
OPTIONS = (
    "--optim.steps", str(STEPS), "--rollout.tasks_per_step", "4", "--eval.panel", "false", "--run.self_test", "false",
    "--teacher.type", "vllm", "--teacher.concurrency", "1", "--teacher.cache", "off",
)  # fmt: skip


def train(url: str, output: Path, *more: str) -> subprocess.Popen[str]:
    """The command line's own run, in a process of its own."""
    command = [sys.executable, "-m", "agentdistill", "train", "tcod-alfworld", "starter", *OPTIONS]
    return subprocess.Popen(
        [*command, "--teacher.url", url, "--output", str(output), *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def finished(run: subprocess.Popen[str]) -> str:
    text, _ = run.communicate(timeout=900)
    assert run.returncode == 0, text
    return text


def weights(output: Path) -> bytes:
    return (output / "student" / "model.safetensors").read_bytes()


def metrics(output: Path) -> list[dict[str, float]]:
    path = output / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until_step(output: Path, run: subprocess.Popen[str], step: int) -> None:
    while len(metrics(output)) < step:
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    text = finished(train(server.url, output))
    assert "serves starter-teacher" in text and "scored twice, in another order" in text
    assert [line["step"] for line in metrics(output)] == list(range(1, STEPS + 1))
    return output


def test_a_connection_that_breaks_for_seconds_changes_nothing(server: Server, undisturbed: Path, tmp_path: Path):
    output = tmp_path / "run"
    with gate(server.port) as door:
        run = train(door.url, output, "--teacher.rest", "0.5")
        until_step(output, run, 1)
        door.close_for(4.0)
        text = finished(run)
    assert weights(output) == weights(undisturbed)
    assert "does not answer" in text and "answers again after" in text
    assert sum(line["teacher/outages"] for line in metrics(output)) >= 1
    assert [line["loss"] for line in metrics(output)] == [line["loss"] for line in metrics(undisturbed)]


def test_a_run_without_patience_stops_and_is_resumed(server: Server, undisturbed: Path, tmp_path: Path):
    output = tmp_path / "run"
    with gate(server.port) as door:
        run = train(door.url, output, "--teacher.patience", "1")
        until_step(output, run, 1)
        door.close()
        text, _ = run.communicate(timeout=300)
        assert run.returncode == 2 and "has not answered for 1 s" in text and "--resume goes on from there" in text
        assert "Traceback" not in text
        door.open()
        finished(train(door.url, output, "--teacher.patience", "1", "--resume"))
    assert weights(output) == weights(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_server_killed_for_twenty_seconds_in_the_middle(server: Server, undisturbed: Path, tmp_path: Path):
    output = tmp_path / "run"
    run = train(server.url, output)
    until_step(output, run, 1)
    server.kill()
    time.sleep(20)
    server.start()
    server.wait()
    text = finished(run)
    assert weights(output) == weights(undisturbed)
    assert "answers again after" in text
    waited = sum(line["teacher/waited_seconds"] for line in metrics(output))
    assert waited >= 19 and sum(line["rows/dead"] for line in metrics(output)) == 0
