"""From the command line, with the models and games of this package: collect, evaluate, and no training by mistake."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from agentdistill.cli import main
from agentdistill.errors import ConfigError
from agentdistill.store import TrajectoryStore
from agentdistill.training.evaluation import panel_of
from agentdistill.training.run import Run
from agentdistill_contexts.retrieval import RetrievalContext
from agentdistill_engines.cascade import CascadeEngine

SMALL = ["--env.generated.train", "8", "--env.generated.seen", "3", "--env.generated.unseen", "3"]
CASCADE = ["--engine.type", "cascade", "--engine.teacher.model", "starter-teacher", "--eval.temperature", "0.7"]


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything that was printed, its white space evened out."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0, " ".join((out.getvalue() + err.getvalue()).split())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("collected") / "teacher"
    code, told = run(
        "collect", "starter", *SMALL, "--env.split", "generated-train", "--agent", "student", "--output", str(folder),
        "--student.model", "starter-teacher", "--engine.type", "cascade", "--engine.samples", "1",
        "--engine.price_in", "1", "--engine.price_out", "4",
    )  # fmt: skip
    assert code == 0, told
    return str(folder)


def test_collected_episodes_carry_their_account(store: str) -> None:
    episodes = list(TrajectoryStore(Path(store)).read())
    assert episodes and all("usage" in step.info for episode in episodes for step in episode.steps)


def test_an_evaluation_shows_success_cost_and_who_played(store: str, tmp_path: Path) -> None:
    shown = ["--env.context.type", "retrieval", "--env.context.store", store, "--env.context.form", "turns"]
    code, told = run(
        "eval", "starter", *SMALL, *CASCADE, *shown, "--env.context.k", "1", "--env.context.when", "episode",
        "--student.model", "starter-15", "--panel", "alfworld/generated-unseen", "--output", str(tmp_path / "e"),
    )  # fmt: skip
    assert code == 0, told
    result = json.loads((tmp_path / "e" / "results.json").read_text())
    summary = result["summary"]
    assert result["protocol"]["players"] == "cascade(student, teacher), 3 of 3 answers must agree, full depth"
    assert summary["teacher_steps"] == summary["spent"]["teacher"]["calls"] > 0 and summary["usd"] is None
    assert summary["spent"]["student"]["calls"] == 3 * sum(episode["steps"] for episode in result["episodes"])
    assert result["provenance"]["agent"]["teacher"]["model"] == "starter-teacher"
    assert f"NOT the student alone: the teacher wrote {summary['teacher_steps']}" in told
    assert "note: demonstrations: the 1 nearest of" in told and "0 episodes held out" in told
    assert store not in json.dumps(result), "no path of this machine"


def test_an_evaluation_of_the_collected_games_is_refused(store: str, tmp_path: Path) -> None:
    code, told = run(
        "eval", "starter", *SMALL, "--env.context.type", "retrieval", "--env.context.store", store,
        "--panel", "alfworld/generated-train", "--output", str(tmp_path / "e"),
    )  # fmt: skip
    assert code == 2 and "No demonstration is left" in told


@pytest.mark.slow
def test_a_training_run_with_a_cascade_stops_at_its_start(tmp_path: Path) -> None:
    overrides = {
        "run.directory": str(tmp_path / "run"),
        "run.self_test": False,
        "engine.type": "cascade",
        "engine.teacher": {"model": "starter-teacher"},
        "env.split": "generated-train",
        "env.generated": {"train": 4, "seen": 2, "unseen": 2},
        "rollout.tasks_per_step": 2,
        "optim.steps": 1,
        "eval.panel": False,
    }
    training = Run.from_recipe("tcod-alfworld", "starter", overrides=overrides)
    assert isinstance(training.parts.engine, CascadeEngine)
    assert not isinstance(training.parts.context, RetrievalContext)
    with pytest.raises(ConfigError, match="cannot sample for training"):
        training.train()


def test_a_run_never_trains_on_demonstrations_of_what_it_is_evaluated_on(store: str) -> None:
    """The policy knows the panel before the first prompt of any kind is made, in a resumed run as well."""
    overrides = {
        "env.generated": {"train": 8, "seen": 3, "unseen": 3},
        "env.context": {"type": "retrieval", "store": store, "held_out": "tasks"},
        "eval.panel": "alfworld/generated-train",
        "eval.limit": 3,
    }
    parts = Run.from_recipe("tcod-alfworld", "starter", overrides=overrides).parts
    assert isinstance(parts.context, RetrievalContext)
    keys = {task.key for task in panel_of(parts).tasks}
    evaluated = sum(episode.task.key in keys for episode in TrajectoryStore(Path(store)).read())
    assert len(keys) == 3 and evaluated
    assert parts.context.notes()[0].endswith(f"; {evaluated} episodes held out")
