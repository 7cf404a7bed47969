"""The teacher `chat` against the real server: only words go over the wire, and they are the model's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from served import Server

from agentdistill.config.load import load_config
from agentdistill.models import load_model
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import Actor, EpisodePlan, LossRole, Relabel
from agentdistill.rollout.guide import ModelGuide
from agentdistill.rollout.play import EpisodeRequest, play
from agentdistill.rollout.relabel import relabelled
from agentdistill.training.run import Run

pytestmark = pytest.mark.vllm


@pytest.fixture
def make_run(server: Server, tmp_path, monkeypatch):
    """Runs of the starter student that imitate the served starter teacher, which shows no probabilities."""
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))

    def make(name: str, **overrides) -> Run:
        registry = PluginRegistry.load(third_party=False)
        values = {
            "run.directory": str(tmp_path / name),
            "env.max_steps": 6,
            "env.generated": {"train": 12, "seen": 6, "unseen": 6},
            "rollout.tasks_per_step": 4,
            "optim.steps": 2,
            "eval.panel": False,
            **({"teacher.url": server.url, "teacher.model": "starter-teacher", "teacher.max_tokens": 16}),
        } | {key.replace("__", "."): value for key, value in overrides.items()}
        recipes = ["tcod-alfworld", "starter", "blackbox-alfworld"]
        return Run(load_config(recipes, values, registry=registry), registry)

    return make


def test_the_words_over_the_wire_are_those_the_same_model_writes_here(make_run):
    """Greedy turns at the student's states, in text from the server and in tokens from the model in this process."""
    run = make_run("words", curriculum__type="full")
    parts = run.parts
    plan = EpisodePlan(student_role=LossRole.NONE, relabel=Relabel())
    played = play(
        [EpisodeRequest(task, plan, 0, number) for number, task in enumerate(parts.tasks[:4])],
        source=parts.source, engine=parts.engine, renderer=parts.renderer, context=parts.context,
        settings=parts.settings,
    )  # fmt: skip
    teacher = load_model("starter-teacher", registry=run.registry)
    engine = run.registry.build("engine", {"type": "hf"}, "engine", model=teacher)
    made = []
    for guide in (parts.teacher.guide(parts.context, parts.renderer), ModelGuide(engine)):  # type: ignore[attr-defined]
        made.append(
            relabelled(
                played,
                guides={Actor.TEACHER: guide},
                renderer=parts.renderer,
                context=parts.context,
                settings=parts.settings,
            )
        )
    words, tokens = made
    assert sum(len(t.steps) for t in words) == sum(len(t.steps) for t in played) > 10
    for mine, theirs in zip(words, tokens, strict=True):
        assert [s.response for s in mine.steps] == [s.response for s in theirs.steps]
        for one, other in zip(mine.rows, theirs.rows, strict=True):
            assert np.array_equal(one.token_ids, other.token_ids)


def test_a_run_learns_from_words_alone_and_a_second_one_asks_nobody(make_run):
    first = make_run("first")
    first.train()
    lines = [json.loads(line) for line in (first.directory / "metrics.jsonl").read_text().splitlines()]
    assert all(line["tokens/imitate"] > 0 and line["tokens/distill"] == 0 for line in lines)
    assert all(line["teacher/requests"] > 0 and line["teacher/tokens_out"] > 0 for line in lines)
    assert all(line.get("teacher/answers/left", 0.0) == 0.0 for line in lines)
    second = make_run("second")
    second.train()
    again = [json.loads(line) for line in (second.directory / "metrics.jsonl").read_text().splitlines()]
    assert all(line["teacher/requests"] == 0 for line in again)
    assert [line["loss"] for line in again] == [line["loss"] for line in lines]
