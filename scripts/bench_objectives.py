"""Measures what methods cost: each weight on 16 x 2048 tokens, and as a share of one learner step of a small model.

Usage: python scripts/bench_objectives.py [--only SECTION ...] [--json FILE]

Times are CPU seconds of one thread, the best of many calls, so that they mean something on a shared machine. The
learner's step is one gradient of a Qwen3 of about a million parameters on the same tokens: for any larger model the
shares are smaller.

A section is a function from the `Bench` to a `Table`, entered in `SECTIONS`; add one for each kind of method.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from bench_learner import episodes, machine, table, tiny_qwen

from agentdistill.learner.batch import LearnerBatch, assemble
from agentdistill.learner.learner import Learner
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import StepStatistics, TokenStatistics, step_statistics
from agentdistill.plugins import PluginRegistry
from agentdistill_losses.opd import OpdConfig, OpdLoss

torch.set_num_threads(1)
ROWS, LENGTH, TURN = 16, 2048, 64
LIMIT_SHARE, LIMIT_SOD = 0.03, 1e-3


@dataclass(frozen=True, slots=True)
class Table:
    """What a section found.

    Attributes:
        title: one line.
        rows: name -> CPU seconds of one call.
        limits: name -> most CPU seconds, where there is such a limit.
    """

    title: str
    rows: dict[str, float]
    limits: dict[str, float]


def best(call: Callable[[], Any], seconds: float = 0.3, least: int = 5) -> float:
    """CPU seconds of the fastest call, out of those that fit into some time."""
    call()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        began = time.thread_time()
        call()
        times.append(time.thread_time() - began)
    return min(times)


class Bench:
    """The batch that everything is measured on, and the step it is compared with."""

    @cached_property
    def registry(self) -> PluginRegistry:
        """The first-party plugins."""
        return PluginRegistry.load(third_party=False)

    @cached_property
    def played(self) -> tuple[list[Any], Any]:
        """16 episodes of 32 turns of 1 + 63 tokens, with scores."""
        return episodes(ROWS, LENGTH // TURN, 1, TURN - 1, True)

    @cached_property
    def batch(self) -> LearnerBatch:
        """The batch as the learner sees it."""
        return assemble(*self.played)

    @cached_property
    def tokens(self) -> TokenStatistics:
        """Its token statistics, with everything known that anybody could ask for."""
        tokens, g = self.batch.tokens, torch.Generator().manual_seed(0)

        def uniform(high: float) -> torch.Tensor:
            return high * torch.rand(len(tokens), generator=g)

        return replace(
            tokens,
            teacher_entropy=uniform(3.0),
            teacher_confidence=uniform(1.0),
            old_entropy=uniform(3.0),
            overlap=uniform(1.0),
            reference_logprob=-uniform(3.0),
            advantage=uniform(1.0),
            role=torch.randint(0, 3, (len(tokens),), generator=g),
        )

    @cached_property
    def steps(self) -> StepStatistics:
        """Its step statistics, likewise."""
        steps = step_statistics(self.tokens, ROWS)
        return replace(steps, annotations={"judge": torch.ones(steps.shape) / 2})

    @cached_property
    def learner_step(self) -> float:
        """CPU seconds of one gradient of a small model on the batch."""
        settings = LearnerSettings(batch_tokens=4 * LENGTH, grad_clip=0.0)
        learner = Learner(tiny_qwen(), loss=OpdLoss(OpdConfig()), settings=settings)
        return best(lambda: learner.accumulate(*self.played), seconds=0.0, least=1)

    def weight(self, kind: str, name: str, statistics: Any) -> float:
        """CPU seconds of one call of a registered weight at its defaults."""
        function = self.registry.function(kind, {"type": name})
        takes = getattr(function, "takes_progress", False)
        options = {"progress": LearnerProgress(50, 100)} if takes else {}
        return best(lambda: function(statistics, **options))


def statistics(bench: Bench) -> Table:
    """What every step pays for having statistics at all."""
    rows = {
        "token statistics (assemble)": best(lambda: assemble(*bench.played)),
        "step statistics, base": best(lambda: step_statistics(bench.batch.tokens, ROWS)),
        "step statistics, all known": best(lambda: step_statistics(bench.tokens, ROWS)),
    }
    return Table("Statistics", rows, {})


def step_weights(bench: Bench) -> Table:
    """Every registered step weight."""
    names = sorted(bench.registry.names("step-weight"))
    rows = {name: bench.weight("step-weight", name, bench.steps) for name in names}
    sod = bench.registry.function("step-weight", {"type": "sod"})
    rows["sod, with its statistics"] = best(lambda: sod(step_statistics(bench.batch.tokens, ROWS)))
    return Table("Step weights", rows, {"sod, with its statistics": LIMIT_SOD})


def token_weights(bench: Bench) -> Table:
    """Every registered token weight."""
    names = sorted(bench.registry.names("token-weight"))
    return Table("Token weights", {name: bench.weight("token-weight", name, bench.tokens) for name in names}, {})


SECTIONS: dict[str, Callable[[Bench], Table]] = {
    "statistics": statistics,
    "step-weights": step_weights,
    "token-weights": token_weights,
}


def main() -> int:
    """Command line; the exit status is 1 when something costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(SECTIONS), default=list(SECTIONS), help="these sections")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    bench = Bench()
    step, shape = bench.learner_step, bench.steps.shape
    print(f"{machine()}\n\n{len(bench.tokens)} distilled tokens in {ROWS} rows of {LENGTH}, {shape[1]} turns each.")
    print(f"One gradient of a model of {sum(p.numel() for p in tiny_qwen().parameters()) / 1e6:.1f} M: {step:.2f} s.")
    found: dict[str, dict[str, float]] = {}
    over: list[str] = []
    for section in options.only:
        result = SECTIONS[section](bench)
        found[section] = result.rows
        lines = [[result.title.lower(), "ms", "share of a step"]]
        for name, seconds in result.rows.items():
            limit = min(result.limits.get(name, float("inf")), LIMIT_SHARE * step)
            over += [f"{name}: {1e3 * seconds:.2f} ms of {1e3 * limit:.2f}"] if seconds > limit else []
            lines.append([name, f"{1e3 * seconds:.3f}", f"{seconds / step:.3%}"])
        print(f"\n{table(lines)}")
    print("\n" + ("OVER THE LIMIT " + "; ".join(over) if over else f"All within {LIMIT_SHARE:.0%} of a step."))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "step": step, "sections": found}, indent=2) + "\n")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
