"""Measures what a teacher teaches of which only the words are known, in two ways.

    python scripts/study_blackbox.py --url http://localhost:8000/v1 --output runs/blackbox [--seeds 0 1 2] [--report]

The endpoint is any OpenAI-compatible chat server of the teacher; with vLLM, for the models of this package:

    vllm serve envs/agentdistill_alfworld/starters/teacher --served-model-name starter-teacher --max-model-len 2048

`sopd` is the recipe `tcod-alfworld starter blackbox-alfworld`: the student plays, the endpoint writes its own turn at
every state, and these turns are imitated (arXiv 2608.16333). `guided` lets the endpoint play half of the turns in the
student's place, and imitates those. Everything else is the same: student, steps, learning rate, episodes, seed.
Students are evaluated alone and greedily; differences are paired by game, Newcombe's interval and the exact test.

A run that has finished is not run again, and answers are cached, so a second call costs nothing; --report only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are small: more threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")

PRICES = {"price_in": 1.0, "price_out": 4.0}
"""US dollars per million tokens, an assumption: so that the account has something to say."""


def run(*command: str, **values: Any) -> None:
    """One command of ours, with dotted values."""
    options = [part for key, value in values.items() for part in (f"--{key}", str(value))]
    subprocess.run([sys.executable, "-m", "agentdistill", *command, *options], check=True)


def shared(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """What every run of a seed has in common; Muon and two updates a batch move this student in few steps."""
    muon = options.optimizer == "muon"
    return {
        "run.seed": seed,
        "run.checkpoint_every": 0,
        "run.self_test": "false",
        "student.model": options.student,
        "env.generated.train": options.games,
        "optim.steps": options.steps,
        "optim.lr": options.lr,
        "optim.reduction": "turn-mean",
        "optim.schedule": "linear",
        "optim.optimizer": options.optimizer,
        "optim.minibatches": 2 if muon else 1,
        "optim.betas": "[0.9, 0.98]" if muon else "[0.9, 0.999]",
        "rollout.tasks_per_step": options.episodes,
        "eval.panel": options.panel,
        "eval.limit": options.limit,
    }


def taught(options: argparse.Namespace, seed: int, folder: Path, **curriculum: Any) -> None:
    """A run whose only teacher is the endpoint's words."""
    endpoint = {"url": options.url, "model": options.model, "max_tokens": 16, "served_as": "study", **PRICES}
    teacher = {f"teacher.{key}": value for key, value in endpoint.items()}
    own = {f"curriculum.{key}": value for key, value in curriculum.items()}
    recipe = ("train", "tcod-alfworld", "starter", "blackbox-alfworld", "--output", str(folder))
    run(*recipe, **shared(options, seed), **teacher, **own)


def sopd(options: argparse.Namespace, seed: int, folder: Path) -> None:
    """The student's states, the endpoint's words."""
    taught(options, seed, folder, **({"horizon": options.horizon} if options.horizon else {}))


def guided(options: argparse.Namespace, seed: int, folder: Path) -> None:
    """States that both lead to: the endpoint plays half of the turns, and these are imitated."""
    window = {"start": 6, "every": 4, "maximum": 15}
    taught(options, seed, folder, type="guided", first_share=0.5, last_share=0.5, **window)


ARMS = {"sopd": sopd, "guided": guided}


def report(options: argparse.Namespace) -> str:
    """The table of everything that has finished, as Markdown."""
    from agentdistill.evaluate.compare import compare
    from agentdistill.evaluate.result import load_result
    from agentdistill.evaluate.table import p_text

    lines = [
        "| | seed | before | after | gain, paired | teacher's tokens read / written | USD |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        for seed in options.seeds:
            folder = options.output / f"{arm}-{seed}"
            if not (folder / "results.json").exists():
                continue
            before, after = load_result(folder, "before"), load_result(folder)
            gain = compare(before, after).overall
            totals = json.loads((folder / "results.json").read_text(encoding="utf-8"))["totals"]
            asked = [f"{totals[name]:,.0f}" for name in ("teacher_tokens", "teacher_written_tokens")]
            difference = gain.difference
            cells = [
                arm,
                str(seed),
                str(before.success),
                str(after.success),
                f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}], {p_text(gain.p_value)}",
                " / ".join(asked),
                f"{totals['teacher_cost_usd']:.2f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs what has not been run, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8000/v1")
    parser.add_argument("--model", default="starter-teacher", help="the name the endpoint knows the teacher by")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--student", default="starter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--games", type=int, default=2000, help="generated training games")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--episodes", type=int, default=16, help="episodes of a step")
    parser.add_argument(
        "--horizon", type=int, default=10, help="turns of an episode that `sopd` plays; 0 plays it whole"
    )
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--panel", default="alfworld/generated-unseen")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for seed in () if options.report else options.seeds:
        for arm in options.arms:
            folder = options.output / f"{arm}-{seed}"
            if not (folder / "results.json").exists():
                ARMS[arm](options, seed, folder)
    text = report(options)
    print(f"\n{text}\n")
    (options.output / "report.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
