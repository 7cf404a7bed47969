"""SD-Zero's first phase: a model learns from its own episodes, and from nothing else, to revise what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from identity.conftest import TEMPLATE
from tiny import tiny_model, tiny_tokenizer

from agentdistill.cli import main
from agentdistill.config.load import load_config
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import Trajectory
from agentdistill.store import TrajectoryStore
from agentdistill.training.sft import imitate

PLUGIN = "tests.identity.coins"
VIEW = {"type": "sd-zero", "good": False, "attempt": "not {steps}", "revise": ""}
BASE: dict[str, Any] = {
    "run": {"name": "coins", "checkpoint_every": 0, "self_test": False, "diagnostics": False},
    "env": {"type": "coins", "max_steps": 1, "split": "told"},
    "rollout": {"tasks_per_step": 32, "max_new_tokens": 4, "concurrency": 64},
    "optim": {"schedule": "linear", "weight_decay": 0.0},
}


def shown(attempts: Path) -> dict[str, Any]:
    return {"type": "viewed", "attempts": str(attempts), "view": VIEW}


def trained(folder: Path, name: str, student: str, **values: Any) -> str:
    registry = PluginRegistry.load([PLUGIN])
    given = {"run.directory": str(folder / name), "student.model": student, **values}
    imitate(load_config([BASE], given, registry=registry, plugins=[PLUGIN]), registry)
    return str(folder / name / "student")


def collected(folder: Path, name: str, student: str, split: str, *more: str) -> list[Trajectory]:
    """Episodes that the student plays, by the command."""
    command = ["collect", "-p", PLUGIN, "--env.type", "coins", "--env.max_steps", "1", "--env.split", split]
    command += ["--agent", "student", "--student.model", student, "--rollout.max_new_tokens", "4"]
    command += ["--rollout.concurrency", "64", "--output", str(folder / name), *more]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    return list(TrajectoryStore(folder / name).read())


def options(attempts: Path) -> list[str]:
    """`shown` as a command line; another seed than the attempts'."""
    found = ["--run.seed", "1", "--env.context.type", "viewed", "--env.context.attempts", str(attempts)]
    for key, value in VIEW.items():
        found += [f"--env.context.view.{key}", str(value).lower() if isinstance(value, bool) else str(value)]
    return found


def revised(folder: Path, name: str, student: str) -> tuple[float, float]:
    """Share of new coins won at once, and share of the others that are won after hearing what was wrong."""
    first = collected(folder, f"first-{name}", student, "asked", "--failures")
    again = collected(folder, f"again-{name}", student, "asked", "--failures", *options(folder / f"first-{name}"))
    lost = {trajectory.task for trajectory in first if not trajectory.success}
    wins = [trajectory.success for trajectory in again if trajectory.task in lost]
    return 1 - len(lost) / len(first), sum(wins) / len(wins)


@pytest.mark.slow
def test_a_model_learns_from_its_own_revisions_to_revise(tmp_path: Path):
    tiny_model(seed=1, hidden=64, initializer_range=0.05).save_pretrained(tmp_path / "raw")
    tiny_tokenizer(TEMPLATE).save_pretrained(tmp_path / "raw")
    reader = trained(tmp_path, "reader", str(tmp_path / "raw"), **{"optim.steps": 200, "optim.lr": 5e-3})

    collected(tmp_path, "attempts", reader, "told", "--failures")
    won = collected(tmp_path, "revisions", reader, "told", *options(tmp_path / "attempts"))
    assert all(trajectory.success for trajectory in won)
    data = {"demonstrations.source": str(tmp_path / "revisions"), "env.context": shown(tmp_path / "attempts")}
    reviser = trained(tmp_path, "srt", reader, **data, **{"optim.steps": 250, "optim.lr": 4e-3})

    alone, revises = revised(tmp_path, "before", reader)
    still_alone, learned = revised(tmp_path, "after", reviser)
    assert revises < 0.6 < 0.75 < learned
    assert still_alone > alone - 0.1  # the generator has not forgotten
