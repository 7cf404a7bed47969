"""Rows become micro-batches of similar length under a token budget: deterministic, right-padded, padding reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agentdistill.learner.batch import LearnerBatch, TokenSet
from agentdistill.learner.prefixes import families


@dataclass(frozen=True, slots=True)
class Picked:
    """Trained tokens of one branch inside a micro-batch.

    Attributes:
        index: int64 [n], into the branch's `TokenSet`.
        line: int64 [n], row of the micro-batch.
        source: int64 [n], position whose hidden state predicts the token (one before it).
    """

    index: Tensor
    line: Tensor
    source: Tensor

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward pass.

    Attributes:
        rows: indices into `LearnerBatch.rows`.
        input_ids: int64 [R, L], right-padded with -1.
        tokens: tokens that are not padding.
        distill: where the distilled tokens are.
        imitate: where the imitated tokens are.
    """

    rows: list[int]
    input_ids: Tensor
    tokens: int
    distill: Picked
    imitate: Picked


def plan_groups(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Groups rows so that the longest row times the number of rows stays within a budget.

    Args:
        lengths: tokens of each row.
        budget: most tokens of a group, padding included; a longer row goes alone.

    Returns:
        Groups of indices, longest rows first; ties keep their order. Every row is in exactly one group.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    groups: list[list[int]] = []
    for index in order:
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def plan_passes(rows: Sequence[Tensor], budget: int, packs: bool) -> list[list[int]]:
    """Groups rows into forward passes.

    Args:
        rows: int64 [length] each.
        budget: most tokens of a pass, padding included; a longer row goes alone.
        packs: the model feeds what the rows of a pass share only once: those that begin alike go together.

    Returns:
        Groups of indices; every row is in exactly one.
    """
    together = families(rows, budget) if packs else []
    taken = {index for group, _ in together for index in group}
    alone = [index for index in range(len(rows)) if index not in taken]
    groups = [[alone[i] for i in group] for group in plan_groups([len(rows[i]) for i in alone], budget)]
    for group in plan_groups([fed for _, fed in together], budget):
        groups.append([index for family in group for index in together[family][0]])
    return groups


def pad_rows(rows: Sequence[Tensor]) -> Tensor:
    """Right-pads int64 rows with -1, which is nobody's token, to [R, L]."""
    width = max(len(row) for row in rows)
    input_ids = torch.full((len(rows), width), -1)
    for line, row in enumerate(rows):
        input_ids[line, : len(row)] = row
    return input_ids


def micro_batches(batch: LearnerBatch, budget: int, packs: bool = False) -> list[MicroBatch]:
    """Cuts a batch into forward passes.

    Args:
        batch: the assembled batch.
        budget: most tokens of a pass, padding included.
        packs: see `plan_passes`.

    Returns:
        The passes; every trained token is in exactly one.
    """
    # The last trained token of a row is predicted, never fed.
    inputs = [torch.from_numpy(ref.token_ids[:-1].astype("int64")) for ref in batch.rows]
    groups = plan_passes(inputs, budget, packs)
    group_of = torch.zeros(len(inputs), dtype=torch.int64)
    line_of = torch.zeros(len(inputs), dtype=torch.int64)
    for number, group in enumerate(groups):
        group_of[group] = number
        line_of[group] = torch.arange(len(group))

    def pick(tokens: TokenSet, number: int) -> Picked:
        index = torch.nonzero(group_of[tokens.row] == number).flatten()
        return Picked(index, line_of[tokens.row[index]], tokens.position[index] - 1)

    made = []
    for number, group in enumerate(groups):
        rows = [inputs[i] for i in group]
        tokens = sum(len(row) for row in rows)
        made.append(MicroBatch(group, pad_rows(rows), tokens, pick(batch.distill, number), pick(batch.imitate, number)))
    return made


def padding_share(batches: Sequence[MicroBatch]) -> float:
    """Fraction of the fed tokens that is padding."""
    total = sum(m.input_ids.numel() for m in batches)
    return 1.0 - sum(m.tokens for m in batches) / total if total else 0.0


def teacher_states(batch: LearnerBatch, picked: Picked) -> Tensor:
    """The teacher's hidden states that predict the distilled tokens of a pass, [n, Dt]."""
    rows, counts = torch.unique_consecutive(batch.distill.row[picked.index], return_counts=True)
    positions = batch.distill.position[picked.index].split(counts.tolist())
    states = [batch.rows[r].hidden[p] for r, p in zip(rows.tolist(), positions, strict=True)]
    return torch.cat([torch.as_tensor(part) for part in states])
