"""The self-test holds for what is right, whatever the method, and names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chat_server import chat_server
from identity.judge import verdict
from tiny_runs import save_models

from agentdistill.clients import EndpointError
from agentdistill.config.load import load_config
from agentdistill.errors import AgentDistillError, CheckpointError, EnvironmentFailure, TrainingError
from agentdistill.plugins import PluginRegistry
from agentdistill.selftest import CHECKS, SelfTest, self_test
from agentdistill.selftest import mask as mask_check
from agentdistill.selftest import material as made
from agentdistill.training.assembly import Parts
from agentdistill.training.preflight import preflight

PLUGIN = "tests.identity.words"
BROKEN = "tests.selftest.broken"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_models(tmp_path_factory.mktemp("models"), layers=1, student=1, teacher=2)


@pytest.fixture
def make_test(models: Path):
    """The self-test of a small recipe with overrides."""

    def make(**overrides: Any) -> SelfTest:
        registry = PluginRegistry.load([PLUGIN])
        values = {
            "env.type": "words",
            "env.max_steps": 2,
            "student.model": str(models / "student"),
            "teacher.type": "local",
            "teacher.model": str(models / "teacher"),
            "loss.type": "opd",
            "rollout.max_new_tokens": 6,
            "rollout.samples_per_task": 2,
            "optim.steps": 20,
            **{key.replace("__", "."): value for key, value in overrides.items()},
        }
        return SelfTest(Parts(load_config([], values, registry=registry, plugins=[PLUGIN]), registry))

    return make


def test_every_check_holds_and_leaves_the_student_as_it_was(make_test) -> None:
    test = make_test()
    model = test.parts.student.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outcomes = list(self_test(test))
    assert [outcome.name for outcome in outcomes] == list(CHECKS)
    assert all("\n" not in str(outcome) and outcome.seconds >= 0 for outcome in outcomes)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", PluginRegistry.load(third_party=False).names("loss"))
def test_every_loss_rests_at_its_teacher_or_says_why_not(name: str, make_test) -> None:
    test = make_test(loss__type=name)
    rests = getattr(test.parts.loss, "rests_at_teacher", True)
    assert test.teacher_is_student().startswith("teacher = " if rests else "not asked")
    assert "gradients differ by" in test.micro_batches()


@pytest.mark.parametrize("support", ["sampled", "full", "teacher-topk", "student-topk"])
def test_every_support_rests_at_its_teacher(support: str, make_test) -> None:
    divergence = {} if support == "sampled" else {"loss__divergence": "reverse-kl"}
    assert make_test(loss__support=support, **divergence).teacher_is_student().startswith("teacher = ")


def test_rewards_alone(make_test) -> None:
    registry_values = {"reward__type": "outcome", "advantage__type": "grpo", "fusion__type": "additive"}
    assert [outcome.name for outcome in self_test(make_test(**registry_values))] == list(CHECKS)


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"loss__type": f"{BROKEN}:DriftingLoss"}, TrainingError, "its own teacher"),
        ({"loss__type": f"{BROKEN}:PassLoss"}, TrainingError, "passes over one each"),
        ({"curriculum__type": f"{BROKEN}:ForgetfulCurriculum"}, CheckpointError, "is not what it was"),
        ({"env__type": f"{BROKEN}:DiceSource"}, EnvironmentFailure, "diverged"),
    ],
)
def test_a_fault_is_named_in_one_paragraph(overrides, error, words: str, make_test) -> None:
    with pytest.raises(error, match=words) as raised:
        list(self_test(make_test(**overrides)))
    assert isinstance(raised.value, AgentDistillError) and raised.value.do and "\n" not in str(raised.value)


def test_a_loss_with_a_goal_of_its_own_is_not_asked(make_test) -> None:
    assert "not asked" in make_test(loss__type=f"{BROKEN}:HonestDriftingLoss").teacher_is_student()


def test_weights_of_nothing_are_told(make_test) -> None:
    assert "weights of 0" in make_test(token_weight__type=f"{BROKEN}:zero").teacher_is_student()


def test_a_big_student_is_stood_in_for(make_test, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "LARGEST", 100)
    test = make_test()
    assert "a tiny model of the student's vocabulary" in test.teacher_is_student()
    assert "gradients differ by" in test.micro_batches()


def test_a_mask_that_is_shifted_is_found(make_test, monkeypatch: pytest.MonkeyPatch) -> None:
    play = mask_check.play

    def shifted(*args: Any, **kwargs: Any):
        episodes = play(*args, **kwargs)
        for row in episodes[0].rows:
            row.mask[:] = np.roll(row.mask, 1)
        return episodes

    monkeypatch.setattr(mask_check, "play", shifted)
    with pytest.raises(TrainingError, match="does not give the mask it must"):
        make_test().mask()


def test_rewards_are_asked_before_the_run_and_learn_nothing_from_it(make_test, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))
    judge = {"reward__type": "mpo", "reward__model": "judge", "reward__every": 1, "advantage__type": "grpo"}
    with chat_server(verdict) as server:
        parts = make_test(reward__url=server.url, **judge).parts
        lines = preflight(parts)[1]
        assert any(line.startswith("check    rewards  mpo 0: mean of 2 episodes") for line in lines)
        assert len(server.requests) == 3  # two episodes and a revision, which the run's judge knows nothing of
    assert parts.judges.state_dict()["mpo"]["batches"] == 0
    assert not any(step.info.get("annotations") for t in SelfTest(parts).material.played for step in t.steps)
    with pytest.raises(EndpointError, match="cannot be reached"):
        preflight(make_test(reward__url="http://127.0.0.1:9/v1", reward__retries=0, **judge).parts)


def test_it_can_be_left_out(make_test) -> None:
    check, lines = preflight(make_test(run__self_test=False).parts)
    assert check.tokens > 0 and len(lines) == 1 and "skipped" in lines[0]
