"""Runs with kept scores: a rerun asks nobody, and stored rollouts teach what playing them taught."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scoring_server import scoring_server
from tiny import tiny_model, tiny_tokenizer
from tiny_runs import interrupt, metrics_of

from agentdistill.cli.group import cli
from agentdistill.errors import ConfigError, DataError
from agentdistill.scorecache.upkeep import stats, verify
from agentdistill.store import TrajectoryStore
from agentdistill.training.offline import load_rollouts, offline_batches
from agentdistill_teachers.local import LocalTeacher

TIMES = ("time/", "tokens_per_second", "teacher/", "total/teacher_tokens")
"""What differs between a run and its rerun from the cache: time, and what the cache did."""


@pytest.fixture
def keep(make_run, tmp_path, monkeypatch):
    """Makes runs that keep their scores in one folder, and counts the calls to the local teacher."""
    asked: list[int] = []
    score = LocalTeacher.score

    def counted(self, trajectories, request):
        asked.append(len(trajectories))
        return score(self, trajectories, request)

    monkeypatch.setattr(LocalTeacher, "score", counted)

    def make(name: str, **overrides: object):
        more = {"teacher__cache": "on", "teacher__cache_folder": str(tmp_path / "scores"), "run__self_test": False}
        more |= {"optim__steps": 3}
        return make_run(name, **(more | overrides))

    make.asked = asked  # type: ignore[attr-defined]
    return make


def lasting(run) -> list[dict[str, float]]:
    """Metrics that have to be the same to the last bit."""
    return [{k: v for k, v in step.items() if not k.startswith(TIMES)} for step in metrics_of(run)]


def weights(run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.student.model.parameters()])


def total(run, name: str) -> float:
    return sum(step[name] for step in metrics_of(run))


@pytest.mark.oracle
@pytest.mark.parametrize("support", ["sampled", "teacher-topk", "full"])
def test_a_second_identical_run_asks_nobody_and_is_the_same_to_the_bit(keep, support) -> None:
    more = {"loss__support": support}
    plain = keep("plain", teacher__cache="off", **more)
    plain.train()
    first = keep("first", **more)
    first.train()
    asked = len(keep.asked)
    second = keep("second", **more)
    second.train()
    assert asked == 6 and len(keep.asked) == asked
    assert lasting(first) == lasting(second) == lasting(plain)
    assert torch.equal(weights(first), weights(second)) and torch.equal(weights(first), weights(plain))
    assert total(second, "teacher/calls") == 0 == total(second, "teacher/cache_misses")
    assert total(second, "teacher/cache_hits") == 12 == total(first, "teacher/cache_misses")
    results = json.loads((second.directory / "results.json").read_text())
    assert (
        results["totals"]["teacher_tokens"]
        == 0
        < json.loads((first.directory / "results.json").read_text())["totals"]["teacher_tokens"]
    )
    assert first.resolved.hash == second.resolved.hash == plain.resolved.hash


def test_only_needs_no_teacher(keep, models, tmp_path) -> None:
    """The teacher's weights are gone, and the run is the same."""
    hidden = tmp_path / "hidden"
    first = keep("first", loss__support="full")
    first.train()
    (models / "teacher").rename(hidden)
    try:
        again = keep("again", loss__support="full", teacher__cache="only")
        again.train()
    finally:
        hidden.rename(models / "teacher")
    assert lasting(first) == lasting(again) and torch.equal(weights(first), weights(again))


def test_an_ablation_pays_for_what_is_new_only(keep) -> None:
    """Another learning rate changes the student from the first update on: the first batch is not asked for again."""
    keep("first").train()
    keep.asked.clear()
    other = keep("other", optim__lr=2e-2)
    other.train()
    steps = metrics_of(other)
    assert steps[0]["teacher/cache_misses"] == 0 and len(keep.asked) == 2
    keep.asked.clear()
    keep("less", run__diagnostics=False).train()  # asks for less: no entropy, no overlap
    assert keep.asked == []


