"""Measures the ScienceWorld environment: steps and resets a second, and the memory of one JVM with several simulators.

    python scripts/bench_scienceworld.py [--simulators 4] [--steps 60] [--tasks 30] [--rounds 3] [--gold]

The simulators play variations of all tasks, one step each in turn, by random commands that are valid at the start,
among them ones that no longer are. Java compiles what runs often while it runs, so the first round is the slowest; the
JVM of a training lives for hours. The last line of a round is a hash of all that was seen. Times are the process time
of this program and of Java together (Linux), so that other work on the machine does not count; `wall` is what passed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import time
from pathlib import Path

from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.env import ScienceWorldEnv
from agentdistill_scienceworld.source import ScienceWorldSource
from agentdistill_scienceworld.variations import SIZES


def java_seconds(pid: int) -> float:
    """Processor seconds of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, name: str) -> float:
    """A line of /proc/PID/status, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return float("nan")


class Clock:
    """Processor time of this process and its JVM, and wall time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.busy = self.wall = 0.0
        self.count = 0

    def __enter__(self) -> Clock:
        self._start = time.process_time() + java_seconds(self._pid), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.busy += time.process_time() + java_seconds(self._pid) - self._start[0]
        self.wall += time.perf_counter() - self._start[1]

    def line(self, what: str) -> str:
        """Count a second of processor time and of wall time."""
        return (
            f"{what:<34}{self.count / self.busy:9.0f}{self.count / self.wall:9.0f}{1000 * self.busy / self.count:9.2f}"
        )


def main() -> None:
    """Runs the benchmark and prints a table a round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulators", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3, help="times through all tasks")
    parser.add_argument("--gold", action="store_true", help="also search gold paths, which needs the most memory")
    options = parser.parse_args()
    source = ScienceWorldSource(ScienceWorldConfig())
    envs: list[ScienceWorldEnv] = [source.make() for _ in range(options.simulators)]
    listing = ScienceWorldSource(ScienceWorldConfig(admissible=True)).make()
    names = list(SIZES)[: options.tasks]
    began = time.perf_counter()
    envs[0].reset(options={"task": f"{names[0]}/0"})
    started = time.perf_counter() - began
    simulator = envs[0]._simulator
    assert simulator is not None
    pid = simulator.jvm.pid
    known: dict[str, list[str]] = {}
    for number in range(options.rounds):
        rng = random.Random(0)
        resets, steps, listed = Clock(pid), Clock(pid), Clock(pid)
        seen = hashlib.sha256()
        for start in range(0, len(names), len(envs)):
            playing = list(zip(envs, names[start : start + len(envs)], strict=False))
            for env, name in playing:
                with resets:
                    seen.update(env.reset(options={"task": f"{name}/0", "expert": options.gold})[0].encode())
                resets.count += 1
                if name not in known:
                    listing.reset(options={"task": f"{name}/0"})
                    with listed:
                        commands = listing.step("look around")[-1]["admissible_actions"]
                    listed.count += 1
                    known[name] = [command for command in commands if not command.startswith(("focus", "reset"))]
            with steps:
                for _ in range(options.steps):
                    for env, name in tuple(playing):
                        observation, _, terminated, _, _ = env.step(rng.choice(known[name]))
                        steps.count += 1
                        seen.update(observation.encode())
                        if terminated:
                            playing.remove((env, name))
        print(f"{f'round {number + 1} of {options.rounds}':<34}{'per core':>9}{'wall':>9}{'ms':>9}")
        print(steps.line("steps/s, no list of commands"))
        if listed.count:
            print(listed.line("steps/s with the list of commands"))
        print(resets.line("resets/s" + (" with a gold path" if options.gold else "")))
        print(f"observations {seen.hexdigest()[:16]}")
    used = f"{options.simulators} simulators over {len(names)} tasks"
    print(f"start to first observation {started:.1f} s; {used}:", end=" ")
    print(f"{megabytes(pid, 'VmRSS'):.0f} MB resident, at most {megabytes(pid, 'VmHWM'):.0f} MB (heap <= 256 MB)")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for env in (*envs, listing):
        env.close()


if __name__ == "__main__":
    main()
