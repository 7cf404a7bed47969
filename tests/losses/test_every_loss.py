"""What holds for every registered loss: its page, teacher = student, a real step, nothing but its needs."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from made_episodes import make_episode
from made_losses import every_token, logits, through_kernel
from tiny import tiny_model
from torch import Tensor

import agentdistill_losses
from agentdistill.learner.facts import BatchExtras
from agentdistill.learner.heads import split_model
from agentdistill.learner.learner import Learner
from agentdistill.learner.losses import objective_at
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import STATISTICS
from agentdistill.teachers.scoring import score_rows
from agentdistill_losses.supports import entropy

REGISTERED: dict[str, dict[str, Any]] = {}
agentdistill_losses.agentdistill_register_losses(
    lambda name, target, **more: REGISTERED.__setitem__(name, {"target": target} | more)
)
NAMES = sorted(REGISTERED)
EVERY = pytest.mark.parametrize("name", NAMES)

WITHOUT_REST = {"tsd-kd": {"indirect": 0.0, "entropy": 0.0}, "veto": {"beta": 0.0}}


def attribute(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def make(name: str, **options: Any) -> Any:
    config = REGISTERED[name].get("config")
    return attribute(REGISTERED[name]["target"])(attribute(config)(**options))


def objective(loss: Any, step: int = 0, total: int = 10) -> Any:
    return objective_at(loss, LearnerProgress(step, total))


def at_equality(loss: Any, step: int) -> tuple[Tensor, Tensor]:
    """Values [n] and gradient [n, V] of each token of a vocabulary where all distributions are one."""
    same = logits(3)[0]
    rows = same.repeat(len(same), 1)
    known = torch.ones(len(same), dtype=torch.float64)
    q = same.log_softmax(-1)
    tokens = every_token(
        same,
        same,
        trajectory=torch.arange(len(same)),
        group=torch.zeros(len(same), dtype=torch.int64),
        reference_logprob=q,
        old_entropy=entropy(q[None]) * known,
        teacher_entropy=entropy(q[None]) * known,
        teacher_confidence=q.exp().max() * known,
        overlap=known,
        success=torch.tensor([True, False] * 3),
        reward=known,
        advantage=known,
    )
    _, values, grad = through_kernel(objective(loss, step), rows, rows, tokens, known)
    return values, grad


@pytest.mark.oracle
@pytest.mark.parametrize("step", [0, 9])
@EVERY
def test_teacher_as_student_gives_zero_or_the_page_says_why_not(name: str, step: int) -> None:
    loss = make(name)
    values, grad = at_equality(loss, step)
    at_rest = float(values.abs().max()) < 1e-10 and float(grad.abs().max()) < 1e-10
    assert at_rest == getattr(loss, "rests_at_teacher", True)
    if not at_rest:
        page = " ".join((inspect.getmodule(attribute(REGISTERED[name]["target"])).__doc__ or "").lower().split())
        assert "teacher = student" in page
        assert any(said in page for said in ("are not", "not zero", "only at beta = 0"))


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(WITHOUT_REST))
def test_restless_terms_are_all_that_is_left_at_teacher_as_student(name: str) -> None:
    loss = make(name, **WITHOUT_REST[name])
    assert loss.rests_at_teacher
    values, grad = at_equality(loss, 0)
    assert float(values.abs().max()) < 1e-10 and float(grad.abs().max()) < 1e-10


@EVERY
def test_pages_are_complete_and_files_small(name: str) -> None:
    module = inspect.getmodule(attribute(REGISTERED[name]["target"]))
    assert module is not None and module.__file__ is not None
    page = module.__doc__ or ""
    assert "Proofs" in page, f"{name} does not name its proofs"
    assert re.search(r"\d{4}\.\d{5}", page + REGISTERED[name]["summary"]), f"{name} does not name its source"
    assert len(Path(module.__file__).read_text().splitlines()) <= 150
    config = attribute(REGISTERED[name]["config"])
    described = inspect.getdoc(config) or ""
    for field in config.model_fields:
        assert f"{field}:" in described, f"{name}: the option {field} is not described"
    assert REGISTERED[name]["summary"]


@EVERY
def test_it_asks_for_what_exists(name: str) -> None:
    loss = make(name)
    assert getattr(loss, "needs", frozenset()) <= STATISTICS
    made = objective(loss)
    assert loss.request.sampled
    assert made.needs_hidden == loss.request.hidden
    assert not getattr(made, "needs_top", False) or loss.request.top_k > 0


@EVERY
def test_a_real_step_learns_finite_numbers(name: str) -> None:
    student, teacher = tiny_model(0), tiny_model(1)
    episodes = [make_episode(student, [(6, 3), (2, 5)][: 1 + i % 2], seed=i) for i in range(4)]
    for number, episode in enumerate(episodes):
        episode.success = number % 2 == 0
        episode.task = dataclasses.replace(episode.task, key="same")
        for row in episode.rows:
            row.old_entropy = torch.where(torch.from_numpy(row.mask), 1.0, torch.nan).float().numpy()
    loss = make(name)
    scores = score_rows(split_model(teacher), [row for e in episodes for row in e.rows], loss.request)
    grouped, start = [], 0
    for episode in episodes:
        grouped.append(scores[start : start + len(episode.rows)])
        start += len(episode.rows)
    reference = [[row.old_logprob - 0.1 for row in e.rows] for e in episodes]
    learner = Learner(
        student,
        loss=loss,
        settings=LearnerSettings(lr=1e-3, steps=3),
        teacher_weight=teacher.lm_head.weight.detach() if loss.request.hidden else None,
    )
    before = torch.cat([p.detach().flatten().clone() for p in student.parameters()])
    metrics = learner.step(episodes, grouped, BatchExtras(reference=reference))
    after = torch.cat([p.detach().flatten() for p in student.parameters()])
    assert bool(torch.isfinite(after).all()) and not torch.equal(before, after)
    assert metrics["optim/grad_norm"] > 0
