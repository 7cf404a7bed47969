"""How worker processes are supervised."""

from __future__ import annotations

from dataclasses import dataclass

from agentdistill.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How worker processes are supervised.

    Attributes:
        count: processes. Environments are spread over them; those of one process wait for each other.
        step_seconds: longest step.
        reset_seconds: longest start of a process, and longest reset (making the environment included). A replay may
            take this long and `step_seconds` for each action more.
        heartbeat_seconds: a process that works for an episode and shows no sign of life for this long is killed, even
            if its deadline is further away (stopped, swapped out, or holding the interpreter's lock).
        retries: how often one episode is tried again before it is given up.
        memory_mb: resident memory at which a process ends itself, in MiB; None is no limit.
        spares: processes kept ready to take a dead one's place at once.
    """

    count: int = 1
    step_seconds: float = 60.0
    reset_seconds: float = 300.0
    heartbeat_seconds: float = 30.0
    retries: int = 3
    memory_mb: int | None = None
    spares: int = 1

    def __post_init__(self) -> None:
        positive = (self.count, self.step_seconds, self.reset_seconds, self.heartbeat_seconds, self.memory_mb or 1)
        if min(positive) <= 0 or min(self.retries, self.spares) < 0:
            raise ConfigError(
                f"Environments cannot be supervised with {self}.",
                "Counts, seconds and memory must be positive, `retries` and `spares` not negative.",
                "Correct [env.workers].",
            )
