from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_strategies import same, trajectories

from agentdistill.errors import DataError
from agentdistill.records import EpisodePlan, Step, StopReason, Task, TokenRow, Trajectory
from agentdistill.store import TrajectoryStore


def episode(number: int) -> Trajectory:
    row = TokenRow(
        token_ids=np.arange(4, dtype=np.int32) + number,
        step_of_token=np.array([-1, -1, 0, 0], np.int32),
        mask=np.array([False, False, True, True]),
        old_logprob=np.array([np.nan, np.nan, -0.25, -1.5], np.float32),
    )
    step = Step(0, "a room", "look", "look", row=0, start=2, end=4)
    return Trajectory(Task("env", "train", f"task-{number}"), EpisodePlan(), [step], [row], StopReason.FAILURE)


def keys(store: TrajectoryStore) -> list[str]:
    return [trajectory.task.key for trajectory in store.read()]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(trajectories, max_size=4))
def test_what_was_appended_is_read(tmp_path_factory: pytest.TempPathFactory, batch: list[Trajectory]) -> None:
    with TrajectoryStore(tmp_path_factory.mktemp("store")) as store:
        for trajectory in batch:
            store.append(trajectory)
        assert same(list(store.read()), batch)
        assert store.count() == len(batch)


def test_a_write_torn_at_any_byte_loses_only_itself(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "whole") as store:
        store.append(episode(0))
        first = store.file.stat().st_size
        store.append(episode(1))
        content = store.file.read_bytes()
    for cut in range(first, len(content)):
        torn = TrajectoryStore(tmp_path / f"cut-{cut}")
        torn.path.mkdir()
        torn.file.write_bytes(content[:cut])
        assert keys(torn) == ["task-0"], "a reader does not see the torn line"
        torn.append(episode(2))
        assert keys(torn) == ["task-0", "task-2"], "a writer cuts it and goes on"
        torn.close()


def test_zeros_after_a_power_cut_are_a_torn_line(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as store:
        store.append(episode(0))
    with store.file.open("ab") as stream:
        stream.write(bytes(100_000))
    with TrajectoryStore(tmp_path) as store:
        store.append(episode(1))
        assert keys(store) == ["task-0", "task-1"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_named(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    with TrajectoryStore(tmp_path_factory.mktemp("store")) as store:
        for number in range(3):
            store.append(episode(number))
    content = bytearray(store.file.read_bytes())
    ends = [i for i, byte in enumerate(content) if byte == ord("\n")]
    position = data.draw(st.integers(ends[0] + 1, ends[1] - 1), label="position in the middle line")
    content[position] ^= data.draw(st.integers(1, 255), label="flip")
    store.file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"episodes-main\.jsonl, line 2, is corrupt"):
        list(store.read())


def test_every_line_is_json(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as store:
        store.append(episode(0))
    (line,) = store.file.read_text().splitlines()
    assert json.loads(line)["t"]["task"]["key"] == "task-0"


def test_a_checksum_over_unreadable_content_is_an_error_with_its_place(tmp_path: Path) -> None:
    from agentdistill.hashing import digest

    body = b'{"version":1}'
    line = b'{"v":1,"sum":"' + digest(body)[:16].encode() + b'","t":' + body + b"}\n"
    (tmp_path / "episodes-main.jsonl").write_bytes(line)
    with pytest.raises(DataError, match="line 1, cannot be read"):
        list(TrajectoryStore(tmp_path).read())


def test_writers_have_their_own_files_and_locks(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path, "b") as left, TrajectoryStore(tmp_path, "a") as right:
        left.append(episode(0))
        right.append(episode(1))
        assert keys(left) == keys(right) == ["task-1", "task-0"], "by writer's name, not by time"
        with pytest.raises(DataError, match="being written by another process"):
            TrajectoryStore(tmp_path, "a").append(episode(2))
    with pytest.raises(ValueError, match="writer's name"):
        TrajectoryStore(tmp_path, "../x")


def test_truncating_to_a_checkpoint(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as store:
        for number in range(5):
            store.append(episode(number))
        assert store.truncate_to(3) == 2
        store.append(episode(9))
        assert keys(store) == ["task-0", "task-1", "task-2", "task-9"]
        assert store.truncate_to(4) == 0
        with pytest.raises(DataError, match="holds 4 episodes, the checkpoint has seen 6"):
            store.truncate_to(6)


def test_counting_reads_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TrajectoryStore(tmp_path) as store:
        store.append(episode(0))
        assert store.count() == 1
        monkeypatch.setattr("agentdistill.store.read_lines", None)
        store.append(episode(1))
        assert store.count() == 2


def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    """The run is killed while a worker it forked lives on: the resumed run can write."""
    store = TrajectoryStore(tmp_path)
    store.append(episode(0))
    reading, writing = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    store.close()
    try:
        with TrajectoryStore(tmp_path) as again:
            again.append(episode(1))
    finally:
        os.close(writing)
        os.waitpid(worker, 0)


def test_an_empty_store_reads_empty_and_makes_nothing(tmp_path: Path) -> None:
    store = TrajectoryStore(tmp_path / "none")
    assert keys(store) == [] and store.count() == 0
    assert not (tmp_path / "none").exists()


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_store import episode
from agentdistill.store import TrajectoryStore
store = TrajectoryStore(Path(sys.argv[1]))
for number in range(1_000_000):
    store.append(episode(number))
    print(number, flush=True)
"""


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A writer is killed while it writes: what `append` returned for is there, in order, and nothing half."""
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), here], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    acknowledged = [line for line in process.stdout.read().splitlines(keepends=True)]
    process.wait()
    with TrajectoryStore(tmp_path) as store:
        store.append(episode(-1))
        found = keys(store)
    assert found == [f"task-{n}" for n in range(len(found) - 1)] + ["task--1"]
    assert len(found) - 1 >= len(acknowledged) + 1
