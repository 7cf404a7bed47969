"""The checks of the self-test, in order, each with its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentdistill.selftest.material import Material
    from agentdistill.training.assembly import Parts


@dataclass
class SelfTest:
    """The checks of one run; what several of them need is made once.

    Attributes:
        parts: the assembled run.
    """

    parts: Parts

    @cached_property
    def material(self) -> Material:
        """Episodes and scores to try the learner on."""
        from agentdistill.selftest.material import Material

        return Material(self.parts)

    def mask(self) -> str:
        """Exactly the tokens that were sampled are trained, whoever wrote the rest."""
        from agentdistill.selftest.mask import check_mask

        return check_mask(self.parts)

    def teacher_is_student(self) -> str:
        """With the student as its own teacher, loss and gradient are zero."""
        from agentdistill.selftest.gradients import check_teacher_is_student

        return check_teacher_is_student(self.material)

    def micro_batches(self) -> str:
        """One pass over a batch and one pass for each row give the same gradient."""
        from agentdistill.selftest.gradients import check_micro_batches

        return check_micro_batches(self.material)

    def replay(self) -> str:
        """Playing the same actions again shows the same."""
        from agentdistill.selftest.replays import check_replay

        return check_replay(self.parts)

    def resume(self) -> str:
        """What is restored from a checkpoint plans, weighs and learns as what wrote it."""
        from agentdistill.selftest.schedules import check_resume

        return check_resume(self.material)


CHECKS: dict[str, Callable[[SelfTest], str]] = {
    "mask": SelfTest.mask,
    "zero": SelfTest.teacher_is_student,
    "passes": SelfTest.micro_batches,
    "replay": SelfTest.replay,
    "resume": SelfTest.resume,
}
"""Every check by name; its docstring is what it checks. It returns what it saw and raises what is wrong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check that held.

    Attributes:
        name: a key of `CHECKS`.
        detail: what was seen.
        seconds: how long it took.
    """

    name: str
    detail: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name:<8} {self.detail} ({self.seconds:.1f} s)"


def self_test(test: SelfTest) -> Iterator[Outcome]:
    """Makes the checks one after the other.

    Args:
        test: the checks of an assembled run; the student's weights are left as they are.

    Yields:
        Each check that holds, as soon as it is known.

    Raises:
        AgentDistillError: the first check that does not hold, in one paragraph.
    """
    for name, check in CHECKS.items():
        began = time.perf_counter()
        detail = check(test)
        yield Outcome(name, detail, time.perf_counter() - began)
