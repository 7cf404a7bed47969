"""Measures the engine `hf`: KV reuse against prefilling every turn anew, time per turn, and starter-size throughput.

    python scripts/bench_rollout.py [--quick]

One torch thread and process time, so that ratios hold on a busy machine. Models are built from a config with random
weights: speed does not depend on what they know. Responses are forced to their full length.

Attention to a longer conversation is more work, whatever the engine does. So each table of turns also times
scaled_dot_product_attention alone, over the same shapes: what the engine adds is the rest, and that must be flat.
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
from torch.nn.functional import scaled_dot_product_attention as attention
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


def build(
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    *,
    head_dim: int = 0,
    intermediate: int = 0,
    vocabulary: int = VOCABULARY,
) -> Any:
    """A randomly initialised Qwen3."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate or 3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim or hidden // heads,
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


@torch.no_grad()
def attention_alone(model: Any, shape: Shape) -> list[float]:
    """Process time of each turn's attention and nothing else, for conversations of equal lengths.

    Keys and values lie in place and no mask is built; each layer has its own, so that they come from memory as in a
    real pass.
    """
    config = model.config
    heads, shared, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    longest = shape.first[1] + shape.turns * (shape.observation[1] + shape.response)
    stores = [torch.randn(2, shape.batch, shared, longest, dim) for _ in range(config.num_hidden_layers)]
    one = torch.randn(shape.batch, shared, heads // shared, dim)
    seconds, length = [], 0
    for turn in range(shape.turns):
        start = max(length - 1, 0)  # the last sampled token is fed with the next prompt
        end = length + (shape.observation[1] if turn else shape.first[1])
        query = torch.randn(1, heads, end - start, dim)
        mask = torch.full((end - start, end), float("-inf")).triu_(start + 1) if turn else None
        began = time.process_time()
        for keys, values in stores:
            for row in range(shape.batch):
                own = (keys[row : row + 1, :, :end], values[row : row + 1, :, :end])
                attention(query, *own, attn_mask=mask, is_causal=not turn, enable_gqa=heads > shared)
        for now in range(end + 1, end + shape.response):
            for keys, values in stores:
                attention(one, keys[:, :, :now], values[:, :, :now])
        seconds.append(time.process_time() - began)
        length = end + shape.response
    return seconds


def turns_table(title: str, rows: dict[str, list[float]]) -> Table:
    """Totals and times per turn, each the mean of three turns."""
    table = Table(title=title, title_justify="left")
    for column in ("", "total s", "turns 2-4 ms", "middle ms", "last three ms", "last / first"):
        table.add_column(column, justify="left" if not column else "right")
    for name, seconds in rows.items():
        middle = len(seconds) // 2
        early, half, late = (
            1e3 * float(np.mean(part)) for part in (seconds[1:4], seconds[middle - 1 : middle + 2], seconds[-3:])
        )
        table.add_row(name, f"{sum(seconds):.2f}", f"{early:.1f}", f"{half:.1f}", f"{late:.1f}", f"{late / early:.2f}x")
    return table


def with_attention(model: Any, shape: Shape, seconds: list[float]) -> dict[str, list[float]]:
    """The engine's turns, the attention in them, and what is left."""
    alone = attention_alone(model, shape)
    rest = [whole - part for whole, part in zip(seconds, alone, strict=True)]
    return {"reuse": seconds, "  attention alone": alone, "  everything else": rest}


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
    title = f"KV reuse: {shape.turns} turns of (60 + 8) tokens, batch 8, 4 layers x 256, fp32, greedy"
    console.print(turns_table(title, {**with_attention(model, shape, with_reuse), "re-prefill": without}))
    same = np.mean(
        [a == b for left, right in zip(rows, plain_rows, strict=True) for a, b in zip(left, right, strict=True)]
    )
    console.print(f"ratio {sum(without) / sum(with_reuse):.1f}x, equal tokens {100 * same:.2f}%")


def wide(console: Console, quick: bool) -> None:
    """The same turns in layers as wide as a real model's, where attention is the smaller part."""
    model = build(layers=2, hidden=2048, heads=16, kv_heads=8, head_dim=128, intermediate=6144)
    shape = Shape(batch=2, turns=8 if quick else 30, first=(60, 60), observation=(60, 60), response=8)
    seconds, _ = converse(model, shape, 0.0, reuse=True)
    title = f"as wide as Qwen3-1.7B (random weights, 2 of its 28 layers): {shape.turns} turns of (60 + 8), batch 2"
    console.print(turns_table(title, with_attention(model, shape, seconds)))


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
    wide(console, quick)
    starter_throughput(console, quick)
    console.print(machine_line())


if __name__ == "__main__":
    main()
