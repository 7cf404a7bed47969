"""Hindsight hints (OpenClaw-RL): before each turn, the teacher is told what the environment answered to it.

    A_k = log pi_T(a_k | s_k, h_{k+1}) - log pi(a_k | s_k),   h_{k+1} from the state after the turn

The next state says what the action was worth: a refusal, progress, an end. Turns whose answer is not on record (the
last, as a rule) and those without anything to say have no hint and no scores; `only = "failures"` gives hints for
refused actions alone, where an answer tells most.

In a conversation that grows, hints stay in it as it goes on, so that an episode remains one row. Then a turn sees the
hints of the turns before it, too, which told of answers it has seen by then anyway. `remembered = false` scores the
formula to the letter, with one row per turn. A windowed context shows each turn its own hint only, in either case.

Defaults: every turn with an answer, one row. Instance-level: the plan warns. Sources: OpenClaw-RL (code released by
Gen-Verse; its notes name no arXiv id we could check); TRIAL (arXiv 2608.07371) and AgentOPSD (arXiv 2608.05987) take
such a teacher for their credit, see the fusions `trial` and `agentopsd`. `outcome = true` tells them how it ended.
Differs from released code: there another model reads the next state and writes the hint, keeps only hints that are
worth something, and drops the other turns; here the hint is what the environment said, word for word.
Proofs: each turn is told its own answer; turns without one have no scores; both forms agree on a single hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import StopReason, Trajectory
from agentdistill.teachers.views import Privileged, Scope
from agentdistill_views.words import answer_to

HINT = "In hindsight: your next command will be answered with\n{answer}"
WON = "In hindsight: this attempt will succeed."
LOST = "In hindsight: this attempt will fail."


class HindsightConfig(PluginConfig):
    """Which turns are told what.

    Attributes:
        only: hints for "all" turns, or for "failures", which the environment did not accept.
        outcome: tell at the start how the episode ends; nothing about one that the curriculum cut.
        remembered: hints stay in a growing conversation; otherwise every turn is a row of its own.
        hint: words around the environment's answer, `{answer}` in them.
    """

    only: Literal["all", "failures"] = "all"
    outcome: bool = False
    remembered: bool = True
    hint: str = HINT


class Hindsight:
    """See `HindsightConfig`."""

    scope: Scope = "instance"
    siblings = False
    needs: frozenset[str] = frozenset()

    def __init__(self, config: HindsightConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def fingerprint(self) -> str:
        """Over the options."""
        return digest(["hindsight", self.config.model_dump(), WON, LOST])[:16]

    def show(self, trajectories: Sequence[Trajectory]) -> list[Privileged | None]:
        """The answers to each episode's turns."""
        return [self._shown(trajectory) for trajectory in trajectories]

    def _shown(self, trajectory: Trajectory) -> Privileged | None:
        config = self.config
        told = {
            step.index: config.hint.replace("{answer}", answer)
            for position, step in enumerate(trajectory.steps)
            if step.row >= 0
            and (config.only == "all" or not step.valid)
            and (answer := answer_to(trajectory, position))
        }
        known = trajectory.success or trajectory.stop in (StopReason.FAILURE, StopReason.ENV_LIMIT)
        if config.outcome and known:
            opening = WON if trajectory.success else LOST
            return Privileged(opening, told, remembered=config.remembered)
        return Privileged("", told, frozenset(told), config.remembered) if told else None
