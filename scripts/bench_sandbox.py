"""What a call of the sandboxed `python` tool costs here.

    python scripts/bench_sandbox.py [CALLS]

Prints which sandbox this machine allows, the milliseconds of a call (median, 90th percentile, worst), of a plain
interpreter's start for comparison, and calls per second from several threads. A busy machine shows in the numbers:
where other work competes for the cores, `chrt -r 1 python scripts/bench_sandbox.py` shows what a call costs by itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.sandbox.probe import find_jail
from agentdistill_tools.sandbox.run import Ending, run_python

TARGET_MS = 60.0
PROGRAMS = {
    "print(1)": "1\n",
    "from fractions import Fraction\nprint(sum(Fraction(1, n) for n in range(1, 50)).denominator % 97)": None,
    "1 / 0": None,
}


def measure(call: Callable[[], object], calls: int) -> list[float]:
    """Milliseconds of each call, sorted."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return sorted(times)


def show(name: str, times: list[float]) -> None:
    """One line of the table."""
    worst, late = times[-1], times[int(len(times) * 0.9)]
    print(f"{name:<44} {statistics.median(times):8.1f} {late:8.1f} {worst:8.1f}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls", nargs="?", type=int, default=50)
    calls = parser.parse_args().calls
    limits = PythonConfig(seconds=60.0, cpu_seconds=30)
    start = time.perf_counter()
    jail = find_jail()
    print(f"sandbox: {jail.name}, tried out in {(time.perf_counter() - start) * 1000:.0f} ms (once for each process)")
    print(f"{'milliseconds of a call':<44} {'median':>8} {'90%':>8} {'worst':>8}")
    show("python -c pass, no sandbox", measure(lambda: subprocess.run([sys.executable, "-c", "pass"]), calls))
    medians = []
    for program, expected in PROGRAMS.items():
        outcome = run_python(program, limits, jail)
        assert outcome.ending in (Ending.DONE, Ending.FAILED) and (expected is None or outcome.output == expected)
        times = measure(partial(run_python, program, limits, jail), calls)
        show(f"sandbox: {program.splitlines()[-1][:34]}", times)
        medians.append(statistics.median(times))
    workers = os.cpu_count() or 1
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: run_python("print(1)", limits, jail), range(calls * 2)))
    print(f"{workers} threads: {calls * 2 / (time.perf_counter() - start):.0f} calls a second")
    verdict = "within" if medians[0] <= TARGET_MS else "above"
    print(f"print(1): {medians[0]:.1f} ms, {verdict} the {TARGET_MS:.0f} ms that are promised")


if __name__ == "__main__":
    main()
