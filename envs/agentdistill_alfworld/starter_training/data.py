"""Training data of the starter models: demonstrations as token ids, in batches of similar length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from transformers import PreTrainedTokenizerBase

from agentdistill.records import LossRole, Trajectory
from agentdistill_alfworld.starter_training.tokenizer import ACT, CONTEXT_LENGTH, END, object_limits

_ITEM = re.compile(r"\b([a-z]+) (\d+)\b")


@dataclass(frozen=True, slots=True)
class Example:
    """One episode as tokens.

    Attributes:
        ids: token ids, the last observation left out.
        target: for each token, whether the model learns to predict it.
    """

    ids: list[int]
    target: list[bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """A few episodes, padded on the right.

    Attributes:
        ids: int64 [B, T].
        target: bool [B, T], False on padding.
    """

    ids: torch.Tensor
    target: torch.Tensor


def encode(episode: Trajectory, tokenizer: PreTrainedTokenizerBase, renumber: Random | None = None) -> Example:
    """Turns a text episode into tokens; those of turns with `LossRole.IMITATE`, terminator included, are targets.

    Args:
        episode: the episode.
        tokenizer: the starter tokenizer.
        renumber: draws new numbers for some of the episode's object types, the same ones throughout, so that
            every entity token is trained; None leaves the text alone.
    """
    text = "".join(f"{step.observation}{ACT}{step.response}{END}" for step in episode.steps)
    if renumber is not None:
        text = _renumber(text, renumber)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    act, end = (tokenizer.convert_tokens_to_ids(token) for token in (ACT, END))
    target: list[bool] = []
    turn, writing = 0, False
    for token in ids:
        target.append(writing and episode.steps[turn].loss_role is LossRole.IMITATE)
        if token == act:
            writing = True
        elif token == end:
            writing = False
            turn += 1
    if turn != len(episode.steps):
        raise AssertionError(f"an episode of {len(episode.steps)} turns was encoded with {turn} terminators")
    return Example(ids, target)


def _renumber(text: str, rng: Random) -> str:
    """Gives the objects of each type other numbers, with probability 0.15 a type."""
    limits = object_limits()
    seen = _ITEM.findall(text)
    maps: dict[str, dict[str, str]] = {}
    for kind in sorted({kind for kind, _ in seen if kind in limits}):
        highest = max(limits[kind], max(int(number) for k, number in seen if k == kind))
        if rng.random() < 0.15:
            order = list(range(1, highest + 1))
            rng.shuffle(order)
            maps[kind] = {str(old): str(new) for old, new in enumerate(order, start=1)}
    if not maps:
        return text
    return _ITEM.sub(lambda m: f"{m[1]} {maps[m[1]].get(m[2], m[2])}" if m[1] in maps else m[0], text)


def batches(
    episodes: Iterable[Trajectory], tokenizer: PreTrainedTokenizerBase, *, size: int, seed: int, shard: int = 256
) -> Iterator[Batch]:
    """Batches of episodes of similar length, in random order within shards of `shard` batches.

    Episodes that do not fit the models' context are never cut; they cannot occur in games of ALFWorld's size and
    are refused.

    Raises:
        ValueError: an episode is longer than the context.
    """
    rng = Random(f"batches:{seed}")
    stream = (encode(episode, tokenizer, rng) for episode in episodes)
    while True:
        examples = sorted(islice(stream, size * shard), key=lambda example: len(example.ids))
        if len(examples) < size:
            return
        if len(examples[-1].ids) > CONTEXT_LENGTH:
            raise ValueError(f"an episode has {len(examples[-1].ids)} tokens, the models take {CONTEXT_LENGTH}")
        groups = [examples[i : i + size] for i in range(0, len(examples) - size + 1, size)]
        rng.shuffle(groups)
        yield from map(_pad, groups)


def _pad(examples: Sequence[Example]) -> Batch:
    width = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    target = torch.zeros(len(examples), width, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        target[row, : len(example.ids)] = torch.tensor(example.target)
    return Batch(ids, target)
