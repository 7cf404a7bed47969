"""Measures the TextWorld environment: steps, resets and made games a second, and memory.

    python scripts/bench_textworld.py [--steps 150] [--make]

Random play over one game of each kind, in four ways of asking; process time of one core. `--make` first empties a
cache of its own and measures how long games take to be made (processor time of all processes involved).
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import tempfile
import time

from agentdistill.records import Task
from agentdistill_textworld import cache
from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.source import TextWorldSource

WAYS = (
    ("no list, no expert", {"admissible": False}, False),
    ("list of commands", {}, False),
    ("expert", {"admissible": False}, True),
    ("list and expert", {}, True),
)


def measure(source: TextWorldSource, tasks: tuple[Task, ...], expert: bool, steps: int) -> tuple[float, float]:
    """Plays every game with the same random commands.

    Returns:
        Milliseconds of a step and of a reset.
    """
    listing = TextWorldSource(TextWorldConfig(test=5)).make()
    env = source.make()
    stepping = resetting = 0.0
    taken = resets = 0
    for task in tasks:
        env.reset(options={"task": task})  # made, and loaded
        rng = random.Random(task.key)
        left = steps
        while left:
            _, shown = listing.reset(options={"task": task})
            start = time.process_time()
            env.reset(options={"task": task, "expert": expert})
            resetting += time.process_time() - start
            resets += 1
            while left:
                action = rng.choice([*shown["admissible_actions"], "xyzzy"])
                *_, shown = listing.step(action)
                start = time.process_time()
                *_, terminated, _, _ = env.step(action)
                stepping += time.process_time() - start
                taken += 1
                left -= 1
                if terminated:
                    break
    env.close()
    listing.close()
    return 1000 * stepping / taken, 1000 * resetting / resets


def main() -> None:
    """Runs the benchmark and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="steps in each game")
    parser.add_argument("--make", action="store_true")
    options = parser.parse_args()
    source = TextWorldSource(TextWorldConfig(test=5))
    tasks = source.tasks("test")
    if options.make:
        with tempfile.TemporaryDirectory() as folder:
            os.environ[cache.CACHE_VARIABLE] = folder
            for task in tasks:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                cache.game_folder(source.spec(task))
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                print(f"making {task.type:<24}{spent:6.1f} s of processor time")
        del os.environ[cache.CACHE_VARIABLE]
    print(f"{'':<24}{'steps/s':>9}{'ms/step':>9}{'ms/reset':>9}")
    for name, more, expert in WAYS:
        step, reset = measure(TextWorldSource(TextWorldConfig(test=5, **more)), tasks, expert, options.steps)
        print(f"{name:<24}{1000 / step:9.0f}{step:9.2f}{reset:9.1f}")
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB resident, two environments")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
