"""Imitation beside a teacher: demonstrated tokens to distil, the student's average as the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_episodes import make_episode, random_scores
from tiny_runs import metrics_of, save_models, weights_of

from agentdistill.config.load import load_config
from agentdistill.errors import AgentDistillError
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import LossRole, ScoreRequest
from agentdistill.training.assembly import Parts
from agentdistill.training.compared import ComparedBatches, as_distilled
from agentdistill.training.sft import demonstration_rows, imitate
from agentdistill_losses.curiosft import CuriosftConfig, CuriosftLoss

PLUGINS = ["tests.identity.words"]

BASE: dict[str, Any] = {
    "run": {"name": "words", "checkpoint_every": 4, "self_test": False, "plugins": PLUGINS},
    "env": {"type": "words", "max_steps": 2},
    "teacher": {"type": "self", "weights": "ema", "rate": 0.2},
    "loss": {"type": "curiosft"},
    "rollout": {"tasks_per_step": 16, "max_new_tokens": 4},
    "optim": {"steps": 8, "lr": 3e-3, "weight_decay": 0.0},
}


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load(PLUGINS)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_models(tmp_path_factory.mktemp("compared"), layers=1, student=1) / "student")


@pytest.fixture
def load(registry, student, tmp_path: Path):
    def resolved(name: str = "run", **more: Any):
        values = {"student.model": student, "run.directory": str(tmp_path / name)}
        values |= {key.replace("__", "."): value for key, value in more.items()}
        return load_config([BASE], values, registry=registry, plugins=PLUGINS)

    return resolved


def entropy(directory: Path, parts: Parts) -> float:
    """Mean entropy of a saved student over the demonstrated tokens, nats."""
    from agentdistill.learner.heads import split_model
    from agentdistill.models import load_model
    from agentdistill.teachers.scoring import score_rows

    rows = [row for t in demonstration_rows(parts) for row in t.rows]
    scores = score_rows(split_model(load_model(str(directory / "student"))), rows, ScoreRequest(entropy=True))
    return float(np.nanmean(np.concatenate([score.entropy for score in scores])))


def test_demonstrated_tokens_become_tokens_to_distil():
    trajectory = make_episode(turns=[(4, 2), (3, 3)], roles=[LossRole.IMITATE, LossRole.NONE])
    ((score,),) = random_scores([trajectory])
    score.valid[trajectory.steps[0].start] = False
    made = as_distilled(trajectory, [score])
    assert [step.loss_role for step in made.steps] == [LossRole.DISTILL, LossRole.NONE]
    assert np.flatnonzero(made.rows[0].mask).tolist() == [trajectory.steps[0].start + 1]
    assert np.isnan(made.rows[0].old_logprob[~made.rows[0].mask]).all()
    assert trajectory.steps[0].loss_role is LossRole.IMITATE and not trajectory.rows[0].mask.any()


@pytest.mark.oracle
def test_without_curiosity_the_gradient_is_that_of_imitation(load, registry):
    def gradient(compared: bool) -> torch.Tensor:
        parts = Parts(load(loss__curiosity=0.0), registry)
        rows = demonstration_rows(parts)
        if compared:
            batches = ComparedBatches(rows, 16, 0, teacher=parts.teacher, request=parts.loss.request)
        else:
            from agentdistill.training.batches import SupervisedBatches

            batches = SupervisedBatches(rows, 16, 0)
        learner, batch = parts.learner(None, distil=compared), batches.batch(0)
        learner.accumulate(batch.trajectories, batch.scores)
        return torch.cat([p.grad.flatten() for p in learner.parameters])

    plain, compared = gradient(False), gradient(True)
    assert float(plain.norm()) > 0.1
    torch.testing.assert_close(compared, plain, atol=1e-6, rtol=1e-4)


@pytest.mark.oracle
def test_its_loss_is_that_of_the_formula(load, registry):
    from agentdistill_losses.curiosft import tempering

    parts = Parts(load(loss__curiosity=0.7), registry)
    batches = ComparedBatches(demonstration_rows(parts), 4, 0, teacher=parts.teacher, request=parts.loss.request)
    batch = batches.batch(0)
    loss = parts.learner(None, distil=True).accumulate(batch.trajectories, batch.scores)["loss"]
    values = []
    for trajectory in batch.trajectories:
        (row,) = trajectory.rows
        ids = torch.from_numpy(row.token_ids.astype("int64"))[None]
        with torch.no_grad():
            logp = parts.student.model(input_ids=ids).logits[0].log_softmax(-1)
        for t in np.flatnonzero(row.mask):
            before, token = logp[t - 1][None], int(row.token_ids[t])
            goal = (before / tempering(before, CuriosftConfig())).log_softmax(-1)[0, token]
            values.append(float(0.7 * 0.5 * (before[0, token] - goal) ** 2 - before[0, token]))
    assert loss == pytest.approx(sum(values) / len(values), rel=1e-4)


def test_the_average_follows_and_a_resumed_run_is_bit_equal(load, registry):
    whole = imitate(load("whole"), registry)
    lines = metrics_of(whole)
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["tokens/imitate"] == 0 < lines[-1]["tokens/distill"]
    broken = imitate(load("broken"), registry)
    for path in sorted((broken.directory / "checkpoints").glob("step-000008*")):
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        path.rmdir()
    imitate(load("broken", run__resume=True), registry)
    assert weights_of(whole) == weights_of(broken)


def test_a_curious_student_stays_more_undecided(load, registry):
    found = {}
    for curiosity in (0.0, 4.0):
        result = imitate(load(f"c{curiosity:g}", loss__curiosity=curiosity, optim__steps=30), registry)
        found[curiosity] = entropy(result.directory, Parts(load(), registry))
    assert found[4.0] > 1.2 * found[0.0]


def test_it_needs_a_teacher(load, registry):
    with pytest.raises(AgentDistillError, match="teacher"):
        imitate(load(teacher=False), registry)
    assert CuriosftLoss(CuriosftConfig()).compares_demonstrations
