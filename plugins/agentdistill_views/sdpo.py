"""SDPO's view (arXiv 2601.20802): the teacher sees how a sibling solved the task, or what the environment refused.

    L = sum_t D( pi(.|x, y_<t) || sg pi_T(.|x, f, y_<t) )

The feedback f of an episode comes from the same batch and the environment, from no other model. It is a demonstration:
the actions of another episode of the same task that succeeded, of several the first in the batch, without its thoughts;
an episode is never its own demonstration. Or it is what the environment answered to actions that failed (it did not
accept them, or no command could be read). The second is used where the first is missing; `feedback = "always"` gives
both. An episode with neither has no scores: a task that all its episodes failed, in silence, teaches nothing (use the
filter `scored`).

Defaults: those of the released configuration (one demonstration, no thoughts, feedback only without one). The paper's
objective: `opd` with support "student-topk" (100, 20 with rich feedback) and a tail, RKL, FKL or JSD; its teacher:
`self` with "ema" (0.05, rich 0.01) or "trust-region"; lr 1e-5 (rich 1e-6), 8 episodes per task.
Instance-level: the plan warns.
Differs from released code: there a response is one text and its error message; here an episode is a list of actions,
and the words around them are ours. A guided or replayed turn of a sibling is part of its demonstration.
Proofs: a sibling, never itself; silence gives no scores; observations after failing actions; thoughts are stripped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import StopReason, Trajectory
from agentdistill.teachers.views import Privileged, Scope
from agentdistill_views.words import answer_to, numbered, said, tasks_of

DEMONSTRATION = "This is how the very same task was solved in another attempt:\n{steps}"
FEEDBACK = "An earlier attempt at this task was answered as follows:\n{answers}"


class SdpoConfig(PluginConfig):
    """What counts as a success, and what is shown of it.

    Attributes:
        threshold: score from which on an episode is a demonstration; unset asks the environment's own verdict.
        feedback: what the environment answered to failing actions: "never", "alone" where there is no demonstration,
            or "always".
        most: answers shown, the latest.
        observations: show what was seen before each action of a demonstration, too.
        thoughts: show whole responses of a demonstration, thoughts included.
        demonstration: words around a demonstration, `{steps}` in them.
        answered: words around the answers, `{answers}` in them.
    """

    threshold: float | None = None
    feedback: Literal["never", "alone", "always"] = "alone"
    most: int = Field(default=10, ge=1)
    observations: bool = False
    thoughts: bool = False
    demonstration: str = DEMONSTRATION
    answered: str = FEEDBACK


class Sdpo:
    """See `SdpoConfig`."""

    scope: Scope = "instance"
    siblings = True
    needs: frozenset[str] = frozenset()

    def __init__(self, config: SdpoConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def fingerprint(self) -> str:
        """Over the options."""
        return digest(["sdpo", self.config.model_dump()])[:16]

    def show(self, trajectories: Sequence[Trajectory]) -> list[Privileged | None]:
        """A demonstration, or feedback, for each episode that has one."""
        keys = tasks_of(trajectories)
        return [self._shown(position, trajectories, keys) for position in range(len(trajectories))]

    def _shown(
        self, position: int, trajectories: Sequence[Trajectory], keys: Sequence[tuple[str, str, str]]
    ) -> Privileged | None:
        config, words = self.config, []
        siblings = (n for n, key in enumerate(keys) if key == keys[position] and n != position)
        solved = next((n for n in siblings if self._succeeded(trajectories[n])), None)
        if solved is not None:
            steps = numbered(trajectories[solved].steps, observations=config.observations, thoughts=config.thoughts)
            words.append(config.demonstration.replace("{steps}", steps))
        if config.feedback == "always" or (config.feedback == "alone" and solved is None):
            answers = complaints(trajectories[position])[-config.most :]
            if answers:
                words.append(config.answered.replace("{answers}", "\n".join(answers)))
        return Privileged(opening="\n\n".join(words)) if words else None

    def _succeeded(self, trajectory: Trajectory) -> bool:
        if trajectory.stop is StopReason.ABORTED or not trajectory.steps:
            return False
        return trajectory.success if self.config.threshold is None else trajectory.score >= self.config.threshold


def complaints(trajectory: Trajectory) -> list[str]:
    """What the environment answered to actions that failed, each once, in order."""
    found = [
        f"- {said(step)} -> {answer}"
        for position, step in enumerate(trajectory.steps)
        if not step.valid and (answer := answer_to(trajectory, position))
    ]
    return list(dict.fromkeys(found))
