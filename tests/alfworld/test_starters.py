from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.hashing import digest_file
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.generate import generate
from agentdistill_alfworld.starter_training.card import card
from agentdistill_alfworld.starter_training.make import load
from agentdistill_alfworld.starter_training.measure import LIMIT, measure, real_split
from agentdistill_alfworld.starter_training.recipes import RUNS
from agentdistill_alfworld.starter_training.rollout import play_greedy
from agentdistill_alfworld.starter_training.tokenizer import build_tokenizer

STARTERS = Path(str(files("agentdistill_alfworld"))) / "starters"
NAMES = ("teacher", "student-15", "student-35", "student-55")
GOALS = {"teacher": (0.90, 1.0), "student-15": (0.08, 0.22), "student-35": (0.28, 0.42), "student-55": (0.48, 0.64)}


def test_the_package_carries_what_the_runs_make() -> None:
    made = {name for run in RUNS for name in run.snapshots.values()}
    assert made == set(NAMES) == {path.name for path in STARTERS.iterdir() if path.is_dir()}
    assert sum(path.stat().st_size for path in STARTERS.rglob("*") if path.is_file()) < 8_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_starter_is_an_ordinary_directory(name: str) -> None:
    folder = STARTERS / name
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert ChatRenderer(tokenizer).terminator == tokenizer.eos_token_id


@pytest.mark.parametrize("name", NAMES)
def test_metrics_and_card_belong_to_the_weights(name: str) -> None:
    folder = STARTERS / name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["weights_sha256"] == digest_file(folder / "model.safetensors")
    assert (folder / "README.md").read_text() == card(name, metrics)
    (run,) = [run for run in RUNS if name in run.snapshots.values()]
    assert run.snapshots[metrics["training"]["steps"]] == name
    assert metrics["training"]["seed"] == run.seed
    real, generated = metrics["evaluation"]
    assert (real["panel"], real["engine"], real["games"], real["limit"]) == ("valid_seen", "real", 140, LIMIT)
    assert (generated["panel"], generated["engine"], generated["limit"]) == ("generated-unseen", "fast", LIMIT)
    low, high = GOALS[name]
    assert low <= real["won"] / real["games"] <= high


def test_the_models_play_as_their_cards_say() -> None:
    games = list(generate("train", 24, seed=77))
    wins = {}
    for name in NAMES:
        model, tokenizer = load(STARTERS / name)
        wins[name] = sum(o.won for o in play_greedy(model, tokenizer, [FastGame(g) for g in games], limit=30))
    assert wins["teacher"] >= 19
    assert wins["teacher"] > wins["student-55"] > wins["student-15"]
    assert wins["student-35"] < wins["teacher"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["student-35", pytest.param("teacher", marks=pytest.mark.thorough)])
def test_success_on_the_real_games_is_what_the_card_says(
    name: str, alfworld_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    model, tokenizer = load(STARTERS / name)
    result = measure(model, tokenizer, real_split("valid_seen"), panel="valid_seen", engine="real")
    stated = json.loads((STARTERS / name / "metrics.json").read_text())["evaluation"][0]
    assert result.panel_hash == stated["panel_hash"]
    # Another processor may round a near-tie the other way.
    assert abs(result.won - stated["won"]) <= 3
