from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentdistill.records import LossRole
from agentdistill_alfworld.demonstrations import demonstrations
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.generate import generate
from agentdistill_alfworld.starter_training import measure as measuring
from agentdistill_alfworld.starter_training.data import Batch, batches, encode
from agentdistill_alfworld.starter_training.make import load, make_run, save
from agentdistill_alfworld.starter_training.measure import GENERATED_SEED, generated_unseen
from agentdistill_alfworld.starter_training.model import build_model
from agentdistill_alfworld.starter_training.recipes import RUNS
from agentdistill_alfworld.starter_training.rollout import play_greedy
from agentdistill_alfworld.starter_training.tokenizer import ACT, END, build_tokenizer
from agentdistill_alfworld.starter_training.train import Schedule, imitation_loss, train

TOKENIZER = build_tokenizer()
EPISODES = list(demonstrations(generate("train", 60, seed=31), split="train", seed=0))


def test_targets_are_the_commands_of_the_expert_and_nothing_else() -> None:
    for episode in EPISODES:
        example = encode(episode, TOKENIZER)
        learned = [token for token, target in zip(example.ids, example.target, strict=True) if target]
        wanted = [s.response + END for s in episode.steps if s.loss_role is LossRole.IMITATE]
        assert TOKENIZER.decode(learned) == "".join(wanted)
        assert TOKENIZER.decode(example.ids) == "".join(f"{s.observation}{ACT}{s.response}{END}" for s in episode.steps)


def test_renumbering_keeps_the_story() -> None:
    rng = Random("renumber")
    changed = 0
    for episode in EPISODES:
        plain, other = encode(episode, TOKENIZER), encode(episode, TOKENIZER, rng)
        assert plain.target == other.target
        pairs = {(a, b) for a, b in zip(plain.ids, other.ids, strict=True) if a != b}
        changed += bool(pairs)
        # One new number for each old one, and for no two the same one.
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
        for old, new in pairs:
            before, after = (TOKENIZER.convert_ids_to_tokens(token) for token in (old, new))
            assert before.split(" ")[1] == after.split(" ")[1]
    assert changed > len(EPISODES) // 4


def test_batches_hold_every_episode_once_and_repeat() -> None:
    made = list(batches(EPISODES, TOKENIZER, size=4, seed=0, shard=4))
    assert sum(len(batch.ids) for batch in made) == len(EPISODES) // 4 * 4
    for one, two in zip(made, batches(EPISODES, TOKENIZER, size=4, seed=0, shard=4), strict=True):
        assert torch.equal(one.ids, two.ids)
        assert torch.equal(one.target, two.target)


def test_padding_does_not_change_the_loss() -> None:
    model = build_model(layers=1, hidden=32)
    (batch,) = list(batches(EPISODES[:2], TOKENIZER, size=2, seed=0))
    longer = torch.nn.functional.pad(batch.ids, (0, 7)), torch.nn.functional.pad(batch.target, (0, 7))
    assert torch.allclose(imitation_loss(model, batch), imitation_loss(model, Batch(*longer)), atol=1e-6)


def test_the_seed_decides_the_weights_and_the_global_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (build_model(layers=1, hidden=32, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(state, torch.get_rng_state())


def test_training_learns_and_repeats_bit_for_bit() -> None:
    def run() -> tuple[list[float], dict[str, torch.Tensor]]:
        model = build_model(layers=1, hidden=32, seed=0)
        losses: list[float] = []
        schedule = Schedule(steps=40, warmup=5)
        stream: Iterator[Batch] = (b for _ in range(3) for b in batches(EPISODES, TOKENIZER, size=4, seed=0))
        train(model, stream, schedule, report_at={1, 40}, report=lambda p: losses.append(p.loss))
        return losses, model.state_dict()

    (first, weights), (second, again) = run(), run()
    assert first == second
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert first[1] < 0.9 * first[0]


def test_running_out_of_data_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ran out after"):
        train(build_model(layers=1, hidden=32), batches(EPISODES, TOKENIZER, size=8, seed=0), Schedule(steps=100))


def naive(model: torch.nn.Module, game: FastGame, limit: int) -> list[str]:
    """Plays without cache, batch or mask: every token from the whole text again."""
    ids = [*TOKENIZER.encode(game.reset()), TOKENIZER.convert_tokens_to_ids(ACT)]
    actions = []
    while len(actions) < limit and not game.won:
        written: list[int] = []
        while len(written) < 16 and (not written or written[-1] != TOKENIZER.eos_token_id):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids + written])).logits[0, -1]
            written.append(int(logits.argmax()))
        action = TOKENIZER.decode(written, skip_special_tokens=True)
        actions.append(action)
        closed = written if written[-1] == TOKENIZER.eos_token_id else [*written, TOKENIZER.eos_token_id]
        ids += [*closed, *TOKENIZER.encode(game.step(action)), TOKENIZER.convert_tokens_to_ids(ACT)]
    return actions


def test_batched_play_is_single_play_is_play_without_cache() -> None:
    model = build_model(layers=2, hidden=32, seed=1)
    data = (b for _ in range(12) for b in batches(EPISODES, TOKENIZER, size=4, seed=0))
    train(model, data, Schedule(steps=150, warmup=10))
    games = list(generate("train", 6, seed=32))
    together = play_greedy(model, TOKENIZER, [FastGame(game) for game in games], limit=8)
    for game, outcome in zip(games, together, strict=True):
        (alone,) = play_greedy(model, TOKENIZER, [FastGame(game)], limit=8)
        assert outcome == alone
        assert outcome.actions == naive(model, FastGame(game), 8)
    assert len({tuple(outcome.actions) for outcome in together}) > 1


def test_a_saved_model_is_an_ordinary_one(tmp_path: Path) -> None:
    model = build_model(layers=1, hidden=32)
    save(model, tmp_path / "one")
    ordinary = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    assert next(ordinary.parameters()).dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert ordinary.generation_config.eos_token_id == tokenizer.eos_token_id == TOKENIZER.eos_token_id
    rounded = model.state_dict()["model.embed_tokens.weight"].bfloat16().float()
    assert torch.equal(ordinary.state_dict()["model.embed_tokens.weight"], rounded)
    again, _ = load(tmp_path / "one")
    assert torch.equal(again.state_dict()["model.embed_tokens.weight"], rounded)


def test_a_run_makes_measured_and_described_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    monkeypatch.setattr(measuring, "GENERATED_COUNT", 6)
    run = replace(RUNS[1], snapshots={2: "early", 3: "late"}, schedule=Schedule(steps=3), batch=2)
    said: list[str] = []
    make_run(run, tmp_path, said.append)
    for name, steps in (("early", 2), ("late", 3)):
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        assert metrics["training"]["steps"] == steps
        assert metrics["evaluation"][0]["games"] == 6
        card = (tmp_path / name / "README.md").read_text()
        assert f"| run, seed | `student`, {run.seed} |" in card
        assert "0/6 = 0.0% [0.0%, 39.0%]" in card
        load(tmp_path / name)
    early, late = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("early", "late"))
    assert early != late
    assert any("late: generated-unseen 0/6" in line for line in said)


def test_no_run_trains_on_what_it_is_measured_on() -> None:
    assert GENERATED_SEED not in [run.seed for run in RUNS]
    measured = {entrant.key for entrant in generated_unseen()}
    scenes = {key.split("/")[1].split("-")[-1] for key in measured}
    assert scenes == {"10", "219", "308", "424"}
    for run in RUNS:
        trained = {game.key.split("/")[1].split("-")[-1] for game in generate("train", 300, run.seed, run.task_types)}
        assert not trained & scenes
