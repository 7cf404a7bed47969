"""Measures kept scores: what a batch of episodes takes on disk, and to score, to keep and to find again.

Usage: python scripts/bench_cache.py

The starter's teacher scores 16 made-up episodes of 20 turns (90 tokens of context and 10 of response each). Times are
CPU seconds of one thread, the best of three; the folder is in a temporary directory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from agentdistill.models import load_model
from agentdistill.plugins import PluginRegistry
from agentdistill.records import CONTEXT, ScoreRequest, TeacherScores, TokenRow
from agentdistill.scorecache import ScoreStore, score_key
from agentdistill_teachers.local import LocalConfig, LocalTeacher

EPISODES, TURNS, CONTEXT_TOKENS, RESPONSE_TOKENS = 16, 20, 90, 10
REQUESTS = {
    "sampled": ScoreRequest(),
    "top 16, entropy": ScoreRequest(top_k=16, entropy=True),
    "top 64": ScoreRequest(top_k=64),
    "hidden states": ScoreRequest(hidden=True),
}


def made_row(vocabulary: int, seed: int) -> TokenRow:
    """One episode as a row of random tokens."""
    turn = np.repeat([CONTEXT, 0], [CONTEXT_TOKENS, RESPONSE_TOKENS])
    owner = np.concatenate([np.where(turn == CONTEXT, CONTEXT, number) for number in range(TURNS)]).astype(np.int32)
    ids = np.random.default_rng(seed).integers(5, vocabulary, len(owner)).astype(np.int32)
    return TokenRow(ids, owner, owner != CONTEXT, np.full(len(owner), np.nan, dtype=np.float32))


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the fastest of three calls, and what the last returned."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        result = work()
        seconds.append(time.process_time() - began)
    return min(seconds), result


def main() -> None:
    """Prints a Markdown table."""
    torch.set_num_threads(1)
    model = load_model("starter-teacher", registry=PluginRegistry.load())
    teacher = LocalTeacher(LocalConfig(model="starter-teacher"), model)
    rows = [made_row(len(model.tokenizer), seed) for seed in range(EPISODES)]
    episodes: Any = [type("Episode", (), {"rows": [row]})() for row in rows]
    print("| request | bytes per written token | scoring, s | keeping, s | finding, s |\n|---|---|---|---|---|")
    written = sum(int(row.mask.sum()) for row in rows)
    for name, request in REQUESTS.items():
        scoring, scores = best(partial(teacher.score, episodes, request))
        answers = {score_key(teacher.fingerprint, "", "", [row]): own for row, own in zip(rows, scores, strict=True)}
        with tempfile.TemporaryDirectory() as folder:
            places = [Path(folder) / str(number) for number in range(3)]
            keeping, place = best(partial(keep, iter(places), answers, request))
            finding, found = best(partial(find, place, list(answers), request))
            assert found == EPISODES
            size = sum(file.stat().st_size for file in place.iterdir())
        print(f"| {name} | {size / written:.0f} | {scoring:.2f} | {keeping:.3f} | {finding:.3f} |")


def keep(places: Iterator[Path], answers: Mapping[str, list[TeacherScores]], request: ScoreRequest) -> Path:
    """Keeps the answers in the next empty folder."""
    place = next(places)
    ScoreStore(place).add(answers, request)
    return place


def find(place: Path, keys: list[str], request: ScoreRequest) -> int:
    """Opens a store, as a new run does, and finds everything in it."""
    return len(ScoreStore(place).find(keys, request))


if __name__ == "__main__":
    main()
