"""Asking what there is must be quick and import nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import time

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
    """0.3 s on an idle machine; the bound is generous because this one may be busy."""

    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "agentdistill", *arguments], capture_output=True, check=True)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(4)) < 0.9


def test_a_reader_that_goes_away_is_no_error():
    script = f"{sys.executable} -m agentdistill plugins list | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("KIND") and "Traceback" not in done.stderr and "Exception" not in done.stderr
