"""Trains one student with many methods under one protocol, several seeds each, and compares them on a fixed panel.

    python scripts/study_methods.py --output runs/study [--only NAME,NAME] [--seeds 3] [--steps 100] [--report]

The base is the demo's recipe (`tcod-alfworld starter demo`), shorter, with the batches and the optimiser of
`demo-long`, which move the student sooner. A variant is one change of it and nothing else: one of a few written here,
or a method that ships, as `kind/name`, laid over the base as its page says under "In a recipe". Surrogates are compared
with the base's sampled form, since without policy gradients they have nothing to do; advantages and fusions with GRPO
beside the teacher. All have the same student, teacher, training games, number of episodes, learning rate schedule and
panel. The panel is the 140 published valid_seen games where $ALFWORLD_DATA is set, else 200 generated ones in rooms
that training never uses; evaluation is greedy, 30 steps, on the fast engine, which answers these games as the stock one
does (check_alfworld_parity.py) without half a minute of loading.

A run that is finished is not run again, so the study can be stopped and continued, and several processes may work on
disjoint `--only` lists. `--report` prints the table of what is there and trains nothing. For every variant it has: the
success of each seed; the pooled success; its difference to what it is compared with, paired by seed and game, with
Newcombe's interval over all pairs (which takes the games of different seeds as independent: read it together with the
spread of the seeds); environment steps, teacher tokens and CPU seconds of a run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are small: more threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from agentdistill.plugins import PluginRegistry
from scripts.method_recipes import layer as layer_of

RECIPES = ("tcod-alfworld", "starter", "demo")
GROUPS = {"rollout.tasks_per_step": 8, "rollout.samples_per_task": 4}
REWARDED = {"reward.type": "outcome", "advantage.type": "grpo", **GROUPS}
# An episode that the curriculum cuts is not known to be lost: rewards want whole ones.
WHOLE = {"curriculum.start": 30, "curriculum.maximum": 30}
# Sampled tokens only, as policy gradients have it.
SAMPLED = {"loss.divergence": "reverse-kl", "loss.support": "sampled"}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "tcod-f2b": {"curriculum.type": "tcod-f2b", "curriculum.start": 6},
    "uniform": {"step_weight.type": "uniform"},
    "sod-as-published": {"step_weight.first_floor": 0.0},
    "reverse-kl": {"loss.divergence": "reverse-kl"},
    "jsd": {"loss.divergence": "jsd"},
    "top-8": {"loss.support": "teacher-topk", "loss.k": 8},
    "sampled": SAMPLED,
    "grpo": {**REWARDED, **SAMPLED, "fusion.type": "additive", "fusion.kd": 0.0, "curriculum.type": "full"},
    "grpo-and-teacher": {**REWARDED, **SAMPLED, **WHOLE, "fusion.type": "additive"},
    # How the same episodes are learned from.
    "one-update": {"optim.minibatches": 1},
    "two-epochs": {"optim.epochs": 2},
    "adamw": {"optim.optimizer": "adamw"},
}
"""Changes of the base by hand."""

OVER = {
    "loss": "base",
    "step-weight": "base",
    "token-weight": "base",
    "filter": "base",
    "curriculum": "base",
    "surrogate": "sampled",
    "advantage": "advantage/grpo",
    "fusion": "advantage/grpo",
}
"""Kinds whose every method is tried, laid as its page says over a variant with which it is compared."""

LEFT_OUT = {
    "curriculum/reopd": "it wants recorded episodes",
    "step-weight/sage": "it wants a judge behind an endpoint",
    "loss/opd": "it is the base",
}


@cache
def registry() -> PluginRegistry:
    """The plugins that ship."""
    return PluginRegistry.load(third_party=False)


def library() -> list[str]:
    """All methods of those kinds, as kind/name."""
    every = [f"{kind}/{name}" for kind in OVER for name in registry().names(kind)]
    return [name for name in every if name not in LEFT_OUT]


def reference(name: str) -> str:
    """The variant that one is compared with."""
    return OVER[name.partition("/")[0]] if "/" in name else "base"


def settings(name: str, seed: int, steps: int, directory: Path) -> dict[str, Any]:
    """The overrides of one run."""
    published = bool(os.environ.get("ALFWORLD_DATA"))
    common = {
        "env.split": "generated-train",
        "optim.steps": steps,
        "optim.optimizer": "muon",
        "optim.minibatches": 2,
        "rollout.tasks_per_step": 32,
        "rollout.concurrency": 32,
        "curriculum.every": 4,
        "run.seed": seed,
        "run.directory": str(directory),
        "run.checkpoint_every": 0,
        "run.keep_checkpoints": 1,
        "run.self_test": False,
        "run.diagnostics": False,
        "eval.env": {"engine": "fast"},
        "eval.panel": "alfworld/valid_seen" if published else "alfworld/generated-unseen",
    }
    page = layer(name)
    own = VARIANTS.get(reference(name), {}) if page else VARIANTS[name]
    if "curriculum.type" in own or name.startswith("curriculum/"):
        common.pop("curriculum.every")
    if "samples_per_task" in page:
        common |= GROUPS
    if "[reward]" in page:
        common |= WHOLE
    return common | own


def layer(name: str) -> str:
    """What a method's page says under "In a recipe"; "" for a change by hand."""
    return layer_of(registry().get(*name.split("/"))) if "/" in name else ""


