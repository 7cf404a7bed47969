"""Asking what there is must be quick and import nothing heavy."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "gymnasium", "pydantic", "rich", "numpy")

PROBE = """
import sys
from agentdistill.cli import main
try:
    main(sys.argv[1:])
finally:
    print("HEAVY", [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins", "list"], ["plugins", "list", "--json"], ["envs", "list"]]
)
def test_listing_imports_nothing_heavy(arguments):
    command = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"]])
def test_listing_is_quick(arguments):
    """Under 0.3 s of processor time; the bound leaves room for a machine with other work (wall time would not)."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "agentdistill", *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(4)) < 0.6


def test_a_reader_that_goes_away_is_no_error():
    script = f"{sys.executable} -m agentdistill plugins list | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("KIND") and "Traceback" not in done.stderr and "Exception" not in done.stderr
