"""Measures success and cost of agents that need no training beside trained ones: retrieval, votes, cascades.

    python scripts/study_cascade.py --output runs/cascades [--panel NAME ...] [--limit 100] [--trained DIR] [--report]

The method is that of arXiv 2512.02543. Every agent plays the same games: the student alone, the student with teacher
steps in its prompt, with a vote of its own answers, with the teacher where its answers disagree, the teacher alone,
and, with `--trained`, a student that was trained (such as the one of scripts/demo). The demonstrations are the
teacher's own games in `generated-train`, whose cost is told, too. Differences are paired by game, with Newcombe's
interval and the exact test.

Prices are assumptions (`--student-price`, `--teacher-price`, US dollars per million tokens read,written): the models of
this package cost nothing. Every call counts its whole prompt. What is measured is there to stay: an agent whose result
lies in --output is not played again, and --report only prints.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are small: more threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ALLOWED = ("players", "prompt_hash", "temperature")
"""What may differ between two agents: that is what is compared."""


def arms(options: argparse.Namespace, store: Path) -> dict[str, dict[str, Any]]:
    """Overrides of every agent."""
    student_in, student_out = options.student_price
    teacher_in, teacher_out = options.teacher_price
    alone = {"engine.type": "cascade", "engine.samples": 1}
    student = {"student.model": options.student, "engine.price_in": student_in, "engine.price_out": student_out}
    asked = {"model": options.teacher, "price_in": teacher_in, "price_out": teacher_out}
    cascade = {"engine.type": "cascade", "engine.samples": options.samples, "engine.teacher": asked}
    shown = {"type": "retrieval", "store": str(store), "context": {"type": "append"}, "k": 1, "when": "episode"}
    as_text, as_turns = {"env.context": {**shown, "form": "text"}}, {"env.context": {**shown, "form": "turns"}}
    each_turn = {"env.context": {**shown, "form": "text", "when": "turn"}}
    found = {
        "student": {**student, **alone},
        "student, greedy": {**student, **alone, "eval.temperature": 0.0},
        "student + a step told": {**student, **alone, **as_text},
        "student + a step told each turn": {**student, **alone, **each_turn},
        "student + a conversation shown": {**student, **alone, **as_turns},
        f"vote of {options.samples}": {**student, **alone, "engine.samples": options.samples},
        "cascade, all agree": {**student, **cascade},
        "cascade, 2 agree": {**student, **cascade, "engine.agree": 2},
        "cascade + a conversation shown": {**student, **cascade, **as_turns},
        "teacher": {
            **alone,
            "student.model": options.teacher,
            "engine.price_in": teacher_in,
            "engine.price_out": teacher_out,
        },
    }
    if options.trained:
        trained = {**student, "student.model": options.trained}
        found["trained student"] = {**trained, **alone}
        found["trained student, greedy"] = {**trained, **alone, "eval.temperature": 0.0}
        found["trained student, cascade"] = {**trained, **cascade}
    return found


def collect(options: argparse.Namespace, store: Path) -> None:
    """The teacher plays the demonstrations."""
    price_in, price_out = options.teacher_price
    command = ["collect", "starter", "--agent", "student", "--failures", "--output", str(store)]
    values = {
        "student.model": options.teacher,
        "env.split": "generated-train",
        "env.generated.train": options.episodes,
        "rollout.temperature": 0.4,
        "engine.type": "cascade",
        "engine.samples": 1,
        "engine.price_in": price_in,
        "engine.price_out": price_out,
    }
    for key, value in {**values, "episodes": options.episodes}.items():
        command += [f"--{key}", str(value)]
    subprocess.run([sys.executable, "-m", "agentdistill", *command], check=True)


def play(options: argparse.Namespace, panel: str, overrides: Mapping[str, Any], path: Path) -> None:
    """One agent over one panel."""
    from agentdistill.evaluate.result import save_result
    from agentdistill.training.evaluation import evaluate

    common = {
        "eval.temperature": options.temperature,
        "eval.concurrency": 32,
        "env.generated.train": options.episodes,
        "run.seed": options.seed,
    }
    model = str(overrides["student.model"])
    result = evaluate(
        model, panel, recipes=("starter",), overrides={**common, **overrides}, limit=options.limit or None
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_result(result, path)


def report(folder: Path, names: list[str], store: Path) -> str:
    """The table of one panel as Markdown."""
    from agentdistill.evaluate.compare import compare
    from agentdistill.evaluate.result import load_result
    from agentdistill.evaluate.spending import dollars, spent_in, total
    from agentdistill.evaluate.table import p_text
    from agentdistill.store import TrajectoryStore

    results = {name: load_result(path) for name in names if (path := folder / f"{slug(name)}.json").exists()}
    if "student" not in results or "teacher" not in results:
        return f"student and teacher have not played in {folder} yet"
    base, above = results["student"], results["teacher"]
    teacher_usd = (dollars(above.spent) or 0.0) / len(above.outcomes)
    played = list(TrajectoryStore(store).read())
    invested = dollars(total(spent_in(trajectory.steps) for trajectory in played)) or 0.0
    lines = [
        f"{base.panel}, {len(base.outcomes)} games, panel {base.panel_hash}; demonstrations: {len(played)} episodes of "
        f"the teacher, {sum(t.success for t in played)} won, {invested:.4f} USD",
        "",
        "| agent | success | against the student | against the teacher | teacher's turns | tokens read / written an "
        "episode, student; teacher | USD a 1,000 episodes | of the teacher's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        count = len(result.outcomes)
        ups = compare(base, result, ALLOWED).overall
        downs = compare(above, result, ALLOWED).overall
        turns = sum(outcome.steps for outcome in result.outcomes)
        tokens = "; ".join(
            f"{spent.prompt_tokens / count:,.0f} / {spent.sampled_tokens / count:,.0f}"
            for spent in result.spent.values()
        )
        usd = (dollars(result.spent) or 0.0) / count
        cells = [
            name,
            str(result.success),
            f"{signed(ups.difference)}, {p_text(ups.p_value)}",
            signed(downs.difference),
            f"{result.teacher_steps / max(1, turns):.0%}",
            tokens,
            f"{1000 * usd:.3f}",
            f"{usd / teacher_usd:.2f}" if teacher_usd else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def signed(estimate: Any) -> str:
    """A difference with its interval."""
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


def slug(name: str) -> str:
    """A file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def pair(text: str) -> tuple[float, float]:
    """Two prices."""
    read, written = text.split(",")
    return float(read), float(written)


