"""Measures what methods cost on 16 x 2048 tokens, and as a share of one learner step of a small model.

Usage: python scripts/bench_objectives.py [--only SECTION ...] [--json FILE]

Times are CPU seconds of one thread, the best of many calls, so that they mean something on a shared machine. The
learner's step is one gradient of a Qwen3 of about a million parameters on the same tokens: for any larger model the
shares are smaller. Methods run at their defaults.

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

import numpy as np
import torch
from bench_learner import episodes, machine, table, tiny_qwen

from agentdistill.learner.batch import LearnerBatch, assemble
from agentdistill.learner.facts import episode_facts, task_groups
from agentdistill.learner.learner import Learner
from agentdistill.learner.losses import PolicyGradient, objective_at
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import StepStatistics, TokenStatistics, step_statistics
from agentdistill.plugins import PluginRegistry
from agentdistill.training.rewarded import RewardedBatch, ScoredBatch
from agentdistill_losses.opd import OpdConfig, OpdLoss

torch.set_num_threads(1)
ROWS, LENGTH, TURN, SAMPLES = 16, 2048, 64, 4
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


def best(call: Callable[[], Any], blocks: int = 12, least: float = 0.02) -> float:
    """CPU seconds of one call: the fastest of some blocks of calls, each long enough for the clock."""

    def block(calls: int) -> float:
        began = time.thread_time()
        for _ in range(calls):
            call()
        return time.thread_time() - began

    calls = 1
    while (spent := block(calls)) < least:
        calls *= 2
    return min(spent, *(block(calls) for _ in range(blocks))) / calls


class Bench:
    """The batch that everything is measured on, and the step it is compared with."""

    @cached_property
    def registry(self) -> PluginRegistry:
        """The first-party plugins."""
        return PluginRegistry.load(third_party=False)

    @cached_property
    def played(self) -> tuple[list[Any], Any]:
        """4 episodes each of 4 tasks, of 32 turns of 1 + 63 tokens, with scores."""
        made, scores = episodes(ROWS, LENGTH // TURN, 1, TURN - 1, True)
        for number, episode in enumerate(made):
            episode.task = replace(episode.task, key=str(number // SAMPLES))
            episode.sample, episode.success = number % SAMPLES, number % 3 == 0
            for step in episode.steps:
                step.observation, step.action, step.valid = f"room {step.index % 7}", f"go {step.index % 5}", True
        return made, scores

    @cached_property
    def rewarded(self) -> RewardedBatch:
        """The batch as an advantage sees it: 1 for success, at the last step."""
        played = self.played[0]
        rewards = [np.zeros(len(episode.steps), dtype=np.float32) for episode in played]
        for reward, episode in zip(rewards, played, strict=True):
            reward[-1] = episode.success
        return RewardedBatch(played, rewards, task_groups(played))

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
            reward=tokens.success.float(),
        )

    @cached_property
    def steps(self) -> StepStatistics:
        """Its step statistics, likewise."""
        steps = step_statistics(self.tokens, ROWS, episode_facts(*self._facts))
        return replace(steps, annotations={"judge": torch.ones(steps.shape) / 2})

    @property
    def _facts(self) -> tuple[Any, Any]:
        return self.rewarded.trajectories, self.rewarded.rewards

    @cached_property
    def learner_step(self) -> float:
        """CPU seconds of one gradient of a small model on the batch."""
        settings = LearnerSettings(batch_tokens=4 * LENGTH, grad_clip=0.0)
        learner = Learner(tiny_qwen(), loss=OpdLoss(OpdConfig()), settings=settings)
        return best(lambda: learner.accumulate(*self.played), blocks=1)

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
        "facts of the episodes": best(lambda: episode_facts(bench.rewarded.trajectories, bench.rewarded.rewards)),
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


def advantages(bench: Bench) -> Table:
    """Every registered RL advantage."""
    rows = {}
    for name in sorted(bench.registry.names("advantage")):
        function = bench.registry.function("advantage", {"type": name})
        rows[name] = best(lambda function=function: function(bench.rewarded))
    return Table("Advantages", rows, {})


def filters(bench: Bench) -> Table:
    """Every registered filter."""
    rewarded, rows = bench.rewarded, {}
    batch = ScoredBatch(rewarded.trajectories, bench.played[1], rewarded.rewards, rewarded.group, 50)
    for name in sorted(bench.registry.names("filter")):
        function = bench.registry.function("filter", {"type": name})
        rows[name] = best(lambda function=function: function(batch))
    return Table("Filters", rows, {})


def fusions(bench: Bench) -> Table:
    """The scales and weights of every registered fusion."""
    rows = {}
    for name in sorted(bench.registry.names("fusion")):
        fusion = bench.registry.build("fusion", {"type": name})
        rows[name] = best(lambda fusion=fusion: (fusion.scales(LearnerProgress(50, 100)), fusion.weights(bench.tokens)))
    return Table("Fusions", rows, {})


def surrogates(bench: Bench) -> Table:
    """Preparation, values and gradient of every registered surrogate."""
    tokens, rows = bench.tokens, {}
    for name in sorted(bench.registry.names("surrogate")):
        surrogate = bench.registry.build("surrogate", {"type": name})

        def call(surrogate: Any = surrogate) -> None:
            logprob = (tokens.old_logprob + 0.01).requires_grad_()
            prepared = surrogate.prepare(tokens, tokens.advantage)
            prepared.values(logprob, tokens, tokens.advantage).sum().backward()

        rows[name] = best(call)
    return Table("Surrogates", rows, {})


def loss_advantages(bench: Bench) -> Table:
    """The teacher's advantage of every loss that is a policy gradient."""
    rows = {}
    for name in sorted(bench.registry.names("loss")):
        objective = objective_at(bench.registry.build("loss", {"type": name}), LearnerProgress(50, 100))
        if isinstance(objective, PolicyGradient):
            rows[name] = best(lambda objective=objective: objective.clipped_advantage(bench.tokens))
    return Table("Advantages of losses", rows, {})


SECTIONS: dict[str, Callable[[Bench], Table]] = {
    "statistics": statistics,
    "step-weights": step_weights,
    "token-weights": token_weights,
    "advantages": advantages,
    "filters": filters,
    "fusions": fusions,
    "surrogates": surrogates,
    "loss-advantages": loss_advantages,
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
