"""The life of the JVM: one a process, gone with its last user, never left behind; and what is said without Java."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentdistill.errors import EnvironmentFailure, MissingExtraError
from agentdistill_scienceworld import jvm
from agentdistill_scienceworld.env import ScienceWorldEnv

TASK = {"task": "find-plant/0"}


def gone(pid: int, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_it_dies_with_its_last_user_and_a_killed_one_is_replaced():
    one, other = ScienceWorldEnv(heap_mb=200), ScienceWorldEnv(heap_mb=200)
    for made in (one, other):
        made.reset(options=TASK)
    first = one._simulator.jvm.pid
    assert other._simulator.jvm.pid == first
    one.close()
    assert not gone(first, 0.1)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(EnvironmentFailure, match="does not answer"):
        for _ in range(2):
            other.step("look around")
    observation, _ = other.reset(options=TASK)
    assert observation.startswith("This room")
    second = other._simulator.jvm.pid
    assert second != first
    other.close()
    assert gone(second) and gone(first)
    assert 200 not in jvm._shared


CHILD = """
import sys, time
from agentdistill_scienceworld.env import ScienceWorldEnv
env = ScienceWorldEnv()
env.reset(options={"task": "find-plant/0"})
print(env._simulator.jvm.pid, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["wait", "return"])
def test_it_dies_with_its_process_even_by_sigkill(how):
    child = subprocess.Popen([sys.executable, "-c", CHILD, how], stdout=subprocess.PIPE, text=True)
    pid = int(child.stdout.readline())
    if how == "wait":
        child.kill()
    assert child.wait(60) == (-signal.SIGKILL if how == "wait" else 0)
    child.stdout.close()
    assert gone(pid)


def addresses(connections):
    return [connection.socket.getsockname() for connection in connections]


def test_a_forked_child_leaves_the_parents_simulator_alone(env):
    before, _ = env.reset(options=TASK)
    connections = env._simulator.jvm._gateway._gateway_client.deque
    used = addresses(connections)
    child = os.fork()
    if child == 0:
        env.close()  # what a child's clean-up would do
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert env.step("look around")[0] == before
    assert addresses(connections) == used  # none was shut down and had to be replaced


def test_ctrl_c_is_not_for_java(env):
    assert os.getpgid(env._simulator.jvm.pid) != os.getpgid(0)


def test_without_java_one_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        ScienceWorldEnv(heap_mb=201).reset(options=TASK)
    assert str(caught.value).count(".") == 1
    assert "needs Java" in str(caught.value) and "apt-get install default-jre-headless" in str(caught.value)


def test_a_java_that_does_not_start_is_quoted(monkeypatch, tmp_path):
    fake = tmp_path / "bin" / "java"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho no such heap >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EnvironmentFailure, match=r"did not start.*no such heap"):
        ScienceWorldEnv(heap_mb=202).reset(options=TASK)


def test_what_java_says_before_it_listens_is_no_obstacle(monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseStringDeduplication")  # a warning, on its standard output
    made = ScienceWorldEnv(heap_mb=204)
    assert made.reset(options=TASK)[0].startswith("This room")
    made.close()


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scienceworld", None)

    def refuse(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("agentdistill.errors.importlib.import_module", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'agentdistill\[scienceworld\]'"):
        ScienceWorldEnv(heap_mb=203).reset(options=TASK)
