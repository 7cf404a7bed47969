"""Episodes that the real engine samples in the real environment, scored by real teachers and learned from."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.learner.learner import Learner
from agentdistill.learner.metrics import curve
from agentdistill.learner.settings import LearnerSettings
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginRegistry
from agentdistill.records import trainable_tokens
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play
from agentdistill.teachers.selfcheck import check_self_score
from agentdistill.training.curriculum import Progress
from agentdistill_teachers.local import LocalConfig, LocalTeacher

MAX_STEPS = 5


@pytest.fixture(scope="module")
def registry():
    return PluginRegistry.load(third_party=False)


@pytest.fixture(scope="module")
def source(registry):
    return registry.build("environment", {"type": "alfworld", "engine": "fast"}, "env")


@pytest.fixture
def student():
    return LoadedModel(tiny_model(0), tiny_tokenizer(), "student", None, "student")


def rollout(registry, source, student, context, curriculum, step=2):
    progress = Progress(step, 100, MAX_STEPS, lambda task: ("look", "inventory", "look", "inventory"))
    requests = [
        EpisodeRequest(task=task, plan=curriculum.plan(task, progress), sample=0, seed=i, policy_version=0)
        for i, task in enumerate(source.tasks("train")[:3])
    ]
    return play(
        requests,
        source=source,
        engine=registry.build("engine", {"type": "hf"}, "engine", model=student),
        renderer=ChatRenderer(student.tokenizer),
        context=context,
        settings=RolloutSettings(
            max_steps=MAX_STEPS,
            max_new_tokens=6,
            temperature=1.0,
            top_p=1.0,
            concurrency=3,
            constrained=False,
            want_expert=True,
        ),
    )


@pytest.mark.parametrize("context_type", ["append", "window"])
def test_the_walk(registry, source, student, context_type):
    context = registry.build("context", {"type": context_type}, "env.context")
    curriculum = registry.build("curriculum", {"type": "tcod-b2f", "every": 1}, "curriculum")
    played = rollout(registry, source, student, context, curriculum)
    assert [len(t.plan.prefix) for t in played] == [1, 1, 1]
    check = check_self_score(student, played)
    assert check.max_abs < 1e-4 and check.tokens == trainable_tokens(played) > 3 * 4

    teacher = LocalTeacher(LocalConfig(model="t"), LoadedModel(tiny_model(1), student.tokenizer, "t", None, "t"))
    loss = registry.build("loss", {"type": "opd"}, "loss")
    learner = Learner(
        student,
        loss=loss,
        step_weight=registry.function("step-weight", {"type": "sod"}, "step_weight"),
        token_weight=registry.function("token-weight", {"type": "uniform"}, "token_weight"),
        settings=LearnerSettings(lr=1e-3),
    )
    metrics = learner.step(played, teacher.score(played, loss.request))
    assert metrics["gap/logprob_max"] < 1e-4 and metrics["tokens/dead"] == 0
    # The replayed turn is no turn of the student's.
    assert list(curve(metrics, "kl")) == [1, 2, 3, 4] and curve(metrics, "weight")[1] == 1.0
    assert check_self_score(student, rollout(registry, source, student, context, curriculum)).max_abs < 1e-4
    with pytest.raises(Exception, match="does not reproduce"):
        check_self_score(student, played)  # the weights have moved since


def test_full_depth_is_ordinary_distillation(registry, source, student):
    context = registry.build("context", {"type": "append"}, "env.context")
    batches = []
    for kind in ("full", "tcod-f2b", "tcod-b2f"):
        curriculum = registry.build("curriculum", {"type": kind}, "curriculum")
        batches.append(rollout(registry, source, student, context, curriculum, step=90))
    for other in batches[1:]:
        for a, b in zip(batches[0], other, strict=True):
            assert a.stop == b.stop and [s.action for s in a.steps] == [s.action for s in b.steps]
            for row, same in zip(a.rows, b.rows, strict=True):
                for name in ("token_ids", "step_of_token", "mask"):
                    assert (getattr(row, name) == getattr(same, name)).all()
                assert torch.equal(
                    torch.from_numpy(row.old_logprob[row.mask]), torch.from_numpy(same.old_logprob[same.mask])
                )


def test_the_environment_s_expert_teaches(registry, source, student):
    context = registry.build("context", {"type": "append"}, "env.context")
    played = rollout(registry, source, student, context, registry.build("curriculum", {"type": "full"}, "curriculum"))
    section = {"type": "expert", "epsilon": 0.05}
    teacher = registry.build("teacher", section, "teacher", student=student, context=context, registry=registry)
    scores = teacher.score(played, registry.build("loss", {"type": "opd"}, "loss").request)
    for trajectory, opinions in zip(played, scores, strict=True):
        for step in trajectory.steps:
            valid = opinions[step.row].valid[step.start : step.end]
            # An unbroken run of opinions from the first token on: the expert always knows how to begin.
            assert valid[0] and valid.tolist() == sorted(valid.tolist(), reverse=True)
    learner = Learner(student, loss=registry.build("loss", {"type": "opd"}, "loss"), settings=LearnerSettings(lr=1e-3))
    assert learner.step(played, scores)["tokens/distill"] > 0
