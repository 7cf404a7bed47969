"""Runs with several teachers: what they log, that they resume to the bit, and what they refuse at their start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import households, metrics_of, runs_of, weights_of

from agentdistill.errors import ConfigError, TeacherOutage
from agentdistill.training.run import Run


def members(models: Path, **types: str) -> dict[str, Any]:
    return {name: {"type": "local", "model": str(models / model)} for name, model in types.items()}


def teachers(models: Path) -> dict[str, dict[str, Any]]:
    """What is tried here: a route by turns, and a mixture that weighs by loss."""
    two = members(models, first="teacher", second="third")
    rules = [{"teacher": "expert", "expert": True, "last_turn": 0}, {"teacher": "first", "first_turn": 2}]
    return {
        "route": {
            "type": "route", "default": "second", "fill": "second", "rules": rules,
            "members": {"expert": {"type": "expert"}, **two},
        },
        "mixture": {"type": "mixture", "by": "loss", "smoothing": 0.5, "members": two},
    }  # fmt: skip


@pytest.fixture
def make_run(tiny_models, tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))

    def make(kind: str, name: str = "run", **overrides) -> Run:
        recipe = households(
            tiny_models,
            run={"checkpoint_every": 1},
            teacher=teachers(tiny_models)[kind],
            rollout={"tasks_per_step": 4, "concurrency": 4},
            optim={"steps": 3},
        )
        return runs_of(recipe, tmp_path)(name, **overrides)

    return make


def test_a_route_logs_who_taught_what(make_run):
    run = make_run("route")
    run.train()
    for line in metrics_of(run):
        turns = {name: line[f"teacher/turns/{name}"] for name in ("expert", "first", "second")}
        assert all(turns.values()) and sum(turns.values()) == line["rollout/turns"]
        for kind in ("share", "gradient"):
            shares = [line[f"teacher/{kind}/{name}"] for name in turns]
            assert sum(shares) == pytest.approx(1.0) and all(share > 0 for share in shares)
        # What the expert is silent about after the first deviation, the second teacher speaks about.
        assert line["tokens/dead"] == 0 and line["teacher/share/second"] > turns["second"] / line["rollout/turns"]


def test_bounds_on_shares_by_the_names_of_the_members(make_run):
    run = make_run("route", filter__type="quota", filter__at_most={"first": 0.1})
    run.train()
    for line in metrics_of(run):
        assert line["teacher/share/first"] <= 0.1 + 1e-9 and 0 < line["filter/quota"] < 1


@pytest.mark.parametrize("recipe", ["route", "mixture"])
def test_an_outage_of_one_member_and_a_resume_end_where_an_undisturbed_run_does(make_run, recipe):
    whole = make_run(recipe, "whole")
    whole.train()
    broken = make_run(recipe, "broken")
    member = broken.parts.teacher.teachers["second"]  # type: ignore[attr-defined]
    score, calls = member.score, []

    def fails(trajectories, request):
        calls.append(1)
        if len(calls) > 2:
            raise TeacherOutage("It is down.", "Nobody answers.", "Wait.")
        return score(trajectories, request)

    member.score = fails
    with pytest.raises(TeacherOutage, match=r"`second`, one of several: It is down.*after step 2; --resume goes on"):
        broken.train()
    resumed = make_run(recipe, "broken", run__resume=True)
    resumed.train()
    assert weights_of(resumed) == weights_of(whole)
    kept = ("teacher/", "loss", "optim/", "tokens/")
    lines = [[{k: v for k, v in m.items() if k.startswith(kept)} for m in metrics_of(run)] for run in (whole, resumed)]
    assert lines[0] == lines[1]


def test_the_weights_of_a_mixture_move_and_add_up(make_run):
    run = make_run("mixture")
    run.train()
    lines = metrics_of(run)
    assert lines[0]["teacher/weight/first"] == 0.5 and lines[-1]["teacher/weight/first"] != 0.5
    for line in lines:
        for kind in ("weight", "part", "share", "gradient"):
            assert sum(line[f"teacher/{kind}/{name}"] for name in ("first", "second")) == pytest.approx(1.0)


MODELS = {"teacher__members__expert__type": "local", "teacher__rules": [{"teacher": "first", "last_turn": 0}]}
"""A third model in the place of the expert: a route that gives whole distributions, and whose scores can be kept."""


@pytest.mark.parametrize("support", ["full", "teacher-topk"])
def test_losses_over_distributions_run_on_mixtures_and_routes_of_models(make_run, tiny_models, support):
    extra = {"loss__divergence": "forward-kl", "loss__support": support, "optim__steps": 2}
    make_run("mixture", "mixture", **extra).train()
    make_run("route", "route", teacher__members__expert__model=str(tiny_models / "teacher"), **MODELS, **extra).train()
    with pytest.raises(ConfigError, match=r"The loss `opd` needs (hidden|top_k) scores, which the teacher cannot give"):
        make_run("route", "expert", **extra).train()


def test_a_cached_route_says_the_same_of_who_taught(make_run, tiny_models):
    """Also where a member alone is kept."""
    lines = []
    cached = {"teacher__cache": "on"}
    for name, where in (("plain", {}), ("kept", cached), ("again", cached), ("member", MEMBER)):
        extra = {"teacher__members__expert__model": str(tiny_models / "teacher"), "optim__steps": 2, **MODELS, **where}
        run = make_run("route", name, **extra)
        run.train()
        wanted = ("teacher/share", "teacher/gradient", "loss")
        lines.append([{k: v for k, v in m.items() if k.startswith(wanted)} for m in metrics_of(run)])
    assert lines[0] == lines[1] == lines[2] == lines[3]
    with pytest.raises(ConfigError, match="`route` cannot be kept"):
        make_run("route", "expert", **cached).train()  # an expert's scores are in no token


MEMBER = {"teacher__members__first__cache": "on"}


def test_the_self_test_and_the_plan_name_the_members(make_run):
    run = make_run("mixture", optim__steps=1)
    told: list[str] = []

    class Watcher:
        def plan(self, lines):
            told.extend(lines)

        def step(self, metrics): ...

        def eval(self, result): ...

        def warn(self, alert): ...

    run.reporter = Watcher()
    run.train()
    assert any("teacher first + second (mixture)" in line for line in told)
