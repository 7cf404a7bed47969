"""Bounds on what each domain, or each of several teachers, may have of a batch (arXiv 2608.19098).

With teachers for several domains the one whose domain writes most tokens decides what is learned: long tasks, or a
teacher that is routed many turns. The filter leaves out turns of the domains that have too much:

    share(d) <= at_most[d]  and  share(d) >= at_least[d],   share(d) = trained tokens of d / all trained tokens kept

It keeps as many tokens as the bounds allow: the largest N with n_d >= at_least[d] N for the domains that need much, and
sum_d min(n_d, at_most[d] N) >= N; then every domain gives in proportion to what it has, inside its bounds. Whole turns
are kept or left out, in an order drawn from the task, sample, turn and step alone, so that shares are met to within a
turn.

A domain is the environment (`by = "env"`), the type of the task ("type"), or the teacher that scored most tokens of the
turn ("teacher": members of the teachers `route` and `mixture`, by name). Only turns of the student with a score count;
imitated turns are kept.

Bounds that a batch cannot meet (a domain that must have its part is absent, or the others may not have the rest) stop
the run with advice; `unmet = "keep"` trains such a batch as it is, "drop" leaves it out.

Only the finding is the paper's: the token budget decides which domain is learned. The filter is ours; since it leaves
out turns, every loss and reduction works with it unchanged.

Defaults: by teacher; no bounds, which leaves everything as it is. Proofs: tests/filters/test_quota.py (shares against
the bounds over random batches, as much as possible is kept, turns are chosen the same every time, unmet bounds).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from agentdistill.errors import TrainingError
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.bounds import tokens_within
from agentdistill_filters.keep import Keep, everything, own

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class QuotaConfig(PluginConfig):
    """The bounds.

    Attributes:
        by: what a domain is: the "teacher" that scored a turn, the environment ("env"), or the "type" of the task.
        at_most: largest share of the trained tokens by domain.
        at_least: smallest share by domain.
        unmet: what becomes of a batch that cannot meet the bounds: "stop" ends the run, "keep" trains it as it is,
            "drop" leaves it out.
    """

    by: Literal["teacher", "env", "type"] = "teacher"
    at_most: dict[str, Share] = Field(default_factory=dict)
    at_least: dict[str, Share] = Field(default_factory=dict)
    unmet: Literal["stop", "keep", "drop"] = "stop"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if sum(self.at_least.values()) > 1.0:
            raise ValueError("the shares of at_least add up to more than 1")
        for name in self.at_least:
            if self.at_least[name] > self.at_most.get(name, 1.0):
                raise ValueError(f"at_least.{name} is larger than at_most.{name}")
        return self


def quota(batch: ScoredBatch, config: QuotaConfig) -> Keep:
    """Which turns are kept, see the module.

    Raises:
        TrainingError: nothing was scored, or the bounds cannot be met.
    """
    kept = everything(batch)
    if not config.at_most and not config.at_least:
        return kept
    turns = [turn for number, t in enumerate(batch.trajectories) for turn in _turns(batch, config, number, t)]
    for number, place, _, _ in turns:
        kept[number][place] = False
    sizes: dict[str, int] = {}
    for _, _, domain, tokens in turns:
        sizes[domain] = sizes.get(domain, 0) + tokens
    room = tokens_within(sizes, config.at_least, config.at_most)
    if room is None and config.unmet == "stop":
        have = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items())) or "none"
        raise TrainingError(
            f"The batch of step {batch.step} cannot meet its quotas.",
            f"Its trained tokens by domain: {have}; wanted at most {config.at_most}, at least {config.at_least}.",
            'Play more tasks a step (rollout.tasks_per_step), widen the bounds, or set unmet = "keep" or "drop".',
        )
    if room is None:
        room = dict(sizes) if config.unmet == "keep" else {}
    for number, place, domain, tokens in sorted(turns, key=lambda turn: _order(batch, turn[0], turn[1])):
        if tokens <= room.get(domain, 0):
            room[domain] -= tokens
            kept[number][place] = True
    return kept


quota.needs = lambda config: frozenset({"scores"} if config.at_most or config.at_least else ())  # type: ignore[attr-defined]


def _turns(
    batch: ScoredBatch, config: QuotaConfig, number: int, trajectory: Trajectory
) -> list[tuple[int, int, str, int]]:
    """(episode, place, domain, tokens) of the student's turns with a score."""
    if batch.scores is None:
        raise TrainingError('The filter "quota" counts scored tokens, and nothing was scored.', "", "Add a [teacher].")
    found = []
    for place in own(trajectory):
        step = trajectory.steps[place]
        if step.row < 0:
            continue
        row, opinion = trajectory.rows[step.row], batch.scores[number][step.row]
        usable = (row.step_of_token == step.index) & row.mask & opinion.valid
        tokens = int(usable.sum())
        if not tokens:
            continue
        domain = trajectory.task.env if config.by == "env" else trajectory.task.type
        if config.by == "teacher":
            votes = opinion.source[usable] if opinion.source is not None else np.zeros(0, dtype=np.int16)
            votes = votes[votes >= 0]
            place_of = int(np.bincount(votes).argmax()) if len(votes) else -1
            domain = batch.members[place_of] if 0 <= place_of < len(batch.members) else "unknown"
        found.append((number, place, domain, tokens))
    return found


def _order(batch: ScoredBatch, number: int, place: int) -> str:
    trajectory = batch.trajectories[number]
    task = trajectory.task
    return digest([task.env, task.split, task.key, trajectory.sample, trajectory.steps[place].index, batch.step])
