"""Whole runs with privileged teachers: they learn, they resume bit for bit, they say what they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from agentdistill.config.load import load_config
from agentdistill.errors import AgentDistillError
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.checkpoint import list_checkpoints
from agentdistill.training.preflight import preflight
from agentdistill.training.run import Run
from agentdistill_teachers.privileged import PrivilegedConfig, privileged_teacher

BASE = """
[run]
name = "privileged"
seed = 3
self_test = false
checkpoint_every = 2

[env]
type = "words"

[student]
model = "STUDENT"

[teacher]
type = "privileged"

[teacher.teacher]
type = "self"

[teacher.view]
type = "sd-zero"

[loss]
type = "opd"
support = "full"
divergence = "forward-kl"

[rollout]
tasks_per_step = 2
samples_per_task = 3
max_new_tokens = 4

[optim]
lr = 1e-3
steps = 4
"""

PLUGINS = ["tests.identity.words"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("privileged")
    tiny_model(seed=1, hidden=32).save_pretrained(folder / "student")
    tiny_tokenizer().save_pretrained(folder / "student")
    (folder / "recipe.toml").write_text(BASE.replace("STUDENT", str(folder / "student")))
    return folder / "recipe.toml"


@pytest.fixture
def make(recipe: Path, tmp_path: Path):
    def made(name: str = "run", **overrides: Any) -> Run:
        registry = PluginRegistry.load(PLUGINS)
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        values = {"run.directory": str(tmp_path / name), "run.plugins": PLUGINS, **dotted}
        return Run(load_config([str(recipe)], values, registry=registry, plugins=PLUGINS), registry)

    return made


def weights(directory: Path) -> bytes:
    return (directory / "student" / "model.safetensors").read_bytes()


def metrics(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]


def interrupted(run: Run, after: int) -> None:
    """Trains until the batch of a step fails."""

    class Stopped(AgentDistillError):
        pass

    original, asked = run.parts.teacher.score, []

    def score(trajectories, request):
        asked.append(None)
        if len(asked) > after + 1:  # one more is the check before the run
            raise Stopped("Stopped.")
        return original(trajectories, request)

    run.parts.teacher.score = score
    with pytest.raises(Stopped):
        run.train()


@pytest.mark.parametrize("kind", ["frozen", "ema", "trust-region", "live"])
def test_a_resumed_run_is_bit_equal(make, kind):
    more = {"teacher__teacher__weights": kind, "teacher__teacher__rate": 0.3}
    whole = make("whole", **more)
    whole.train()
    broken = make("broken", **more)
    interrupted(broken, after=3)
    kept = list_checkpoints(broken.directory / "checkpoints")[-1]
    assert kept.step == 2
    saved = torch.load(kept.path / "trainer.pt", weights_only=True)["teacher"]
    assert saved["steps"] == 2 and ("average" in saved) == (kind == "ema")
    resumed = make("broken", run__resume=True, **more)
    resumed.train()
    assert weights(resumed.directory) == weights(whole.directory)
    same = ("loss", "teacher/hinted", "teacher/added_tokens", "optim/grad_norm")
    assert [[line[name] for name in same] for line in metrics(resumed)] == [
        [line[name] for name in same] for line in metrics(whole)
    ]


def test_what_teaches_decides_what_is_learned(make):
    learned = set()
    for kind in ("frozen", "ema", "trust-region", "live"):
        run = make(kind, teacher__teacher__weights=kind)
        run.train()
        learned.add(weights(run.directory))
        assert metrics(run)[-1]["teacher/hinted"] == 6 and metrics(run)[-1]["loss"] > 0
    assert len(learned) == 4


def test_silent_batches_are_passed_over_with_the_filter_and_stop_without(make):
    """Groups of one have no sibling, and the words environment complains of nothing it can parse."""
    silent = {"teacher__view__type": "sdpo", "teacher__view__feedback": "never", "rollout__samples_per_task": 1}
    with pytest.raises(AgentDistillError, match="nothing to train on"):
        make("stops", **silent).train()
    run = make("passes", filter__type="scored", **silent)
    run.train()
    assert [line["batch/empty"] for line in metrics(run)] == [1.0] * 4
    assert all(line["teacher/unhinted"] == 2 for line in metrics(run))


@pytest.mark.parametrize("context", ["append", "window"])
@pytest.mark.parametrize("view", ["opsd", "sdpo", "sd-zero", "hindsight", "skills"])
def test_every_view_runs_in_every_context(make, view, context):
    more: dict[str, Any] = {"env__context__type": context}
    if context == "window":
        more |= {"env__context__think": False}
    if view == "skills":
        more |= {"teacher__view__general": ["Say what you are shown."]}
    run = make(f"{view}-{context}", teacher__view__type=view, optim__steps=1, filter__type="scored", **more)
    run.train()
    (line,) = metrics(run)
    assert line["teacher/hinted"] + line["teacher/unhinted"] == 6
    assert line["teacher/hinted"] == 0 or line["teacher/added_tokens"] > 5


def test_the_plan_warns_of_instance_level_hints_only(make):
    _, lines = preflight(make("instance").parts)
    assert any(line.startswith("teacher  warning instance-hints: ") for line in lines)
    _, lines = preflight(make("shared", teacher__view__type="skills", teacher__view__general=["Look."]).parts)
    assert "teacher  view skills, shared" in lines and not any("instance-hints" in line for line in lines)


def test_outside_a_run_it_says_what_it_needs():
    with pytest.raises(AgentDistillError, match="needs the run's context policy"):
        privileged_teacher(PrivilegedConfig(view={"type": "skills"}))


def test_a_typo_in_a_nested_option_is_reported_at_its_path(make):
    with pytest.raises(AgentDistillError, match=r"\[teacher\.view\] thouhgts: unknown key"):
        make("typo", teacher__view__thouhgts=True).parts.teacher  # noqa: B018
    with pytest.raises(AgentDistillError, match=r"\[teacher\.teacher\] wieghts: unknown key"):
        make("typo", teacher__teacher__wieghts="ema").parts.teacher  # noqa: B018
    with pytest.raises(AgentDistillError, match="no view named `spdo`"):
        make("typo", teacher__view__type="spdo").parts.teacher  # noqa: B018
