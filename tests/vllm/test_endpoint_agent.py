"""A served starter as the agent of an evaluation: it plays as it does in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from served import Server

from agentdistill.cli.group import cli
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.evaluation import evaluate

pytestmark = pytest.mark.vllm

GAMES = {"env.engine": "fast", "env.max_steps": 12, "env.generated": {"train": 12, "seen": 6, "unseen": 6}}
ASKED = {"env.context": {"type": "append"}, "rollout.max_new_tokens": 16, "eval.temperature": 0.0}


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def options(values: dict) -> list[str]:
    words: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            words += options({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            words += [f"--{key}", str(value)]
    return words


def test_an_endpoint_plays_as_the_same_model_does_here(server: Server, tmp_path: Path):
    out = tmp_path / "out"
    run(
        "eval", "--agent", server.url, "--panel", "alfworld/generated-unseen", "--output", str(out),
        *options(GAMES | ASKED),
    )  # fmt: skip
    found = json.loads((out / "results.json").read_text())
    local = evaluate(
        "starter-teacher", "alfworld/generated-unseen", overrides=GAMES | ASKED, registry=PluginRegistry.load()
    )
    assert found["panel"]["hash"] == local.panel_hash
    keys = ("success", "steps", "invalid")
    assert [[one[key] for key in keys] for one in found["episodes"]] == [
        [getattr(one, key) for key in keys] for one in local.outcomes
    ]
    assert found["summary"]["success"]["value"] > 0
    agent, account = found["provenance"]["agent"], found["summary"]["spent"]["agent"]
    assert (agent["model"], agent["protocol"], agent["endpoint"]) == (
        "starter-teacher", "chat completions", "http://host/v1",
    )  # fmt: skip
    # The endpoint reads each turn's whole prompt: more than the tokens of the rows, which are read once.
    assert account["calls"] == sum(one.steps for one in local.outcomes)
    assert account["sampled_tokens"] == local.sampled_tokens and account["prompt_tokens"] > local.prompt_tokens
    assert account["usd"] is None and found["protocol"] == json.loads(json.dumps(dict(local.protocol)))


def test_an_endpoint_plays_one_game_in_the_terminal(server: Server):
    shown = run("play", "alfworld", "--agent", server.url, *options(GAMES | ASKED))
    assert "> " in shown and ("won after" in shown.splitlines()[-1])
