"""A run that was interrupted and resumed ends in the very weights and state of one that was not: every curriculum."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import households, metrics_of, runs_of, weights_of

from agentdistill.store import TrajectoryStore
from agentdistill.training.run import Run

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


def train(make: Callable[..., Run], name: str, kind: str, resume: bool = False) -> Run:
    options = {f"curriculum.{key}": value for key, value in OPTIONS[kind].items()}
    run = make(name, run__resume=resume, curriculum__type=kind, **options)
    run.train()
    return run


def lasting(directory: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in line.items() if "time" not in k and k != "tokens_per_second"}
        for line in metrics_of(directory)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_resumed_equals_uninterrupted(tiny_models: Path, tmp_path: Path, kind: str) -> None:
    recipe = households(
        tiny_models,
        run={"checkpoint_every": 2, "keep_checkpoints": 5, "seed": 0},
        env={"max_steps": 4, "generated": {"train": 3, "seen": 2, "unseen": 2}},
        rollout={"tasks_per_step": 3, "samples_per_task": 2, "max_new_tokens": 5, "concurrency": 6},
        optim={"steps": 4},
    )
    make = runs_of(recipe, tmp_path)
    whole = train(make, "whole", kind)
    state = whole.parts.curriculum.state_dict()
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    for checkpoint in (tmp_path / "broken" / "checkpoints").iterdir():
        if checkpoint.name.endswith("4"):
            shutil.rmtree(checkpoint)
    resumed = train(make, "broken", kind, resume=True)
    assert resumed.parts.curriculum.state_dict() == state
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert weights_of(whole) == weights_of(resumed)
    assert lasting(whole.directory) == lasting(resumed.directory)
    assert len(lasting(whole.directory)) == 4
    episodes = list(TrajectoryStore(tmp_path / "whole" / "episodes").read())
    assert len(episodes) == 24  # relabels are no episodes
    for trajectory, again in zip(episodes, TrajectoryStore(tmp_path / "broken" / "episodes").read(), strict=True):
        assert trajectory.plan == again.plan and trajectory.steps == again.steps
        assert all(s.row < 0 for s in trajectory.steps if s.info.get("replayed"))