def main() -> None:
    """Plays what has not been played, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--panel", nargs="+", default=["alfworld/generated-unseen"])
    parser.add_argument("--limit", type=int, default=100, help="games of each panel; 0 plays all")
    parser.add_argument("--episodes", type=int, default=200, help="demonstrations, also the generated training games")
    parser.add_argument("--student", default="starter")
    parser.add_argument("--teacher", default="starter-teacher")
    parser.add_argument("--trained", default="", help="directory of a trained student")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of agents, separated by |")
    parser.add_argument("--student-price", type=pair, default=(0.05, 0.2))
    parser.add_argument("--teacher-price", type=pair, default=(1.0, 4.0))
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    store = options.output / "demonstrations"
    agents = arms(options, store)
    if not options.report and not store.exists():
        options.output.mkdir(parents=True, exist_ok=True)
        collect(options, store)
    for panel in options.panel:
        folder = options.output / slug(panel)
        for name, overrides in agents.items():
            path = folder / f"{slug(name)}.json"
            wanted = not options.only or name in options.only.split("|")
            if wanted and not path.exists() and not options.report:
                play(options, panel, overrides, path)
                print(f"{panel}: {name} has played", flush=True)
        text = report(folder, list(agents), store)
        print(f"\n{text}\n", flush=True)
        (options.output / f"{slug(panel)}.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
