"""How far the student has been from each of several teachers lately, and whose word its scores were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill_teachers.mixing import Float64


class RecentLoss:
    """Smoothed means of log pi_old - log pi_j over the student's tokens.

    Args:
        members: how many, J.
        smoothing: share of the past.

    Attributes:
        loss: float64 [J], nats; None before the first step.
    """

    def __init__(self, members: int, smoothing: float) -> None:
        self._smoothing = smoothing
        self._sum, self._count = np.zeros(members), 0
        self.loss: Float64 | None = None

    def add(self, behaviour: Float64, teachers: npt.NDArray[np.float32]) -> None:
        """Takes in tokens of a row, as far as every member has an opinion: all are compared on the same ones.

        Args:
            behaviour: [n], log-probabilities they were sampled with.
            teachers: [J, n].
        """
        known = np.isfinite(teachers).all(0) & np.isfinite(behaviour)
        self._sum += (behaviour[known] - teachers[:, known].astype(np.float64)).sum(1)
        self._count += int(known.sum())

    def step(self) -> None:
        """What came in since the last call becomes part of the recent loss."""
        if self._count:
            now = self._sum / self._count
            past = self._smoothing
            self.loss = now if self.loss is None else past * self.loss + (1.0 - past) * now
        self._sum, self._count = np.zeros_like(self._sum), 0

    def weights(self, given: Float64, temperature: float) -> Float64:
        """float64 [J], `given` times softmax(-loss / temperature), adding up to 1."""
        if self.loss is None:
            return given
        raw = np.log(given) - self.loss / temperature
        weights: Float64 = np.exp(raw - raw.max())
        return weights / weights.sum()

    def state(self, names: Sequence[str]) -> dict[str, float]:
        """The recent losses by name; empty before the first step."""
        return {} if self.loss is None else {name: float(x) for name, x in zip(names, self.loss, strict=True)}

    def restore(self, state: Mapping[str, Any], names: Sequence[str]) -> None:
        """Restores `state`; what came in after it is forgotten."""
        self.loss = np.array([float(state[name]) for name in names]) if state else None
        self._sum, self._count = np.zeros_like(self._sum), 0


class Tally:
    """Parts of the members in the scores of the student's tokens, since they were last told.

    Args:
        names: of the members.

    Attributes:
        short: sum over the tokens of how much the top k may fall short.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.short = 0.0
        self._parts, self._tokens = np.zeros(len(names)), 0

    def add(self, shares: Float64) -> None:
        """Takes in parts [J, n] of n tokens."""
        self._parts += shares.sum(1)
        self._tokens += shares.shape[1]

    def news(self, short: bool) -> dict[str, float]:
        """Means over the tokens since the last call.

        Args:
            short: with the shortfall of the top k.
        """
        found = {}
        if self._tokens:
            found = {f"part/{name}": float(p / self._tokens) for name, p in zip(self._names, self._parts, strict=True)}
            if short:
                found["short"] = self.short / self._tokens
        self.short = 0.0
        self._parts, self._tokens = np.zeros(len(self._names)), 0
        return found
