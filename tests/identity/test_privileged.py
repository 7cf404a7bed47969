"""A student learns from itself what only its privileged half is told, and then knows it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from identity.conftest import pupil
from identity.words import WORDS

from agentdistill.config.load import load_config
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run

PLUGIN = "tests.identity.riddles"

BASE: dict[str, Any] = {
    "run": {"name": "riddles", "checkpoint_every": 0, "self_test": False, "diagnostics": False},
    "env": {"type": "riddles", "max_steps": 1},
    "rollout": {"tasks_per_step": 8, "max_new_tokens": 4},
    "eval": {"panel": "riddles/all", "temperature": 0.0},
    "optim": {"schedule": "linear", "weight_decay": 0.0},
}

VIEWS: dict[str, dict[str, Any]] = {
    "skills": {
        "type": "skills",
        "words": "{skills}",
        "types": {str(number): [f"say {word}"] for number, word in enumerate(WORDS)},
    },
    "opsd": {"type": "opsd", "advice": "- say {action}"},
}


def load(registry: PluginRegistry, values: dict[str, Any]):
    return load_config([BASE], values, registry=registry, plugins=[PLUGIN])


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load([PLUGIN])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, registry: PluginRegistry) -> str:
    """A model that says the word it is told, below any number."""
    told = {"env.split": "told", "eval.panel": "riddles/told", "rollout.tasks_per_step": 64}
    return str(pupil(tmp_path_factory.mktemp("riddles"), BASE, PLUGIN, registry, **told) / "student")


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("view", "weights"),
    [
        ("opsd", "frozen"),
        pytest.param("skills", "frozen", marks=slow),
        pytest.param("skills", "ema", marks=slow),
        pytest.param("skills", "trust-region", marks=slow),
    ],
)
def test_what_the_teacher_was_told_the_student_knows(view, weights, reader, registry, tmp_path: Path):
    values = {
        "run.directory": str(tmp_path / "run"),
        "student.model": reader,
        "teacher": {"type": "privileged", "view": VIEWS[view]},
        # In sixty steps at this learning rate, an average that follows faster unlearns to read.
        "teacher.teacher": {"type": "self", "weights": weights, "rate": 0.01},
        "loss": {"type": "opd", "support": "full", "divergence": "forward-kl"},
        "rollout.samples_per_task": 2,
        "optim.steps": 60,
        "optim.lr": 3e-3,
    }
    result = Run(load(registry, values), registry).train()
    assert result.before is not None and result.after is not None
    assert result.before.success.value <= 0.25
    # Rounding decides about the last of eight riddles: with the moving average, five seeds knew 8, 8, 8, 7 and 7.
    assert result.after.success.value >= (7 / 8 if weights == "ema" else 1.0)
