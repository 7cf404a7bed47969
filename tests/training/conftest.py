"""Tiny students in generated households: the whole walk of a run in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import households, runs_of, save_models, write_recipe


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `student` and `teacher`, that a test may move away for a while."""
    return save_models(tmp_path_factory.mktemp("models"), student=1, teacher=2)


@pytest.fixture(scope="session")
def recipe(models: Path) -> Path:
    """A recipe of six optimiser steps."""
    return write_recipe(
        models / "recipe.toml",
        households(
            models,
            run={"checkpoint_every": 2},
            env={"max_steps": 4},
            curriculum={"type": "tcod-f2b", "start": 1, "every": 2},
            step_weight={"type": "sod"},
            rollout={"tasks_per_step": 4, "concurrency": 3},
            optim={"steps": 6, "reduction": "turn-mean"},
        ),
    )


@pytest.fixture
def make_run(recipe: Path, tmp_path: Path):
    """Makes a run of the recipe with overrides, in its own directory."""
    return runs_of(recipe, tmp_path)