def test_a_resumed_run_finds_what_it_had_paid_for(keep, tmp_path) -> None:
    whole = keep("whole", teacher__cache_folder=str(tmp_path / "other"), optim__steps=4)
    whole.train()
    interrupt(keep("cut", optim__steps=4), after=3)
    keep.asked.clear()
    resumed = keep("cut", run__resume=True, optim__steps=4)
    resumed.train()
    assert keep.asked == []  # the checkpoint is of step 2, and the two batches after it had been scored
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.oracle
def test_at_the_weights_that_played_the_gradient_is_the_one_of_playing(keep) -> None:
    """Lightning OPD, at theta = theta_ref: one step from stored rollouts is one step of on-policy distillation."""
    online = keep("online", optim__steps=1, curriculum__type="full", run__seed=5)
    online.train()
    keep.asked.clear()
    offline = keep(
        "offline",
        optim__steps=1,
        run__seed=5,
        curriculum__type="full",
        rollout__source=str(online.directory / "episodes"),
        teacher__cache="only",
    )
    offline.train()
    assert keep.asked == [] and torch.equal(weights(online), weights(offline))
    names = [name for name in metrics_of(online)[0] if name.startswith(("loss/", "optim/", "kl/", "turn/"))]
    assert len(names) > 5 and all(metrics_of(online)[0][n] == metrics_of(offline)[0][n] for n in names)
    totals = json.loads((offline.directory / "results.json").read_text())["totals"]
    assert "teacher_tokens" in totals and not any(totals.values())


def test_stored_rollouts_are_learned_from_again_and_again_and_resumed(keep) -> None:
    online = keep("online", optim__steps=3, rollout__samples_per_task=2, rollout__tasks_per_step=3)
    online.train()
    source = {"rollout__source": str(online.directory / "episodes"), "teacher__cache": "only"}
    options = {"rollout__samples_per_task": 2, "rollout__tasks_per_step": 4, "optim__steps": 5, **source}
    offline = keep("offline", **options)
    rollouts = load_rollouts(online.directory / "episodes", 2)
    batches, lines = offline_batches(offline.parts, online.directory / "episodes")
    assert len(rollouts.groups) == 9 and all(len(group) == 2 for group in rollouts.groups)
    assert any("18 stored episodes" in line and "2.22 epochs" in line for line in lines)
    seen = [tuple(id(t) for t in batches.batch(step).trajectories) for step in range(5)]
    assert len(set(seen)) == 5 and len({t for batch in seen[:2] for t in batch}) == 16
    offline.train()
    steps = metrics_of(offline)
    assert len(steps) == 5 and all(step["optim/grad_norm"] > 0 for step in steps)
    assert steps[0]["data/policy_age"] > -3 and "rollout/tokens" not in steps[0]
    assert not (offline.directory / "episodes").exists()
    part = keep("part", **options, run__checkpoint_every=3)
    part.train()
    shutil.rmtree(part.directory / "checkpoints" / "step-000005")
    resumed = keep("part", **options, run__checkpoint_every=3, run__resume=True)
    resumed.train()
    assert torch.equal(weights(resumed), weights(offline))


def test_a_live_teacher_scores_stored_rollouts_once(keep) -> None:
    online = keep("online", optim__steps=2, teacher__cache="off")
    online.train()
    keep.asked.clear()
    run = keep("run", rollout__source=str(online.directory / "episodes"), optim__steps=6)
    run.train()
    assert sum(keep.asked) == 8 and len(keep.asked) == 2


