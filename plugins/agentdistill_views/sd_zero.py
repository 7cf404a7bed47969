"""SD-Zero's view (arXiv 2604.12002): the teacher has read the whole attempt, knows how it ended, and writes it anew.

    L = sum_t KL( pi(.|x, y_<t) || sg pi_T(.|x, y, P_r, y_<t) )

y is the very episode whose tokens are scored, P_r one of two control strings, chosen by the binary reward: one asks to
revise a failed attempt, the other to say a good one again. The teacher then scores the same tokens once more. What a
reviser would have written differently loses probability, what it would repeat keeps it.

A model does that only after training on revisions (the paper's first phase: imitation of x -> y and of x, y, P_r -> y'
with y' better than y); an untrained one copies y, and the view teaches it to be surer of whatever it did. The context
policy `viewed` is that phase; take what it trained as a `local` teacher, or expect little.

Defaults: revise failures, say successes again; actions without observations and thoughts. The paper's objective: top-k
64, half forward and half reverse KL, lr 5e-6. Instance-level: the plan warns.
Differs from the paper: an attempt is a list of actions in a world, and the strings are ours. An episode that the
curriculum cut ended neither way: it has no control string and no scores.
Proofs: the outcome chooses the string; without the attempt and the string the prompts are the student's.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import StopReason, Trajectory
from agentdistill.teachers.views import Privileged, Scope
from agentdistill_views.words import numbered

ATTEMPT = "Your first attempt at this task:\n{steps}"
REVISE = "It failed. Find where it went wrong, and do the task again, correctly this time."
REPEAT = "It succeeded. Do the task again in the same way."


class SdZeroConfig(PluginConfig):
    """The attempt and the two control strings.

    Attributes:
        threshold: score from which on an attempt was good; unset asks the environment's own verdict.
        good: score episodes that succeeded, too; otherwise only failures are revised.
        observations: show what was seen before each action, too.
        thoughts: show whole responses, thoughts included.
        attempt: words around the attempt, `{steps}` in them; "" shows none.
        revise: what is asked after a failure.
        repeat: what is asked after a success.
    """

    threshold: float | None = None
    good: bool = True
    observations: bool = False
    thoughts: bool = False
    attempt: str = ATTEMPT
    revise: str = REVISE
    repeat: str = REPEAT


class SdZero:
    """See `SdZeroConfig`."""

    scope: Scope = "instance"
    siblings = False
    needs: frozenset[str] = frozenset()

    def __init__(self, config: SdZeroConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def fingerprint(self) -> str:
        """Over the options."""
        return digest(["sd-zero", self.config.model_dump()])[:16]

    def show(self, trajectories: Sequence[Trajectory]) -> list[Privileged | None]:
        """The attempt and what is asked of its reviser."""
        return [self._shown(trajectory) for trajectory in trajectories]

    def _shown(self, trajectory: Trajectory) -> Privileged | None:
        config = self.config
        good = trajectory.success if config.threshold is None else trajectory.score >= config.threshold
        cut = trajectory.stop in (StopReason.HORIZON, StopReason.ABORTED) and not good
        if cut or (good and not config.good):
            return None
        steps = numbered(trajectory.steps, observations=config.observations, thoughts=config.thoughts)
        attempt = config.attempt.replace("{steps}", steps)
        return Privileged(opening="\n\n".join(t for t in (attempt, config.repeat if good else config.revise) if t))
