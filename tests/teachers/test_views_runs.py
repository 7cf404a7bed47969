"""Whole runs with privileged teachers: they learn, they resume bit for bit, they say what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import households, metrics_of, runs_of, weights_of

from agentdistill.errors import AgentDistillError
from agentdistill.training.checkpoint import list_checkpoints
from agentdistill.training.preflight import preflight
from agentdistill.training.run import Run
from agentdistill_teachers.privileged import PrivilegedConfig, privileged_teacher

PLUGINS = ["tests.identity.words"]


@pytest.fixture
def make(tiny_models: Path, tmp_path: Path):
    recipe = households(
        tiny_models,
        run={"self_test": False, "checkpoint_every": 2, "plugins": PLUGINS},
        env={"type": "words"},
        teacher={"type": "privileged", "teacher": {"type": "self"}, "view": {"type": "sd-zero"}},
        loss={"type": "opd", "support": "full", "divergence": "forward-kl"},
        rollout={"samples_per_task": 3, "max_new_tokens": 4},
        optim={"steps": 4},
    )
    return runs_of(recipe, tmp_path, PLUGINS)


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
    assert weights_of(resumed) == weights_of(whole)
    same = ("loss", "teacher/hinted", "teacher/added_tokens", "optim/grad_norm")
    assert [[line[name] for name in same] for line in metrics_of(resumed)] == [
        [line[name] for name in same] for line in metrics_of(whole)
    ]


def test_what_teaches_decides_what_is_learned(make):
    learned = set()
    for kind in ("frozen", "ema", "trust-region", "live"):
        run = make(kind, teacher__teacher__weights=kind)
        run.train()
        learned.add(weights_of(run))
        assert metrics_of(run)[-1]["teacher/hinted"] == 6 and metrics_of(run)[-1]["loss"] > 0
    assert len(learned) == 4


def test_silent_batches_are_passed_over_with_the_filter_and_stop_without(make):
    """Groups of one have no sibling, and the words environment complains of nothing it can parse."""
    silent = {"teacher__view__type": "sdpo", "teacher__view__feedback": "never", "rollout__samples_per_task": 1}
    with pytest.raises(AgentDistillError, match="nothing to train on"):
        make("stops", **silent).train()
    run = make("passes", filter__type="scored", **silent)
    run.train()
    assert [line["batch/empty"] for line in metrics_of(run)] == [1.0] * 4
    assert all(line["teacher/unhinted"] == 2 for line in metrics_of(run))


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
    (line,) = metrics_of(run)
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
    with pytest.raises(AgentDistillError, match=r"\[teacher\.view\] thouhgts .*: unknown key"):
        make("typo", teacher__view__thouhgts=True).parts.teacher  # noqa: B018
    with pytest.raises(AgentDistillError, match=r"\[teacher\.teacher\] wieghts .*: unknown key"):
        make("typo", teacher__teacher__wieghts="ema").parts.teacher  # noqa: B018
    with pytest.raises(AgentDistillError, match="no view named `spdo`"):
        make("typo", teacher__view__type="spdo").parts.teacher  # noqa: B018
