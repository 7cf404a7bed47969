"""Whole runs of tiny real models in seconds: a recipe of generated households, its models, and what a run leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model, tiny_tokenizer

from agentdistill.config.load import load_config
from agentdistill.config.toml import dump
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run

HOUSEHOLDS: dict[str, Any] = {
    "run": {"name": "tiny", "seed": 3},
    "env": {"type": "alfworld", "engine": "fast", "max_steps": 3, "generated": {"train": 12, "seen": 6, "unseen": 6}},
    "loss": {"type": "opd"},
    "rollout": {"tasks_per_step": 2, "max_new_tokens": 6},
    "optim": {"lr": 1e-3, "steps": 2},
}


def save_models(folder: Path, layers: int = 2, **seeds: int) -> Path:
    """Writes freshly initialised models, each in a folder of its name, and gives the folder of them all."""
    for name, seed in seeds.items():
        tiny_model(seed=seed, hidden=32, layers=layers).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    return folder


def households(models: Path, **sections: Any) -> dict[str, Any]:
    """A recipe of the models `student` and `teacher` in a folder.

    Args:
        models: the folder.
        **sections: options that are added to a section or replace some of it. One with a `type` replaces all of it,
            and None takes it away.
    """
    recipe = {
        **HOUSEHOLDS,
        "student": {"model": str(models / "student")},
        "teacher": {"type": "local", "model": str(models / "teacher")},
    }
    for name, given in sections.items():
        whole = not isinstance(given, dict) or "type" in given
        recipe[name] = given if whole else {**recipe.get(name, {}), **given}
    return {name: section for name, section in recipe.items() if section is not None}


def write_recipe(path: Path, recipe: dict[str, Any]) -> Path:
    """Writes it where the command line can read it."""
    path.write_text(dump(recipe))
    return path


def runs_of(recipe: dict[str, Any] | Path, folder: Path, plugins: Sequence[str] = ()) -> Callable[..., Run]:
    """Makes runs, each in its own directory in a folder: `make("name", optim__steps=1)`."""
    layer = recipe if isinstance(recipe, dict) else str(recipe)

    def make(name: str = "run", **overrides: Any) -> Run:
        registry = PluginRegistry.load(plugins, third_party=False)
        values = {key.replace("__", "."): value for key, value in overrides.items()}
        values = {"run.directory": str(folder / name), **values}
        return Run(load_config([layer], values, registry=registry, plugins=plugins), registry)

    return make


def interrupt(run: Run, after: int) -> None:
    """Trains, and is interrupted after so many optimiser steps."""
    learner = run.parts.learner

    def stopping(*args: Any, **kwargs: Any) -> Any:
        made = learner(*args, **kwargs)
        step = made.step

        def until(*batch: Any, **more: Any) -> Any:
            if made.steps_done == after:
                raise KeyboardInterrupt
            return step(*batch, **more)

        made.step = until
        return made

    run.parts.learner = stopping
    with pytest.raises(KeyboardInterrupt):
        run.train()


def metrics_of(run: Any) -> list[dict[str, Any]]:
    """What was logged at each step of a run; of a run, its result, or its directory."""
    directory: Path = getattr(run, "directory", run)
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def weights_of(run: Any) -> bytes:
    """The file of the student's weights at the end of a run; of a run, its result, or its directory."""
    directory: Path = getattr(run, "directory", run)
    return (directory / "student" / "model.safetensors").read_bytes()
