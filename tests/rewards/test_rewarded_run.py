"""Rewards in real runs: terms are summed and logged, judges annotate for weights, and a rerun asks nobody."""

from __future__ import annotations

import json
import re

import pytest
from chat_server import chat_server
from tiny import tiny_model, tiny_tokenizer

from agentdistill.config.load import load_config
from agentdistill.errors import ConfigError
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run

RECIPE = """
[run]
name = "rewarded"
seed = 3
[env]
type = "alfworld"
engine = "fast"
max_steps = 3
generated = { train = 6, seen = 4, unseen = 4 }
[student]
model = "STUDENT"
[teacher]
type = "local"
model = "TEACHER"
[loss]
type = "opd"
[step_weight]
type = "sage"
[advantage]
type = "grpo"
[[reward]]
type = "outcome"
[[reward]]
type = "step-penalty"
weight = 0.5
[[reward]]
type = "llm-judge"
weight = 2.0
url = "URL"
model = "judge"
served_as = "the test"
[[reward]]
type = "gate-judge"
url = "URL"
model = "judge"
served_as = "the test"
[rollout]
tasks_per_step = 2
samples_per_task = 2
max_new_tokens = 4
concurrency = 2
[optim]
lr = 1e-3
steps = 2
"""


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))
    for name, seed in (("student", 1), ("teacher", 2)):
        tiny_model(seed=seed, hidden=32).save_pretrained(tmp_path / name)
        tiny_tokenizer().save_pretrained(tmp_path / name)
    text = RECIPE.replace("STUDENT", str(tmp_path / "student")).replace("TEACHER", str(tmp_path / "teacher"))

    def make(name: str, url: str, judge: str = '"llm-judge"', **overrides) -> Run:
        (tmp_path / f"{name}.toml").write_text(text.replace("URL", url).replace('"llm-judge"', judge))
        registry = PluginRegistry.load()
        values = {"run.directory": str(tmp_path / name)} | {k.replace("__", "."): v for k, v in overrides.items()}
        return Run(load_config([str(tmp_path / f"{name}.toml")], values, registry=registry), registry)

    return make


def judge(body):
    prompt = body["messages"][-1]["content"]
    turns = re.findall(r'<turn index="(\d+)">', prompt)
    if "<label" in prompt:
        return "".join(f'<label turn="{k}">{("skip", "weak", "strong")[int(k) % 3]}</label>' for k in turns)
    return f"<score>{len(prompt) % 11}</score>"


def metrics_of(run):
    return [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]


def weights_of(run):
    return (run.directory / "student" / "model.safetensors").read_bytes()


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
    mpo = {"judge": '"mpo"\nevery = 1', "run.checkpoint_every": 1, "optim.steps": 3}
    revised = iter(range(100))

    def evolving(body):
        prompt = body["messages"][-1]["content"]
        if "Where was the rubric gamed" in prompt:
            return f"<rubric>rubric {next(revised)}</rubric>"
        return judge(body)

    with chat_server(evolving) as server:
        make_run("whole", server.url, **mpo).train()
        broken = make_run("broken", server.url, **mpo)
        learner = broken.parts.learner

        def stopping(*args, **kwargs):
            made = learner(*args, **kwargs)
            step = made.step

            def until_two(*a, **k):
                if made.steps_done == 2:
                    raise KeyboardInterrupt
                return step(*a, **k)

            made.step = until_two
            return made

        broken.parts.learner = stopping
        with pytest.raises(KeyboardInterrupt):
            broken.train()
        resumed = make_run("broken", server.url, **mpo, **{"run.resume": True})
        resumed.train()
    states = [
        json.loads((tmp_path / name / "checkpoints" / "step-000003" / "state.json").read_text())["judges"]["mpo"]
        for name in ("whole", "broken")
    ]
    assert states[0] == states[1]
    assert states[0]["revisions"][1:] == ["rubric 0", "rubric 1", "rubric 2"]


def test_the_gate_needs_somebody_who_judges(make_run):
    run = make_run("without", "http://127.0.0.1:9/v1")
    sections = [s for s in run.resolved.config.reward if s.type != "gate-judge"]
    assert len(sections) == 3
    text = RECIPE[: RECIPE.index('[[reward]]\ntype = "gate-judge"')] + RECIPE[RECIPE.index("[rollout]") :]
    path = run.directory.parent / "ungated.toml"
    student, teacher = (str(run.directory.parent / name) for name in ("student", "teacher"))
    path.write_text(
        text.replace("STUDENT", student).replace("TEACHER", teacher).replace("URL", "http://127.0.0.1:9/v1")
    )
    registry = PluginRegistry.load()
    values = {"run.directory": str(run.directory.parent / "ungated")}
    with pytest.raises(ConfigError, match="needs the annotation `judge`, and no reward writes it"):
        Run(load_config([str(path)], values, registry=registry), registry).train()
