"""What a model may write, contained and reported: every attempt leaves the world outside as it was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sandbox_attempts import ATTEMPTS, PRELUDE, Attempt

from agentdistill_tools.sandbox.jail import Jail, candidates
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.sandbox.probe import NoSandbox, find_jail, try_out
from agentdistill_tools.sandbox.run import Ending, Outcome, run_python

LIMITS = PythonConfig(cpu_seconds=1, memory_mb=256, processes=4, files_mb=8)
SECRET = "nobody shall read this"


@dataclass
class Outside:
    """The world around the sandbox, watched."""

    names: dict[str, object]
    secret: Path
    victim: subprocess.Popen[bytes]
    listeners: list[socket.socket]

    def disturbed(self) -> list[str]:
        found = []
        if self.secret.read_text() != SECRET or self.secret.stat().st_nlink != 1:
            found.append("the file outside was changed")
        if self.victim.poll() is not None:
            found.append("the process outside was killed")
        for listener in self.listeners:
            try:
                listener.accept()
                found.append("a connection was made")
            except BlockingIOError:
                continue
        return [*found, *left_over()]


KNOWN: set[int] = set()
"""Processes that these and earlier tests of the session started."""


def left_over() -> list[str]:
    """Processes of the sandbox that still exist: our children, and whoever has one of our users."""
    return [f"{name} ({pid}) is still there" for pid, name in family() if pid not in KNOWN]


def family() -> list[tuple[int, str]]:
    """Our children, and whoever has one of the sandbox's users."""
    block = 0x70000000 + (os.getpid() * 4096) % 0x0FFFFFFF
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status["PPid"]) == os.getpid() or block <= int(status["Uid"].split()[0]) < block + 4096:
            found.append((int(folder.name), status["Name"]))
    return found


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    secret = folder / "secret.txt"
    secret.write_text(SECRET)
    for place in (secret, folder, *folder.parents):  # so that nothing but the sandbox hides it
        if place.stat().st_uid == os.getuid() and place.is_relative_to(tempfile.gettempdir()):
            place.chmod(place.stat().st_mode | 0o055)
    tcp = socket.create_server(("127.0.0.1", 0))
    files = socket.socket(socket.AF_UNIX)
    path = f"{tempfile.mkdtemp(dir=folder)}/s"
    files.bind(path[-100:])
    abstract = socket.socket(socket.AF_UNIX)
    name = f"agentdistill-{os.getpid()}"
    abstract.bind(f"\0{name}")
    listeners = [tcp, files, abstract]
    for listener in listeners:
        listener.listen()
        listener.setblocking(False)
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    KNOWN.update(pid for pid, _ in family())
    names = {
        "secret": secret,
        "home": Path.home(),
        "port": tcp.getsockname()[1],
        "socket": path,
        "abstract": name,
        "victim": victim.pid,
        "parent": os.getpid(),
    }
    os.environ["AGENTDISTILL_SECRET"] = SECRET
    yield Outside(names, secret, victim, listeners)
    del os.environ["AGENTDISTILL_SECRET"]
    victim.kill()
    victim.wait()
    for listener in listeners:
        listener.close()


PATIENT = LIMITS.model_copy(update={"seconds": 60.0, "cpu_seconds": 30})
"""For programs that end by themselves, on a machine that may be busy."""


def run(code: str, limits: PythonConfig = PATIENT) -> Outcome:
    return run_python(code, limits, find_jail())


def test_there_are_a_hundred_attempts() -> None:
    assert len(ATTEMPTS) >= 100
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.name.replace(" ", "-") for attempt in ATTEMPTS])
def test_an_attempt_is_contained_and_reported(attempt: Attempt, outside: Outside) -> None:
    code = attempt.code
    for name, value in outside.names.items():
        code = code.replace(f"{{{name}}}", str(value))
    before = time.monotonic()
    outcome = run(
        PRELUDE + code.replace("{{", "{").replace("}}", "}"), LIMITS.model_copy(update={"seconds": attempt.seconds})
    )
    assert time.monotonic() - before < attempt.seconds + 30
    assert "ESCAPED" not in outcome.output and SECRET not in outcome.output, outcome.output
    assert outcome.output or outcome.ending is not Ending.DONE, "nothing was reported"
    assert "SyntaxError" not in outcome.output and "NameError" not in outcome.output, outcome.output
    assert len(outcome.output.encode()) <= LIMITS.output_bytes * 3
    assert not outside.disturbed()


def test_what_the_limits_are_for_is_told_apart() -> None:
    assert run("while True: pass", PATIENT.model_copy(update={"cpu_seconds": 1})).ending is Ending.CPU
    assert run("import time; time.sleep(60)", LIMITS.model_copy(update={"seconds": 0.5})).ending is Ending.TIME
    assert run("print('y' * 10 ** 6)").ending is Ending.OUTPUT
    assert run("import os; os.kill(os.getpid(), 9)").ending is Ending.KILLED
    failed = run("bytearray(1 << 40)")
    assert failed.ending is Ending.FAILED and failed.output.strip().endswith("MemoryError")
    assert run("import sys; sys.exit(3)").status == 3


