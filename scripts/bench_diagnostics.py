"""Measures what the default diagnostics cost: CPU seconds of a training step with them, and what they are made of.

    python scripts/bench_diagnostics.py [--steps 30] [--recipe tcod-alfworld --recipe starter] [--json FILE]

Two runs of one recipe take turns, step by step, in one process: one as it comes and one with `run.diagnostics = false`.
They play and learn the very same (tests/diagnostics/test_default_run.py), so that each step is a pair. What no option
turns off (curves over turns, shares, play metrics, warnings) is timed inside the first run. Times are CPU seconds of
one thread; medians over the steps, of which the first is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from bench_learner import machine, table

from agentdistill.config.load import load_config
from agentdistill.diagnostics import Monitor
from agentdistill.learner import batch as learner_batch
from agentdistill.learner import learner
from agentdistill.plugins import PluginRegistry
from agentdistill.training import batches
from agentdistill.training.run import Run
from agentdistill_engines.hf import HfEngine
from agentdistill_teachers.local import LocalTeacher

PARTS: dict[str, tuple[Any, str]] = {
    "tokens by role": (learner_batch, "token_roles"),
    "overlap of top 16": (learner_batch, "overlap"),
    "counts, weights, KL, curves over turns": (learner, "batch_metrics"),
    "loss shares, engine gap": (learner, "loss_metrics"),
    "repetition, truncation, progress": (batches, "play_metrics"),
    "warnings": (Monitor, "observe"),
}
"""What only exists for diagnostics: the name under which it is looked up when it is called."""

SWITCHED = ("tokens by role", "overlap of top 16")
"""Of these, what `run.diagnostics = false` leaves out."""

PAIRED: dict[str, tuple[Any, str]] = {
    "the student's entropy and top 16, while it samples": (HfEngine, "generate"),
    "the teacher's entropy and top 16, while it scores": (LocalTeacher, "score"),
}
"""What does more with diagnostics."""


class Turns:
    """Lets two runs take turns: each waits at the end of its step until the other's is done."""

    def __init__(self, spent: dict[str, float]) -> None:
        self.spent = spent
        self.baton = {name: threading.Semaphore(0) for name in ("on", "off")}
        self.seconds: dict[str, list[float]] = {"on": [], "off": []}
        self.parts: dict[str, list[dict[str, float]]] = {"on": [], "off": []}

    def after(self, name: str, other: str) -> Callable[[Mapping[str, Any]], None]:
        """A reporter of finished steps that hands over."""

        def step(metrics: Mapping[str, Any]) -> None:
            self.seconds[name].append(time.thread_time() - self.began)
            self.parts[name].append(dict(self.spent))
            self.baton[other].release()
            if metrics["step"] < metrics["steps"]:
                self.start(name)

        return step

    def start(self, name: str) -> None:
        """Waits for the baton, and begins to count."""
        self.baton[name].acquire()
        self.spent.clear()
        self.began = time.thread_time()


class Quiet:
    """A reporter that only tells of steps."""

    def __init__(self, turns: Turns, name: str, other: str) -> None:
        self.turns, self.name, self.step = turns, name, turns.after(name, other)

    def plan(self, lines: Any) -> None:
        """The run is about to begin."""
        self.turns.start(self.name)

    def eval(self, result: Any) -> None:
        """Nothing is evaluated."""

    def warn(self, alert: Any) -> None:
        """Warnings are not shown."""


def timed(owner: Any, name: str, label: str, spent: dict[str, float]) -> None:
    """Adds up the CPU seconds of a function's calls."""
    function = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[label] += time.thread_time() - began

    setattr(owner, name, wrapper)


def measure(recipes: list[str], steps: int) -> Turns:
    """Seconds of every step of both runs, and of their parts."""
    torch.set_num_threads(1)
    spent: dict[str, float] = defaultdict(float)
    for label, (owner, name) in (PARTS | PAIRED).items():
        timed(owner, name, label, spent)
    turns = Turns(spent)
    registry = PluginRegistry.load(third_party=False)
    with tempfile.TemporaryDirectory() as folder:

        def train(name: str, other: str) -> None:
            values = {
                "run.directory": str(Path(folder) / name),
                "run.diagnostics": name == "on",
                "run.checkpoint_every": 0,
                "run.self_test": False,
                "optim.steps": steps,
                "eval.panel": None,
                "env.split": "generated-train",
            }
            config = load_config(recipes, values, registry=registry)
            Run(config, registry, Quiet(turns, name, other)).train()

        threads = [threading.Thread(target=train, args=pair) for pair in (("on", "off"), ("off", "on"))]
        turns.baton["on"].release()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return turns


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", help="layers, left to right (default: tcod-alfworld starter)")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    recipes = options.recipe or ["tcod-alfworld", "starter"]
    turns = measure(recipes, options.steps)
    on, off = turns.seconds["on"][1:], turns.seconds["off"][1:]
    step = statistics.median(off)

    def more(with_it: Sequence[float], without: Sequence[float]) -> float:
        return statistics.median(a - b for a, b in zip(with_it, without, strict=True))

    def part(label: str, name: str) -> list[float]:
        return [one.get(label, 0.0) for one in turns.parts[name][1:]]

    rows = [["CPU time of a step", "ms", "share of a step without"]]

    def row(label: str, value: float) -> None:
        rows.append([label, f"{1e3 * value:.2f}", f"{value / step:.2%}"])

    row("without `run.diagnostics`", step)
    row("what `run.diagnostics` adds (median of pairs)", more(on, off))
    for label in PAIRED:
        row(f"- {label}", more(part(label, "on"), part(label, "off")))
    for label in SWITCHED:
        row(f"- {label}", statistics.median(part(label, "on")))
    always = [label for label in PARTS if label not in SWITCHED]
    row("what is always measured", statistics.median(map(sum, zip(*(part(x, "on") for x in always), strict=True))))
    for label in always:
        row(f"- {label}", statistics.median(part(label, "on")))
    print(f"{machine()}\n\n{' '.join(recipes)}, {len(on)} steps\n\n{table(rows)}")
    if options.json:
        found = {"machine": machine(), "on": on, "off": off, "parts": turns.parts}
        options.json.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
