"""The environment contract: a source of tasks, and Gymnasium text environments that play them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from agentdistill.records import Task

if TYPE_CHECKING:
    import gymnasium

    TextEnv = gymnasium.Env[str, str]

INFO_KEYS = {
    "admissible_actions": "list of str: commands the environment accepts now (empty when it cannot tell)",
    "won": "bool: the environment's own verdict",
    "score": "float: score so far, in the environment's units",
    "task": "str: the goal in words",
    "valid": "bool: the last action was accepted (True after reset)",
    "expert_action": 'str or None: only when asked for with options={"expert": True}',
}
"""Keys of the `info` dict of `reset` and `step`."""


class EnvironmentSource(Protocol):
    """What an environment plugin registers: constructed with its validated config.

    The environments it makes take `reset(seed=..., options={"task": Task | key, "expert": bool})`; without a
    task they draw one from the configured split with `self.np_random`.
    """

    @property
    def name(self) -> str:
        """The plugin's name."""
        ...

    def tasks(self, split: str) -> Sequence[Task]:
        """All tasks of a split in their fixed order.

        Raises:
            DataError: the split is unknown or its data is missing.
        """
        ...

    def make(self) -> TextEnv:
        """Makes one environment, to be used by one process at a time."""
        ...

    def provenance(self) -> Mapping[str, Any]:
        """What a result needs to say about this environment: engine, dialect, data hash, versions."""
        ...
