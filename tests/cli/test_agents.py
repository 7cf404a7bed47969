"""An address as the agent of `eval` and `play`."""

from __future__ import annotations

import json

import pytest
from chat_server import chat_server

from tests.cli.toy_game import GAME


@pytest.fixture(autouse=True)
def game(install):
    install("toy-game-dist", toy_game_plugin=GAME)


def up(body) -> str:
    """Counts up, and babbles first."""
    return "up" if any("You are at" in message["content"] for message in body["messages"]) else "?"


def test_an_endpoint_is_evaluated_without_any_model(run, tmp_path):
    with chat_server(up) as server:
        outcome = run(
            "eval", "--agent", server.url, "--panel", "toy-game/train", "--output", "out", "--engine.price_in", "1",
            "--engine.price_out", "1", "--env.context.type", "append", "--eval.temperature", "0",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert len(server.requests) == 6  # three games of two turns
        assert {body["model"] for _, _, body in server.requests} == {"the-model"}
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["summary"]["success"]["value"] == 1.0
    agent = result["provenance"]["agent"]
    assert (agent["endpoint"], agent["model"], agent["protocol"]) == ("http://host/v1", "the-model", "chat completions")
    account = result["summary"]["spent"]["agent"]
    assert account["calls"] == 6 and account["prompt_tokens"] > 0 and account["usd"] > 0
    assert result["summary"]["tokens"] == {"prompt": 0, "sampled": 0}, "its tokens are not ours to count"
    assert "agent 6 calls" in outcome.out and "sampled by endpoint" in outcome.out


def test_an_endpoint_plays_and_its_words_are_shown(run):
    with chat_server(up) as server:
        outcome = run("play", "toy-game", "--agent", server.url, "--env.context.type", "append")
        assert outcome.code == 0, outcome.err
        assert server.requests[0][2]["messages"][0]["content"].startswith("You are at 0.")
    lines = outcome.out.splitlines()
    assert lines.count("> up") == 2 and lines[-1] == "won after 2 turns"
    assert {"You are at 0.", "You are at 1.", "You are at 2."} <= set(lines)
    with chat_server("<think>hm</think><action>wait</action>") as server:
        outcome = run(
            "play", "toy-game", "--agent", server.url, "--engine.model", "other", "--env.max_steps", "3",
            "--env.context", '{type = "append", think = true}',
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert server.requests[0][2]["model"] == "other"
    assert outcome.out.count("> wait") == 3 and "<think>hm</think>" in outcome.out
    assert outcome.out.splitlines()[-1] == "not won after 3 turns"


def test_what_cannot_be_meant_is_told(run):
    outcome = run("eval", "--agent", "studnt", "--panel", "toy-game/train")
    assert outcome.code == 2 and "is none of student, expert" in outcome.err
    with chat_server("up") as server:
        server.models = ("a", "b")
        outcome = run("play", "toy-game", "--agent", server.url)
        assert outcome.code == 2 and "serves 2 models. They are a, b. Say which one with --engine.model" in outcome.err
        outcome = run("eval", "--agent", server.url, "--panel", "toy-game/train", "--engine.type", "hf")
        assert outcome.code == 2 and "url" in outcome.err
        outcome = run("eval", "--agent", server.url, "--panel", "toy-game/train", "--engine.modl", "a")
        assert "Did you mean `model`?" in outcome.err
    outcome = run("play", "toy-game", "--agent", "http://127.0.0.1:9/v1", "--engine.retries", "0")
    assert outcome.code == 2 and "cannot be reached" in outcome.err