def test_output_that_is_cut_is_cut_at_the_limit() -> None:
    outcome = run("while True: print('y' * 7)")
    assert len(outcome.output) == LIMITS.output_bytes
    assert outcome == run("while True: print('y' * 7)")


def test_calls_at_the_same_time_have_limits_of_their_own() -> None:
    """One fork bomb must not use up the processes of everybody else."""
    from concurrent.futures import ThreadPoolExecutor

    bomb = "import os, time\ntry:\n    while True: os.fork() or time.sleep(1)\nexcept OSError: time.sleep(1)"
    kind = "import os\nprint([os.waitpid(os.fork() or os._exit(0), 0)[1] for _ in range(3)])"
    with ThreadPoolExecutor(4) as pool:
        bombs = [pool.submit(run, bomb) for _ in range(2)]
        assert [pool.submit(run, kind).result().output for _ in range(3)] == ["[0, 0, 0]\n"] * 3
        assert all(future.result().ending in (Ending.DONE, Ending.TIME, Ending.FAILED) for future in bombs)
    assert not left_over()


def test_a_way_that_does_not_hold_is_found_out() -> None:
    """Root's processes in a user namespace are not counted by the kernel, so that way must not be taken by root."""
    namespace = [jail for jail in candidates() if not jail.own_user]
    (problem,) = [try_out(jail) for jail in namespace]
    assert ("number of its processes" in problem) if os.geteuid() == 0 else not problem
    assert try_out(find_jail()) == ""
    assert not left_over()


def test_a_sandbox_that_does_not_start_is_no_result(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho bwrap: setting up uid map: Permission denied\nexit 1\n")
    broken.chmod(0o755)
    assert "uid map" in try_out(Jail("user-namespace", str(broken), False))


def test_without_bubblewrap_it_refuses_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    find_jail.cache_clear()
    with pytest.raises(NoSandbox) as refusal:
        find_jail()
    find_jail.cache_clear()
    assert "`bwrap` is not installed" in str(refusal.value)
    assert "apt-get install bubblewrap" in refusal.value.do and "unsafe" in refusal.value.do


def test_unsafe_is_what_it_says_and_still_leaves_nothing(tmp_path: Path) -> None:
    limits = PATIENT.model_copy(update={"unsafe": True})
    before = set(Path(tempfile.gettempdir()).glob("agentdistill-python-*"))
    outcome = run_python(
        "import os\nopen('x', 'w').close()\nif os.fork() == 0:\n    while True: pass\nprint(6 * 7)", limits, None
    )
    assert outcome.output == "42\n"
    assert run_python("while True: print('y' * 99)", limits, None).ending is Ending.OUTPUT
    assert set(Path(tempfile.gettempdir()).glob("agentdistill-python-*")) == before
    assert not left_over()


VICTIM = """
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.sandbox.probe import find_jail
from agentdistill_tools.sandbox.run import run_python

jail = find_jail()
print("running", flush=True)
run_python("import time\\ntime.sleep(600)", PythonConfig(seconds=600.0), jail)
"""


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_sandbox_dies_with_whoever_called_it(signal_: signal.Signals) -> None:
    caller = subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with caller:
        assert caller.stdout is not None and caller.stdout.readline() == b"running\n"
        deadline = time.monotonic() + 60
        while len(family := descendants(caller.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(family) >= 3, "the sandbox never started"
        caller.send_signal(signal_)
        caller.wait()
        while any(Path("/proc", str(pid)).exists() for pid in family) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in family if Path("/proc", str(pid)).exists()]


def descendants(ancestor: int) -> set[int]:
    """Processes below another, as they are now."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("print(1)\n2 + 3", "1\n5\n"),
        ("'text'", "text\n"),
        ("None", ""),
        ("print('ü€😀')", "ü€😀\n"),
        ("x = 1", ""),
        ("", ""),
        ("import numpy", None),
        ("print(__name__)", "__main__\n"),
        ("def f(n): return n and n + f(n - 1)\nprint(f(10))", "55\n"),
        ("import sys; print(sys.argv, sys.stdin.read())", "['<python>'] \n"),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nprint(A(1))", "A(x=1)\n"),
        ("import json, math, fractions, itertools, re, decimal, datetime, random, collections; print(1)", "1\n"),
    ],
)
def test_honest_programs_run(code: str, output: str | None) -> None:
    outcome = run(code)
    if output is None:
        assert "ModuleNotFoundError" in outcome.output and outcome.ending is Ending.FAILED
    else:
        assert (outcome.output, outcome.ending) == (output, Ending.DONE)


def test_packages_are_there_when_asked_for() -> None:
    limits = PythonConfig(packages=True, seconds=30.0, cpu_seconds=30)
    assert run("import numpy\nprint(numpy.arange(3).sum())", limits).output == "3\n"


def test_a_traceback_shows_the_code_and_nothing_of_ours() -> None:
    outcome = run("def f():\n    return 1 / 0\n\nf()")
    assert outcome.output.splitlines()[:3] == [
        "Traceback (most recent call last):",
        '  File "<python>", line 4, in <module>',
        "    f()",
    ]
    assert "agentdistill" not in outcome.output and outcome.output.endswith("ZeroDivisionError: division by zero\n")
    assert run("def f(:").output.endswith("SyntaxError: invalid syntax\n")
