"""`agentdistill imitate` with a loss that says what demonstrations count: failures come in, the teacher does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny_runs import metrics_of

from agentdistill.errors import DataError
from agentdistill.records import StopReason
from agentdistill.store import TrajectoryStore
from agentdistill.training.sft import _expert_episodes, demonstration_rows, imitate


def store_half_failed(parts, path: Path, successes: bool = True) -> int:
    """The expert's episodes, every other one called a failure; returns how many there are."""
    count = 0
    with TrajectoryStore(path) as store:
        for number, episode in enumerate(_expert_episodes(parts)):
            if number % 2 or not successes:
                episode = dataclasses.replace(episode, success=False, stop=StopReason.FAILURE)
            store.append(episode)
            count += 1
        cut = dataclasses.replace(episode, success=False, stop=StopReason.ABORTED)
        store.append(cut)
    return count


def test_failures_are_pushed_down_and_successes_up(make_run, tmp_path: Path) -> None:
    source = tmp_path / "episodes"
    count = store_half_failed(make_run("expert", env__max_steps=30).parts, source)
    options = {"loss__type": "redi", "demonstrations__source": str(source), "optim__reduction": "token-mean"}
    run = make_run("redi", env__max_steps=30, optim__steps=4, **options)
    assert len(demonstration_rows(run.parts)) == (count + 1) // 2
    assert len(demonstration_rows(run.parts, failures=True)) == count
    imitate(run.resolved, run.registry)
    metrics = metrics_of(run)
    assert len(metrics) == 4 and all(m["optim/grad_norm"] > 0 for m in metrics)


def test_a_store_of_failures_only_is_refused(make_run, tmp_path: Path) -> None:
    source = tmp_path / "episodes"
    store_half_failed(make_run("expert", env__max_steps=30).parts, source, successes=False)
    run = make_run("redi", env__max_steps=30, loss__type="redi", demonstrations__source=str(source))
    with pytest.raises(DataError, match="no successful demonstration"):
        imitate(run.resolved, run.registry)
