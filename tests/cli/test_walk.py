"""The whole walk from the command line, with tiny real models in generated games."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import households, write_recipe

from agentdistill.store import TrajectoryStore


@pytest.fixture
def recipe(tiny_models: Path, tmp_path: Path) -> str:
    recipe = households(
        tiny_models,
        env={"generated": {"train": 6, "seen": 4, "unseen": 4}},
        rollout={"max_new_tokens": 4},
        eval={"panel": "alfworld/generated-unseen", "limit": 2},
    )
    return str(write_recipe(tmp_path / "walk.toml", recipe))


def test_doctor_then_train_then_eval(run, recipe: str) -> None:
    outcome = run("doctor", recipe)
    assert outcome.code == 0, outcome.out
    assert "The recipe can run here" in outcome.out and not Path("runs").exists()

    outcome = run("train", recipe, "--output", "out")
    assert outcome.code == 0, outcome.err
    subjects = [line.split()[0] for line in outcome.out.splitlines() if line.strip()]
    order = [subjects.index(word) for word in ("plan", "student", "eval", "step", "after", "saved")]
    assert order == sorted(order)
    assert json.loads(Path("out/results.json").read_text())["totals"]["episodes"] == 4

    outcome = run("train", recipe, "--output", "out")
    assert outcome.code == 2 and "--resume" in outcome.err
    assert run("train", recipe, "--output", "out", "--resume").code == 0
    outcome = run("train", recipe, "--output", "out", "--resume", "--optim.lr", "1e-2")
    assert outcome.code == 2 and "optim.lr was 0.001, is 0.01." in outcome.err

    # A student that a run wrote is asked as in that run's recipe.
    outcome = run("eval", "--student.model", "out/student", "--panel", "alfworld/generated-unseen", "--output", "again")
    assert outcome.code == 0, outcome.err
    again = json.loads(Path("again/results.json").read_text())
    after = json.loads(Path("out/results.json").read_text())["after"]
    assert again["episodes"] == after["episodes"] and again["protocol"] == after["protocol"]
    assert '"max_steps": 3' in json.dumps(again["protocol"])
    outcome = run("eval", "--student.model", "out/student", "--output", "again")
    assert outcome.code == 2 and "already" in outcome.err


def test_doctor_tells_every_failure(run, recipe: str) -> None:
    outcome = run("doctor", recipe, "--student.model", "./absent", "--eval.panel", "alfworld/nowhere")
    assert outcome.code == 1
    lines = {line.split()[1]: line for line in outcome.out.splitlines() if line.startswith(("ok", "fail"))}
    assert lines["environment"].startswith("ok") and lines["panel"].startswith("fail")
    assert "./absent" in lines["student"] and lines["engine"].endswith("see student")


def test_collect_then_imitate(run, recipe: str) -> None:
    outcome = run("collect", recipe, "--output", "demos", "--episodes", "4", "--env.max_steps", "30")
    assert outcome.code == 0, outcome.err
    episodes = list(TrajectoryStore(Path("demos")).read())
    assert len(episodes) == 4 and all(episode.success for episode in episodes)
    assert run("collect", recipe, "--output", "demos").code == 2

    outcome = run("sft", recipe, "--data", "demos", "--output", "imitated")
    assert outcome.code == 0, outcome.err
    assert "imitate 4 demonstrations" in outcome.out and Path("imitated/student/config.json").is_file()


def test_a_model_that_wins_nothing_leaves_nothing(run, recipe: str) -> None:
    outcome = run("collect", recipe, "--agent", "student", "--output", "own", "--episodes", "2")
    assert outcome.code == 2 and "No episode was kept." in outcome.err
    assert run("collect", recipe, "--agent", "student", "--output", "own", "--episodes", "2", "--failures").code == 0
    assert all(row.mask.any() for episode in TrajectoryStore(Path("own")).read() for row in episode.rows)


def test_eval_from_python(run, recipe: str) -> None:
    import agentdistill as ad

    made = ad.Run.from_recipe(recipe)
    result = ad.evaluate(made, panel="alfworld/generated-unseen", limit=3)
    assert result.success.n == 3 and result.protocol["max_steps"] == 3
    overrides = {"env.engine": "fast", "env.max_steps": 3, "env.generated.unseen": 4, "rollout.max_new_tokens": 4}
    again = ad.evaluate(made.student, panel="alfworld/generated-unseen", limit=3, overrides=overrides)
    assert again.outcomes == result.outcomes
