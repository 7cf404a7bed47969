"""A pool of worker processes: who plays where, what is overdue, who died, and the same work tried again."""

from __future__ import annotations

import os
import pickle
import selectors
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from agentdistill import errors
from agentdistill.envs.workers.env import WorkerEnv
from agentdistill.envs.workers.janitor import Janitor
from agentdistill.envs.workers.process import WorkerProcess
from agentdistill.envs.workers.wire import Failure
from agentdistill.errors import AgentDistillError, ConfigError, DataError, EnvironmentFailure, PluginError

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.envs.workers.settings import WorkerSettings

_FINAL = ("ConfigError", "MissingExtraError", "PluginError", DataError.__name__)
"""Failures that trying again cannot mend."""
_LOOK_SECONDS = 0.25
_FALSE_STARTS = 5


class WorkerPool:
    """Worker processes for one environment source. They start when they are first needed.

    Args:
        source: the environment; it is pickled once.
        settings: how to supervise.

    Attributes:
        counts: what happened: "died" (processes), "raised" (exceptions), "tried again" and "given up" (episodes).

    Raises:
        ConfigError: the source cannot be sent to another process.
    """

    def __init__(self, source: EnvironmentSource, settings: WorkerSettings) -> None:
        self._settings = settings
        self._source = _pickled(source)
        self._janitor = Janitor()
        self._owner = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._processes: list[WorkerProcess] = []
        self._spares: list[WorkerProcess] = []
        self._started = 0
        self._slots = 0
        self._false_starts = 0
        self._looked = time.monotonic()
        self._settled = False
        self._idle: list[WorkerEnv] = []
        self.counts: Counter[str] = Counter()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that play, without spares."""
        return [process.pid for process in self._processes]

    @property
    def spares_ready(self) -> bool:
        """Whether all spares are up, or there are none."""
        ready = [process for process in self._spares if process.ready]
        return len(ready) >= self._settings.spares

    def make(self) -> WorkerEnv:
        """An environment: one that was given back, or a new one."""
        return self._idle.pop() if self._idle else WorkerEnv(self)

    def take_back(self, env: WorkerEnv) -> None:
        """Keeps an environment for later; one that failed or is at work is closed in its process."""
        if env.call is None and not env.failed:
            env.keeps = None
            if env not in self._idle:
                self._idle.append(env)
            return
        env.call = None
        self._leave(env)

    def submit(self, env: WorkerEnv) -> None:
        """Sends an environment's call to its process, or to another one if it has none."""
        home, settings = env.home, self._settings
        if home is None:
            home = self._place(env)
            if env.started:
                recorded, options = env.past()
                seconds = settings.reset_seconds + settings.step_seconds * len(recorded.actions)
                home.give(env, env.slot, (recorded, options), seconds)
        home.give(env, env.slot, env.call, settings.step_seconds if env.started else settings.reset_seconds)
        self._listen(home)

    def wait(self, seconds: float | None) -> None:
        """Waits until an environment settles, at most that long.

        Raises:
            PluginError: processes cannot set the environment up.
        """
        until = None if seconds is None else time.monotonic() + seconds
        self._settled = False
        while True:
            now = time.monotonic()
            left = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, max(0.0, until - now))
            for key, mask in self._selector.select(left):
                if mask & selectors.EVENT_WRITE:
                    key.data.channel.flush()
                self._read(key.data)
            now = time.monotonic()
            if now - self._looked > _LOOK_SECONDS:
                self._look()
                self._looked = now
            if self._settled or (until is not None and now >= until):
                return

    def close(self) -> None:
        """Ends every process, each with what it started, and removes their folder. Closing twice is allowed."""
        if os.getpid() != self._owner or self._selector.get_map() is None:
            return  # a fork of the owner must leave the workers alone
        everyone = [*self._processes, *self._spares]
        deadlines = [(process, process.hang_up()) for process in everyone]
        for process, until in deadlines:
            process.retire(until)
        self._processes, self._spares, self._idle = [], [], []
        self._selector.close()
        self._janitor.close()

    def _start(self) -> WorkerProcess:
        settings = self._settings
        process = WorkerProcess(self._janitor, self._started, self._source, settings.reset_seconds, settings.memory_mb)
        self._started += 1
        self._selector.register(process.channel, selectors.EVENT_READ, process)
        self._listen(process)
        return process

    def _place(self, env: WorkerEnv) -> WorkerProcess:
        if len(self._processes) < self._settings.count:
            self._processes.append(self._spares.pop(0) if self._spares else self._start())
            home = self._processes[-1]
        else:
            home = min(self._processes, key=lambda process: len(process.homes))
        home.homes.add(env)
        self._slots += 1
        env.home, env.slot = home, self._slots
        return home

    def _leave(self, env: WorkerEnv) -> None:
        """Takes an environment out of its process, which closes it."""
        home = env.home
        if home is None:
            return
        env.home = None
        home.homes.discard(env)
        for ticket in home.tickets:
            if ticket.env is env:
                ticket.env = None
        home.give(None, env.slot, None, self._settings.reset_seconds)
        self._listen(home)

    def _listen(self, process: WorkerProcess) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if process.channel.unsent else 0)
        if self._selector.get_key(process.channel).events != wanted:
            self._selector.modify(process.channel, wanted, process)

    def _read(self, process: WorkerProcess) -> None:
        try:
            messages = process.channel.messages()
        except Exception as error:  # whatever unpickling meets
            self._bury(process, f"sent what cannot be read ({type(error).__name__}: {error})")
            return
        for number, answer in messages:
            if not process.tickets or process.tickets[0].number != number:
                self._bury(process, "sent what it was not asked for")
                return
            ticket = process.answered()
            if number == 0:
                self._is_up(process, answer)
            elif ticket.env is not None:
                self._answer(ticket.env, answer)
        if process.channel.closed:
            self._bury(process, "ended")
        else:
            self._listen(process)

    def _is_up(self, process: WorkerProcess, answer: Any) -> None:
        if isinstance(answer, Failure):
            self._remove(process)
            raise PluginError(
                "A worker process cannot set the environment up.",
                f"{answer.kind}: {answer.what} {answer.why}".strip(),
                answer.do or "Define the source in an importable module, or set `env.workers.count = 0`.",
            )
        process.ready = True
        self._false_starts = 0

    def _answer(self, env: WorkerEnv, answer: Any) -> None:
        if answer is None:
            return  # its past is replayed; the answer to its call follows
        if not isinstance(answer, Failure):
            env.settle(answer)
            self._settled = True
            return
        self.counts["raised"] += 1
        self._leave(env)
        self._again(env, _rebuilt(answer), final=answer.ours and answer.kind in _FINAL)

    def _again(self, env: WorkerEnv, error: Exception, final: bool) -> None:
        """Tries an environment's call again in a fresh environment, or gives its episode up."""
        if not final and env.tries < self._settings.retries:
            env.tries += 1
            self.counts["tried again"] += 1
            self.submit(env)
            return
        self.counts["given up"] += 1
        env.settle(error)
        self._settled = True

    def _look(self) -> None:
        for process in [*self._processes, *self._spares]:
            self._read(process)  # what it said in time counts, however late we read it
            if process in self._processes or process in self._spares:
                why = process.overdue(self._settings.heartbeat_seconds)
                if why:
                    self._bury(process, why)
        # Only now: a process that is needed at once starts faster without a spare beside it.
        if self._processes and all(process.ready for process in self._processes):
            while len(self._spares) < self._settings.spares:
                self._spares.append(self._start())

    def _bury(self, process: WorkerProcess, why: str) -> None:
        """Kills a process; whoever lived there goes on elsewhere, its first in line with one try less."""
        ended = self._remove(process)
        self.counts["died"] += 1
        if not process.ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                raise PluginError(
                    f"{_FALSE_STARTS} worker processes in a row did not start.",
                    f"The last one {why} ({ended}).",
                    "Set `env.workers.count = 0` to see the environment fail in this process.",
                )
        waiting = [ticket.env for ticket in process.tickets]
        first = waiting[0] if waiting else None
        for env in dict.fromkeys(env for env in waiting if env is not None):
            if env is first:
                error = EnvironmentFailure(
                    f"The environment's process {why} at {env.place} ({ended}).",
                    f"The episode was tried {env.tries + 1} times.",
                    "Play it alone to see why; deadlines, memory and tries are set in [env.workers].",
                )
                self._again(env, error, final=False)
            else:
                self.submit(env)

    def _remove(self, process: WorkerProcess) -> str:
        """Kills a process and forgets it; tells how it ended."""
        self._selector.unregister(process.channel)
        for group in (self._processes, self._spares):
            if process in group:
                group.remove(process)
        for env in list(process.homes):
            env.home = None
        return process.kill()


def _rebuilt(failure: Failure) -> Exception:
    """The exception that a failure tells of: one of ours as it was, any other as an `EnvironmentFailure`."""
    if failure.ours:
        kind = getattr(errors, failure.kind, EnvironmentFailure)
        if isinstance(kind, type) and issubclass(kind, AgentDistillError):
            return kind(failure.what, failure.why, failure.do)
    return EnvironmentFailure(f"{failure.kind}: {failure.what}".rstrip(": "), do="")


def _pickled(source: EnvironmentSource) -> bytes:
    try:
        data = pickle.dumps(source, protocol=5)
    except Exception as error:  # pickling may meet anything
        raise ConfigError(
            f"The environment `{source.name}` cannot be sent to worker processes.",
            f"{type(error).__name__}: {error}.",
            "Make its source picklable (`__reduce__` with its options), or set `env.workers.count = 0`.",
        ) from error
    return data
