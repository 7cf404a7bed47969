"""How the teacher's signal and the rewards' are joined: scales per batch, factors per token.

The learner computes A = s_rl W_rl A_rl + s_kd W_kd A_kd for losses that are advantages, and s_kd L_kd + s_rl L_rl for
losses that are differentiated. A fusion gives the scales s and, where a method wants it, factors of the weights W.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics


@dataclass(frozen=True, slots=True)
class Scales:
    """Factors of the two branches in one batch; a branch at 0 is not computed.

    Attributes:
        kd: of what the teacher says.
        rl: of what the rewards say.
    """

    kd: float = 1.0
    rl: float = 1.0


@runtime_checkable
class Fusion(Protocol):
    """Registered as a class, constructed with its config; `FusionBase` answers all but `scales`."""

    @property
    def needs(self) -> frozenset[str]:
        """Statistics it looks at, as in `agentdistill.learner.statistics.requires`."""
        ...

    def scales(self, progress: LearnerProgress) -> Scales:
        """The scales of the next batch; finite, at least 0."""
        ...

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """Factors by branch, float32 [N], finite and at least 0; None is 1 everywhere."""
        ...

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Sees the metrics of each finished step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        ...


class FusionBase:
    """Both branches count fully, always; without state."""

    needs: frozenset[str] = frozenset()

    def scales(self, progress: LearnerProgress) -> Scales:
        """1 and 1."""
        return Scales()

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """None: 1 everywhere."""
        return None

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Nothing to see."""

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
