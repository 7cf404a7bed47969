"""Rewards in real runs: terms are summed and logged, judges annotate for weights, and a rerun asks nobody."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server
from tiny_runs import households, interrupt, metrics_of, runs_of, weights_of

from agentdistill.errors import ConfigError


def recipe(models: Path, url: str, judge: dict[str, Any]) -> dict[str, Any]:
    asked = {"url": url, "model": "judge", "served_as": "the test"}
    return households(
        models,
        env={"generated": {"train": 6, "seen": 4, "unseen": 4}},
        step_weight={"type": "sage"},
        advantage={"type": "grpo"},
        reward=[
            {"type": "outcome"},
            {"type": "step-penalty", "weight": 0.5},
            {"weight": 2.0, **asked, **judge},
            {"type": "gate-judge", **asked},
        ],
        rollout={"samples_per_task": 2, "max_new_tokens": 4},
    )


@pytest.fixture
def make_run(tiny_models, tmp_path, monkeypatch):
    """Makes runs with a judge behind an address; no test finds what the judge of another said."""
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))

    def make(name: str, url: str, judge: dict[str, Any] | None = None, **overrides):
        made = recipe(tiny_models, url, judge or {"type": "llm-judge"})
        return runs_of(made, tmp_path)(name, **overrides)

    return make


def judge(body):
    prompt = body["messages"][-1]["content"]
    turns = re.findall(r'<turn index="(\d+)">', prompt)
    if "<label" in prompt:
        return "".join(f'<label turn="{k}">{("skip", "weak", "strong")[int(k) % 3]}</label>' for k in turns)
    return f"<score>{len(prompt) % 11}</score>"


def test_terms_are_summed_logged_and_the_same_without_the_judge(make_run):
    with chat_server(judge) as server:
        first = make_run("first", server.url)
        first.train()
        asked = len(server.requests)
    assert asked > 4
    for metrics in metrics_of(first):
        values = metrics.get("metrics", metrics)
        total = values["reward/outcome"] + 0.5 * values["reward/step-penalty"] + 2.0 * values["reward/llm-judge"]
        assert values["reward/mean"] == pytest.approx(total + values["reward/gate-judge"], abs=1e-5)
        assert values["reward/gate-judge"] == 0.0 and values["reward/step-penalty"] < 0
    # Nobody listens any more: every answer comes from the cache, and the weights are the same bytes.
    second = make_run("second", server.url)
    second.train()
    assert weights_of(first) == weights_of(second)


def test_a_resumed_run_has_the_rubric_of_the_checkpoint(make_run, tmp_path):
    """The third revision depends on the second: a run that began again with the first rubric would learn otherwise."""
    mpo, steps = {"type": "mpo", "every": 1}, {"run__checkpoint_every": 1, "optim__steps": 3}
    revised = iter(range(100))

    def evolving(body):
        prompt = body["messages"][-1]["content"]
        if "Where was the rubric gamed" in prompt:
            return f"<rubric>rubric {next(revised)}</rubric>"
        return judge(body)

    with chat_server(evolving) as server:
        make_run("whole", server.url, mpo, **steps).train()
        interrupt(make_run("broken", server.url, mpo, **steps), after=2)
        make_run("broken", server.url, mpo, run__resume=True, **steps).train()
    states = [
        json.loads((tmp_path / name / "checkpoints" / "step-000003" / "state.json").read_text())["judges"]["mpo"]
        for name in ("whole", "broken")
    ]
    spent = ("told", "usage", "meta")  # what was paid: the run after it found the answers in the cache
    first, second = ({key: value for key, value in state.items() if key not in spent} for state in states)
    assert first == second
    # The very first revision was asked for by the check before the run, whose judge is not the run's.
    assert states[0]["revisions"][1:] == ["rubric 1", "rubric 2", "rubric 3"]


def test_the_gate_needs_somebody_who_judges(tiny_models, tmp_path):
    whole = recipe(tiny_models, "http://127.0.0.1:9/v1", {"type": "llm-judge"})
    ungated = {**whole, "reward": whole["reward"][:-1]}
    with pytest.raises(ConfigError, match="needs the annotation `judge`, and no reward writes it"):
        runs_of(ungated, tmp_path)().train()
