"""TurnOPD's depth (arXiv 2607.05804): rollouts as deep as the divergence lies and as success needs, measured by probes.

Every few steps the whole batch is played to its end. These probes, and nothing else, say at which turn the divergence
between student and teacher has its centre and how deep successful episodes go; until the next probe, episodes are cut
at the larger of the two.

Formula, with zero-based turns t: K_t the mean reverse KL per token at turn t, n_t the probes still alive there,
m_t = max(K_t, 0) n_t / n_0, q_t = m_t / sum m, H_eff = round(sum_t t q_t); H_cov the p-quantile of the index of the
last turn of successful probes, refreshed once there are enough of them; H = max(H_eff, H_cov), Hbar <- (1 - a) Hbar +
a H, and the depth is clip(round(Hbar) + 1, minimum, maximum).

Defaults (the paper's): p = 0.8, 8 successes, a = 0.3, 3 steps of warm-up, a probe every 8 steps, minimum 2.

Differences: the paper's K_t is the KL of full distributions; here it is the mean of log pi_old - log pi_T over the
sampled tokens, the same in expectation where the student samples at temperature 1, averaged over all probes' tokens.
Successes are collected over probes until there are 8, then the quantile is refreshed and they are forgotten; before the
first refresh H = H_eff. Probes are trained on like any episode (the paper does not say). A batch without divergence
says nothing about H_eff. The progressive loss is the step weight of that name, not this.

Proof tests: tests/curricula/test_turnopd.py (formula against a naive one, cut episodes never count, depth does not
ratchet down, resume).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, StopReason, Task, TeacherScores, Trajectory
from agentdistill.training.curriculum import CurriculumBase, Progress, turn_scores


class TurnOpdConfig(PluginConfig):
    """When to probe, and how depth follows.

    Attributes:
        warmup: first steps, all of them probes.
        every: a probe every so many steps.
        quantile: share of the successful probes whose depth is covered (the paper's p).
        successes: successful probes that a quantile needs.
        rate: weight of a new measurement in the running mean (the paper's alpha).
        minimum: smallest depth, in turns.
        maximum: largest depth; None is the episode's step limit.
    """

    warmup: int = Field(default=3, ge=1)
    every: int = Field(default=8, ge=1)
    quantile: float = Field(default=0.8, gt=0.0, le=1.0)
    successes: int = Field(default=8, ge=1)
    rate: float = Field(default=0.3, gt=0.0, le=1.0)
    minimum: int = Field(default=2, ge=1)
    maximum: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> TurnOpdConfig:
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum = {self.maximum} is below minimum = {self.minimum}")
        return self


def rounded(value: float) -> int:
    """To the nearest integer, halves up."""
    return math.floor(value + 0.5)


def effective_turn(kl: Sequence[float], alive: Sequence[int]) -> int | None:
    """H_eff from K_t and n_t; None when no turn has a positive KL."""
    mass = [max(k, 0.0) * n / alive[0] for k, n in zip(kl, alive, strict=True)]
    total = math.fsum(mass)
    return rounded(math.fsum(t * m for t, m in enumerate(mass)) / total) if total > 0 else None


WHOLE = frozenset({StopReason.SUCCESS, StopReason.FAILURE, StopReason.ENV_LIMIT})
"""Ends of an episode that tell how long it was; a cut, or a context that was full, only tells that it was longer."""


def is_probe(trajectory: Trajectory) -> bool:
    """Whether an episode was planned as a probe and nobody but its environment ended it."""
    return bool(trajectory.plan.note.get("probe")) and trajectory.stop in WHOLE


class TurnOpd(CurriculumBase):
    """Measures on probes, cuts in between."""

    def __init__(self, config: TurnOpdConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.mean: float | None = None
        self.covered: int | None = None
        self.depths: list[int] = []

    def depth(self, progress: Progress) -> int:
        """The depth of episodes that are no probes, in turns; the step limit before anything was measured."""
        limit = min(self.config.maximum or progress.max_steps, progress.max_steps)
        return limit if self.mean is None else max(min(rounded(self.mean) + 1, limit), min(self.config.minimum, limit))

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """A probe, or an episode cut at the depth."""
        depth = self.depth(progress)
        probe = progress.step < self.config.warmup or progress.step % self.config.every == 0
        horizon = None if probe or depth >= progress.max_steps else depth
        return EpisodePlan(horizon=horizon, note={"depth": float(depth), "probe": float(probe)})

    def observe_episodes(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None
    ) -> None:
        """Updates the depth from the probes among the episodes."""
        pairs = [(t, s) for t, s in zip(trajectories, scores or (), strict=False) if is_probe(t)]
        if not pairs:
            return
        turns = max(len(t.steps) for t, _ in pairs)
        alive = [sum(len(t.steps) > turn for t, _ in pairs) for turn in range(turns)]
        sums, tokens = np.zeros(turns), np.zeros(turns)
        for trajectory, opinions in pairs:
            for score in turn_scores(trajectory, opinions):
                sums[score.turn] += score.kl * score.tokens
                tokens[score.turn] += score.tokens
        kl = np.divide(sums, tokens, out=np.zeros(turns), where=tokens > 0)
        self.depths += [len(t.steps) - 1 for t, _ in pairs if t.success]
        if len(self.depths) >= self.config.successes:
            self.covered = int(np.quantile(self.depths, self.config.quantile, method="inverted_cdf"))
            self.depths = []
        known = [
            turn for turn in (effective_turn(kl.tolist(), alive) if turns else None, self.covered) if turn is not None
        ]
        if known:
            rate = self.config.rate
            self.mean = float(max(known)) if self.mean is None else (1 - rate) * self.mean + rate * max(known)

    def state_dict(self) -> dict[str, Any]:
        """What was measured."""
        return {"mean": self.mean, "covered": self.covered, "depths": list(self.depths)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores it."""
        self.mean, self.covered, self.depths = state["mean"], state["covered"], list(state["depths"])
