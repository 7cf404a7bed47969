"""What an episode asks of its environment, as data: the same whether the environment is here or in a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

Reply = tuple[Any, ...]
"""What `reset` (observation, info) or `step` (observation, reward, terminated, truncated, info) returned."""


@dataclass(frozen=True, slots=True)
class ResetCall:
    """A call of `reset`.

    Attributes:
        seed: its seed.
        options: its options, "task" and "expert".
    """

    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepCall:
    """A call of `step`.

    Attributes:
        action: the command.
    """

    action: str


Call = ResetCall | StepCall


def perform(env: TextEnv, call: Call) -> Reply:
    """Does a call now, in this process."""
    if isinstance(call, ResetCall):
        return env.reset(seed=call.seed, options=dict(call.options))
    return env.step(call.action)


class Seat(ABC):
    """An environment that answers later: begin a call, wait until it is settled, take its outcome."""

    @abstractmethod
    def begin(self, call: Call) -> None:
        """Begins a call; the one before is settled and its outcome taken."""

    @property
    @abstractmethod
    def settled(self) -> bool:
        """Whether the outcome of the call can be taken without waiting."""

    @abstractmethod
    def outcome(self) -> Reply:
        """The reply of the settled call; raises what the environment raised."""

    @abstractmethod
    def wait(self, seconds: float | None) -> None:
        """Waits until this or another environment of the same pool settles, at most that long; None is for ever."""

    @abstractmethod
    def close(self) -> None:
        """Gives the environment up."""


class LocalSeat(Seat):
    """An environment of this process: every call is settled when it has begun.

    Args:
        env: the environment.
    """

    def __init__(self, env: TextEnv) -> None:
        self.env = env
        self._reply: Reply | Exception = ()

    def begin(self, call: Call) -> None:
        """Does the call."""
        try:
            self._reply = perform(self.env, call)
        except Exception as error:  # handed to whoever takes the outcome
            self._reply = error

    @property
    def settled(self) -> bool:
        """Always."""
        return True

    def outcome(self) -> Reply:
        """The reply, or what was raised."""
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply

    def wait(self, seconds: float | None) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def seat_of(env: TextEnv) -> Seat:
    """The environment itself if it can answer later, otherwise a seat around it."""
    return env if isinstance(env, Seat) else LocalSeat(env)
