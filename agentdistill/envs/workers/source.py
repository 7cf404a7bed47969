"""An environment source whose environments live in worker processes."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentdistill.envs.workers.pool import WorkerPool
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.envs.workers.env import WorkerEnv
    from agentdistill.envs.workers.settings import WorkerSettings


class SupervisedSource:
    """Wraps a source; everything but `make` is the wrapped source's.

    Processes start with the first environment and stay until `close`, the end of the program, or the end of this
    object. After `close`, the next environment starts new ones.

    Args:
        source: the source.
        settings: how to supervise.
    """

    def __init__(self, source: EnvironmentSource, settings: WorkerSettings) -> None:
        self.wrapped = source
        self.settings = settings
        self._pool: WorkerPool | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def __reduce__(self) -> tuple[type[SupervisedSource], tuple[EnvironmentSource, WorkerSettings]]:
        return SupervisedSource, (self.wrapped, self.settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.wrapped.name

    def tasks(self, split: str) -> Sequence[Task]:
        """All tasks of a split in their fixed order."""
        return self.wrapped.tasks(split)

    def provenance(self) -> Mapping[str, Any]:
        """The wrapped source's: where an environment runs does not change what it does."""
        return self.wrapped.provenance()

    @property
    def pool(self) -> WorkerPool:
        """The processes."""
        if self._pool is None:
            self._pool = WorkerPool(self.wrapped, self.settings)
            self._end = weakref.finalize(self, self._pool.close)
        return self._pool

    @property
    def counts(self) -> Counter[str]:
        """What happened to the processes so far (see `WorkerPool.counts`)."""
        return Counter() if self._pool is None else self._pool.counts

    def make(self) -> WorkerEnv:
        """Makes one environment in a worker process.

        Raises:
            ConfigError: the wrapped source cannot be pickled.
        """
        env = self.pool.make()
        env.keeps = self  # the processes end with us
        return env

    def close(self) -> None:
        """Ends the processes."""
        if self._end is not None:
            self._end()
        self._pool = self._end = None
