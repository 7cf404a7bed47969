"""Measures the engine `hf`: KV reuse against prefilling every turn anew, time per turn, and starter-size throughput.

    python scripts/bench_rollout.py [--quick]

One torch thread and process time, so that ratios hold on a busy machine. Models are built from a config with random
weights: speed does not depend on what they know. Responses are forced to their full length.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen3Config, Qwen3ForCausalLM

from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.models import LoadedModel
from agentdistill_engines.hf import HfConfig, HfEngine

VOCABULARY = 2048


@dataclass(frozen=True)
class Shape:
    """A workload: how many rows, turns and tokens."""

    batch: int
    turns: int
    first: tuple[int, int]
    observation: tuple[int, int]
    response: int


def build(layers: int, hidden: int, heads: int, kv_heads: int, vocabulary: int = VOCABULARY) -> Any:
    """A randomly initialised Qwen3."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        max_position_embeddings=8192,
        initializer_range=0.1,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def converse(model: Any, shape: Shape, temperature: float, reuse: bool) -> tuple[list[float], list[list[int]]]:
    """Plays random conversations; returns the process time of each turn and all token rows."""
    vocabulary = model.config.vocab_size
    random = np.random.Generator(np.random.PCG64(0))

    def text(bounds: tuple[int, int]) -> list[int]:
        return random.integers(0, vocabulary, random.integers(bounds[0], bounds[1] + 1)).tolist()

    engine = HfEngine(HfConfig(kv_reuse=reuse), LoadedModel(model, None, "random", None, ""))
    sampling = Sampling(shape.response, (), temperature)
    rows = [text(shape.first) for _ in range(shape.batch)]
    seconds = []
    for turn in range(shape.turns):
        requests = [GenerationRequest(str(i), row, seed=i * 1000 + turn) for i, row in enumerate(rows)]
        start = time.process_time()
        generations = engine.generate(requests, sampling)
        seconds.append(time.process_time() - start)
        for row, generation in zip(rows, generations, strict=True):
            row += generation.token_ids + text(shape.observation)
    return seconds, rows


def machine_line() -> str:
    """One line about the machine."""
    return (
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} "
        f"torch thread, torch {torch.__version__}, python {platform.python_version()}, process time"
    )


def compare_reuse(console: Console, quick: bool) -> None:
    """30 turns of (60 + 8) tokens, batch 8, fp32, greedy."""
    model = build(layers=4, hidden=256, heads=8, kv_heads=4)
    shape = Shape(batch=8, turns=12 if quick else 30, first=(60, 60), observation=(60, 60), response=8)
    with_reuse, rows = converse(model, shape, 0.0, reuse=True)
    without, plain_rows = converse(model, shape, 0.0, reuse=False)
    table = Table(title=f"KV reuse: {shape.turns} turns of (60 + 8) tokens, batch 8, 4 layers x 256, fp32, greedy")
    for column in ("", "total s", "turn 2 ms", "middle ms", "last ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, seconds in (("reuse", with_reuse), ("re-prefill", without)):
        picked = (seconds[1], seconds[len(seconds) // 2], seconds[-1])
        table.add_row(name, f"{sum(seconds):.2f}", *(f"{1e3 * value:.1f}" for value in picked))
    console.print(table)
    same = np.mean(
        [a == b for left, right in zip(rows, plain_rows, strict=True) for a, b in zip(left, right, strict=True)]
    )
    console.print(f"ratio {sum(without) / sum(with_reuse):.1f}x, equal tokens {100 * same:.2f}%")


def starter_throughput(console: Console, quick: bool) -> None:
    """Ragged turns at the size of the starter models."""
    model = build(layers=3, hidden=128, heads=4, kv_heads=4, vocabulary=464)
    table = Table(
        title="starter size: 3 layers x 128, first prompt 40-80, observations 6-20, responses 5, temperature 1"
    )
    for column in ("batch", "sampled tokens/s", "all tokens/s", "ms a turn, first half", "second half"):
        table.add_column(column, justify="right")
    turns = 6 if quick else 20
    for batch in (32, 64):
        shape = Shape(batch=batch, turns=turns, first=(40, 80), observation=(6, 20), response=5)
        seconds, rows = converse(model, shape, 1.0, reuse=True)
        half = len(seconds) // 2
        table.add_row(
            str(batch),
            f"{batch * turns * shape.response / sum(seconds):,.0f}",
            f"{sum(map(len, rows)) / sum(seconds):,.0f}",
            f"{1e3 * sum(seconds[:half]) / half:.1f}",
            f"{1e3 * sum(seconds[half:]) / (turns - half):.1f}",
        )
    console.print(table)


def main() -> None:
    """Runs everything and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns, a few seconds in all")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    console = Console(width=120)
    compare_reuse(console, quick)
    starter_throughput(console, quick)
    console.print(machine_line())


if __name__ == "__main__":
    main()
