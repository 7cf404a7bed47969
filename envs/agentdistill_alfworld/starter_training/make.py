"""Makes starter models: trains a run, saves its snapshots as Hugging Face directories, measures them."""

from __future__ import annotations

import copy
import importlib.metadata
import os
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen3ForCausalLM

from agentdistill.atomic import write_json, write_text
from agentdistill.hashing import digest, digest_file
from agentdistill_alfworld.data import data_root
from agentdistill_alfworld.starter_training.card import card
from agentdistill_alfworld.starter_training.measure import generated_unseen, measure, real_split
from agentdistill_alfworld.starter_training.model import build_model
from agentdistill_alfworld.starter_training.recipes import Run
from agentdistill_alfworld.starter_training.tokenizer import build_tokenizer, tokens
from agentdistill_alfworld.starter_training.train import Progress, train

_PACKAGES = ("torch", "transformers", "tokenizers", "alfworld", "textworld")


def make_run(run: Run, folder: Path, say: Callable[[str], None] = print) -> None:
    """Trains a run and saves, measures and describes each of its models.

    Args:
        run: the training run.
        folder: where the models' directories go; existing ones are overwritten.
        say: told about progress.
    """
    torch.set_num_threads(1)
    model = build_model(layers=run.layers, seed=run.seed)
    began, spent_before = time.perf_counter(), time.process_time()
    facts: dict[str, dict[str, Any]] = {}

    def snapshot(progress: Progress) -> None:
        say(f"{run.name}: step {progress.step}, {progress.tokens:,} tokens, loss {progress.loss:.4f}")
        name = run.snapshots.get(progress.step)
        if name is not None:
            save(model, folder / name)
            wall, cpu = time.perf_counter() - began, time.process_time() - spent_before
            facts[name] = _facts(run, progress, model, wall=wall, cpu=cpu)

    last = max(run.snapshots)
    train(model, run.data(), run.schedule, report_at={*run.snapshots, *range(500, last, 500)}, report=snapshot)
    for name in run.snapshots.values():
        describe(folder / name, facts[name], say)


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Saves weights in bfloat16 with everything that `from_pretrained` needs.

    The configuration says float32: that is what the weights are to be loaded and computed in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model)
    torch.nn.Module.to(half, torch.bfloat16)
    half.save_pretrained(folder)
    half.config.dtype = torch.float32
    half.config.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)


def load(folder: Path) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerBase]:
    """A saved starter model in float32, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return cast(Qwen3ForCausalLM, model.eval()), cast(PreTrainedTokenizerBase, tokenizer)


def describe(folder: Path, facts: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Measures a saved model as it is on disk and writes its `metrics.json` and model card.

    Generated games are always played; the real valid_seen games with the real engine where `$ALFWORLD_DATA` is set.

    Args:
        folder: the model's directory; its name is the model's.
        facts: how it was trained.
        say: told about progress.
    """
    model, tokenizer = load(folder)
    measured = [measure(model, tokenizer, generated_unseen(), panel="generated-unseen", engine="fast")]
    if data_root() is not None:
        measured.insert(0, measure(model, tokenizer, real_split("valid_seen"), panel="valid_seen", engine="real"))
    for result in measured:
        say(f"{folder.name}: {result.panel} {result.won}/{result.games} [{result.low:.3f}, {result.high:.3f}]")
    metrics = {**facts, "weights_sha256": digest_file(folder / "model.safetensors")}
    metrics["evaluation"] = [result.as_dict() for result in measured]
    write_json(folder / "metrics.json", metrics)
    write_text(folder / "README.md", card(folder.name, metrics))


def _facts(run: Run, progress: Progress, model: Qwen3ForCausalLM, *, wall: float, cpu: float) -> dict[str, Any]:
    """What made a model's weights."""
    schedule, mistakes = run.schedule, run.mistakes
    return {
        "format": 1,
        "architecture": {
            "type": "Qwen3ForCausalLM",
            "layers": run.layers,
            "hidden": model.config.hidden_size,
            "vocabulary": len(tokens()),
            "vocabulary_sha256": digest(tokens()),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        "training": {
            "run": run.name,
            "seed": run.seed,
            "steps": progress.step,
            "decay_steps": schedule.steps,
            "episodes": progress.step * run.batch,
            "batch": run.batch,
            "tokens": progress.tokens,
            "target_tokens": progress.targets,
            "loss": round(progress.loss, 4),
            "matrix_rate": schedule.matrix_rate,
            "other_rate": schedule.other_rate,
            "cpu_seconds": round(cpu),
            "wall_seconds": round(wall),
            "threads": 1,
            "cores": os.cpu_count(),
        },
        "data": {
            "split": "train (generated)",
            "tables_sha256": digest(
                {
                    name: digest(files("agentdistill_alfworld").joinpath("tables", name).read_bytes())
                    for name in ("scenes.json", "search_prior.json", "statistics.json")
                }
            ),
            "mistake_rate": mistakes.rate,
            "mistake_burst": mistakes.burst,
            "turn_limit": mistakes.limit,
        },
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
