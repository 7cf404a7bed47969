"""A run that was interrupted and resumed ends in the very weights and state of one that was not: every curriculum."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny import tiny_model, tiny_tokenizer

from agentdistill.config.load import load_config
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.store import TrajectoryStore
from agentdistill.training.run import Run

RECIPE = """
[run]
name = "tiny"
checkpoint_every = 2
keep_checkpoints = 5
[env]
type = "alfworld"
engine = "fast"
max_steps = 4
generated = { train = 3, seen = 2, unseen = 2 }
[student]
model = "STUDENT"
[teacher]
type = "local"
model = "TEACHER"
[loss]
type = "opd"
[rollout]
tasks_per_step = 3
samples_per_task = 2
max_new_tokens = 5
concurrency = 6
[optim]
lr = 1e-3
steps = 4
"""

OPTIONS = {
    "uopd": {"minimum": 6, "window": 40},
    "pope": {},
    "reopd": {},
    "sopd": {"distill": True},
    "turnopd": {"warmup": 1, "every": 2, "minimum": 1},
    "stride": {"bound": -9.0, "good": None, "reuse": 0.7},
    "rescue": {"patience": 1, "turns": 1, "imitate": True},
    "adaptive": {"start": 1, "turns": 4, "kl": 50.0, "logprob": -50.0},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, seed in (("student", 1), ("teacher", 2)):
        tiny_model(seed=seed, hidden=32).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    text = RECIPE.replace("STUDENT", str(folder / "student")).replace("TEACHER", str(folder / "teacher"))
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def train(recipe: Path, directory: Path, kind: str, resume: bool = False) -> Run:
    registry = PluginRegistry.load()
    options = {f"curriculum.{key}": value for key, value in OPTIONS[kind].items()}
    values = {"run.directory": str(directory), "run.resume": resume, "curriculum.type": kind, **options}
    run = Run(load_config([str(recipe)], values, registry=registry), registry)
    run.train()
    return run


def metrics(directory: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "time" not in k and k != "tokens_per_second"} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_resumed_equals_uninterrupted(recipe: Path, tmp_path: Path, kind: str) -> None:
    whole = train(recipe, tmp_path / "whole", kind)
    state = whole.parts.curriculum.state_dict()
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    for checkpoint in (tmp_path / "broken" / "checkpoints").iterdir():
        if checkpoint.name.endswith("4"):
            shutil.rmtree(checkpoint)
    resumed = train(recipe, tmp_path / "broken", kind, resume=True)
    assert resumed.parts.curriculum.state_dict() == state
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    weights = [(tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1]
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "broken")
    assert len(metrics(tmp_path / "whole")) == 4
    episodes = list(TrajectoryStore(tmp_path / "whole" / "episodes").read())
    assert len(episodes) == 24  # relabels are no episodes
    for trajectory, again in zip(episodes, TrajectoryStore(tmp_path / "broken" / "episodes").read(), strict=True):
        assert trajectory.plan == again.plan and trajectory.steps == again.steps
        assert all(s.row < 0 for s in trajectory.steps if s.info.get("replayed"))