def train(name: str, seed: int, steps: int, output: Path) -> None:
    """One run, unless its result is there."""
    from agentdistill.training.run import Run

    directory = output / f"{name.replace('/', '-')}-s{seed}"
    if (directory / "study.json").exists():
        return
    began, wall = time.process_time(), time.time()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(layer(name))
        file.flush()
        result = Run.from_recipe(*RECIPES, file.name, overrides=settings(name, seed, steps, directory)).train()
    assert result.before is not None and result.after is not None
    document = {
        "variant": name,
        "seed": seed,
        "steps": steps,
        "panel": result.after.panel,
        "panel_hash": result.after.panel_hash,
        "before": [outcome.success for outcome in result.before.outcomes],
        "after": [outcome.success for outcome in result.after.outcomes],
        "totals": dict(result.totals),
        "cpu_seconds": time.process_time() - began,
        "wall_seconds": time.time() - wall,
    }
    (directory / "study.json").write_text(json.dumps(document) + "\n")
    print(f"{name:>24} seed {seed}: {sum(document['after'])} of {len(document['after'])}", flush=True)


def report(output: Path) -> None:
    """The table of every finished run."""
    from agentdistill.evaluate.statistics import pair, wilson

    found = [json.loads(path.read_text()) for path in sorted(output.glob("*/study.json"))]
    if not found:
        print(f"nothing is finished in {output}")
        return
    protocols = {(one["panel_hash"], one["steps"]) for one in found}
    if len(protocols) > 1:
        raise SystemExit(f"{output} holds runs of different panels or lengths: {sorted(protocols)}")
    by_name: dict[str, dict[int, Any]] = {}
    for one in found:
        by_name.setdefault(one["variant"], {})[one["seed"]] = one
    print(f"{found[0]['panel']}, {len(found[0]['after'])} games, {found[0]['steps']} steps")
    print("| variant | seeds | pooled success | difference, paired | env steps | teacher tokens | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for name in [name for name in (*VARIANTS, *library()) if name in by_name]:
        runs = by_name[name]
        won = [won for run in runs.values() for won in run["after"]]
        base = by_name.get(reference(name), {})
        common = [seed for seed in runs if seed in base] if name != reference(name) else []
        pairs = [p for s in common for p in zip(base[s]["after"], runs[s]["after"], strict=True)]
        paired = pair(pairs) if pairs else None
        difference = (
            f"{100 * paired.difference.value:+.1f} [{100 * paired.difference.low:+.1f}, "
            f"{100 * paired.difference.high:+.1f}], p = {paired.p_value:.2g}"
            if paired
            else ""
        )
        each = ", ".join(f"{sum(run['after']) / len(run['after']):.2f}" for _, run in sorted(runs.items()))
        mean = {
            key: sum(run["totals"][key] for run in runs.values()) / len(runs) for key in ("env_steps", "teacher_tokens")
        }
        cpu = sum(run["cpu_seconds"] for run in runs.values()) / len(runs)
        print(
            f"| {name} | {each} | {wilson(sum(won), len(won))} | {difference} | {mean['env_steps']:,.0f} "
            f"| {mean['teacher_tokens'] / 1e6:.2f} M | {cpu:.0f} |"
        )
    before = found[0]["before"]
    print(f"\nbefore: {wilson(sum(before), len(before))}")


def main() -> None:
    """Trains what is missing, then reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", help="default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    known = [*VARIANTS, *library()]
    names = arguments.only.split(",") if arguments.only else known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    if not arguments.report:
        arguments.output.mkdir(parents=True, exist_ok=True)
        for seed in range(arguments.seeds):
            for name in names:
                train(name, seed, arguments.steps, arguments.output)
    report(arguments.output)


if __name__ == "__main__":
    main()
