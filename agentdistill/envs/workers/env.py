"""An environment that lives in a worker process, seen from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium

from agentdistill.envs.replay import Record, admissible_hash
from agentdistill.envs.spaces import Utf8Text
from agentdistill.envs.workers.calls import Call, Reply, ResetCall, Seat, StepCall
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.workers.pool import WorkerPool
    from agentdistill.envs.workers.process import WorkerProcess


class WorkerEnv(gymnasium.Env[str, str], Seat):
    """Plays as the environment itself would, with `reset` and `step`, or as a `Seat` without waiting.

    It remembers what the episode did and saw, so that a fresh process can take the episode up where a dead one left
    it. Made by a pool.

    Args:
        pool: the pool that serves it.

    Attributes:
        home: the process it lives in now.
        slot: its number there.
        call: the call that is not settled yet.
        tries: how often its episode was tried again.
        keeps: what must live as long as this, for its owner.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, pool: WorkerPool) -> None:
        self.action_space = Utf8Text()
        self.observation_space = Utf8Text()
        self.home: WorkerProcess | None = None
        self.slot = 0
        self.call: Call | None = None
        self.tries = 0
        self.keeps: Any = None
        self._pool = pool
        self._outcome: Reply | Exception = ()
        self._reset = ResetCall()
        self._actions: list[str] = []
        self._replies: list[Reply] = []

    def begin(self, call: Call) -> None:
        """Begins a call.

        Raises:
            RuntimeError: the last one is not settled.
        """
        if self.call is not None:
            raise RuntimeError("the environment still works on the call before")
        if isinstance(call, ResetCall):
            self._reset, self._actions, self._replies, self.tries = call, [], [], 0
        self.call = call
        self._pool.submit(self)

    @property
    def settled(self) -> bool:
        """Whether there is an outcome."""
        return self.call is None

    def outcome(self) -> Reply:
        """The last call's reply, or what was raised instead.

        Raises:
            EnvironmentFailure: the process died or hung on this episode again and again, or a replay diverged.
            AgentDistillError: what the environment raised.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def wait(self, seconds: float | None) -> None:
        """Waits until an environment of the pool settles, at most that long."""
        self._pool.wait(seconds)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode; options and errors as the environment has them."""
        super().reset(seed=seed)
        return self._now(ResetCall(seed, dict(options or {})))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Sends a command; errors as the environment has them."""
        return self._now(StepCall(action))

    def _now(self, call: Call) -> Reply:
        self.begin(call)
        while not self.settled:
            self.wait(None)
        return self.outcome()

    def close(self) -> None:
        """Gives the environment back to its pool; one that failed or is still at work is not used again."""
        self._pool.take_back(self)

    @property
    def failed(self) -> bool:
        """Whether the last call ended with an exception."""
        return isinstance(self._outcome, Exception)

    @property
    def started(self) -> bool:
        """Whether the episode's first observation is there: the current call is not a reset."""
        return isinstance(self.call, StepCall)

    @property
    def place(self) -> str:
        """Where in which episode the current call is."""
        task = self._reset.options.get("task")
        key = getattr(task, "key", task)
        what = "reset" if self.call is None or isinstance(self.call, ResetCall) else f"step {len(self._actions)}"
        return f"{what} of {key!r}" if key is not None else what

    def settle(self, outcome: Reply | Exception) -> None:
        """Ends the call; for the pool."""
        if isinstance(self.call, StepCall):
            self._actions.append(self.call.action)
        if not isinstance(outcome, Exception):
            self._replies.append(outcome)
        self.call, self._outcome = None, outcome

    def past(self) -> tuple[Record, dict[str, Any]]:
        """What a fresh process must replay before the current step, and the options of its reset; for the pool."""
        options = self._reset.options
        task = options.get("task")
        infos = [reply[-1] for reply in self._replies]
        told = all("admissible_actions" in info for info in infos)
        recorded = Record(
            task if isinstance(task, Task) else Task("", "", str(task)),  # named in errors only: options say which
            self._reset.seed,
            tuple(self._actions),
            tuple(reply[0] for reply in self._replies),
            tuple(admissible_hash(info["admissible_actions"]) for info in infos) if told else (),
        )
        return recorded, dict(options)
