"""Which tasks a step plays: a pure function of the seed and the step, so that resuming needs no cursor of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from agentdistill.records import Task


def shuffled_order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of `range(count)` that depends on the seed and the epoch alone."""
    order = list(range(count))
    random.Random(f"order/{seed}/{epoch}").shuffle(order)
    return order


def indices_of_step(count: int, per_step: int, step: int, seed: int) -> list[int]:
    """Indices of a step's items when every epoch visits each of `count` items once, in a fresh order.

    Args:
        count: number of items.
        per_step: items in one step; a step may straddle two epochs.
        step: index of the step, from 0.
        seed: seed of the run.
    """
    orders: dict[int, list[int]] = {}
    indices = []
    for position in range(step * per_step, (step + 1) * per_step):
        epoch, offset = divmod(position, count)
        if epoch not in orders:
            orders[epoch] = shuffled_order(count, seed, epoch)
        indices.append(orders[epoch][offset])
    return indices


def episode_seed(seed: int, step: int, slot: int, sample: int) -> int:
    """Seed of one episode's sampling, distinct for each (step, slot, sample) of a run."""
    return random.Random(f"episode/{seed}/{step}/{slot}/{sample}").getrandbits(62)


def tasks_of_step(tasks: Sequence[Task], per_step: int, step: int, seed: int) -> Iterator[tuple[int, Task]]:
    """Yields (slot, task) of a step."""
    for slot, index in enumerate(indices_of_step(len(tasks), per_step, step, seed)):
        yield slot, tasks[index]