def test_rollouts_are_scored_once_before_and_then_need_nobody(keep, models, recipe, tmp_path) -> None:
    """The whole of offline distillation: play, score, put the teacher away, train."""
    online = keep("online", optim__steps=2, teacher__cache="off")
    online.train()
    source = str(online.directory / "episodes")
    runner = CliRunner(catch_exceptions=False)
    fill = ["cache", "fill", str(recipe), "--rollout.source", source, "--loss.support", "full"]
    fill += ["--teacher.cache_folder", str(tmp_path / "scores")]
    assert "8 episodes scored, 0 were kept before" in runner.invoke(cli, fill).output
    assert "0 episodes scored, 8 were kept before" in runner.invoke(cli, fill).output
    keep.asked.clear()
    hidden = tmp_path / "hidden"
    (models / "teacher").rename(hidden)
    try:
        keep("offline", rollout__source=source, teacher__cache="only", loss__support="full").train()
    finally:
        hidden.rename(models / "teacher")
    assert keep.asked == []


@pytest.mark.parametrize("mode", ["on", "only"])
def test_a_served_teacher_is_kept_unasked_and_needed_no_more(make_run, tmp_path, mode) -> None:
    """The default for a server; the rerun finds its server gone and does not mind, named by hand or with "only"."""
    named = {"teacher__served_as": "a tiny teacher"} if mode == "on" else {}
    options = {"optim__steps": 2, "run__self_test": False, "teacher__type": "vllm", "loss__support": "teacher-topk"}
    options |= {"loss__k": 8}
    options |= {"teacher__cache_folder": str(tmp_path / "scores"), "run__diagnostics": False, **named}
    with scoring_server(tiny_model(2, hidden=32), tiny_tokenizer()) as server:
        options["teacher__url"] = server.url
        first = make_run("first", **options)
        first.train()
        asked = len(server.bodies)
        again = make_run("again", **options, teacher__cache=mode)
        server.down = True
        again.train()
        assert len(server.bodies) == asked > 0
    assert lasting(first) == lasting(again) and torch.equal(weights(first), weights(again))
    assert total(first, "teacher/cache_misses") == total(again, "teacher/cache_hits") == 8


def test_rollouts_that_do_not_fit_are_refused(keep, tmp_path) -> None:
    online = keep("online", optim__steps=1)
    online.train()
    episodes = online.directory / "episodes"
    with pytest.raises(DataError, match="no rollouts"):
        keep("a", rollout__source=str(tmp_path / "nowhere")).train()
    with pytest.raises(DataError, match="other prompts"):
        keep("b", rollout__source=str(episodes), env__context={"type": "append", "admissible": True}).train()
    with pytest.raises(DataError, match="lack `old_entropy`"):
        keep("c", rollout__source=str(_stripped(episodes, tmp_path / "bare")), token_weight__type="tip").train()
    expert = tmp_path / "expert"
    with TrajectoryStore(expert) as store:
        for trajectory in TrajectoryStore(episodes).read():
            trajectory.rows[0].mask[:] = False
            trajectory.rows[0].old_logprob[:] = np.nan
            store.append(trajectory)
    with pytest.raises(DataError, match="nothing to train on"):
        keep("d", rollout__source=str(expert)).train()
    with pytest.raises(ConfigError, match="no kept scores"):
        keep("e", rollout__source=str(episodes), teacher__cache="only", teacher__temperature=2.0).train()


def _stripped(source: Path, target: Path) -> Path:
    with TrajectoryStore(target) as store:
        for trajectory in TrajectoryStore(source).read():
            for row in trajectory.rows:
                row.old_entropy = row.old_top_ids = None
            store.append(trajectory)
    return target


@pytest.mark.slow
def test_two_runs_share_one_cache_at_the_same_time(recipe, tmp_path) -> None:
    """Two processes train the same recipe with one empty cache: equal to the bit, and nothing is damaged."""
    scores = tmp_path / "scores"
    command = [sys.executable, "-m", "agentdistill", "train", str(recipe), "--no-self-test", "--optim.steps", "2"]
    command += ["--teacher.cache", "on", "--teacher.cache_folder", str(scores)]
    runs = [subprocess.Popen([*command, "--output", str(tmp_path / name)]) for name in ("one", "two")]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    files = [next((tmp_path / name / "student").glob("*.safetensors")) for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not verify(scores).damaged and stats(scores)[0].episodes == 8
