"""Checks made with the run's own parts before anything is paid for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from agentdistill.selftest import SelfTest, self_test
from agentdistill.teachers.optional import check_teacher
from agentdistill.teachers.selfcheck import SelfCheck, check_self_score
from agentdistill.training.methods import Methods
from agentdistill.training.rewarded import total_rewards

if TYPE_CHECKING:
    from agentdistill.training.assembly import Parts


def self_score(test: SelfTest) -> SelfCheck:
    """Lets the student score a few turns it has just played: the difference must vanish.

    Args:
        test: the self-test of an assembled run; its other checks use the same turns.

    Raises:
        TrainingError: the student does not reproduce the log-probabilities of its own rollouts.
    """
    parts = test.parts
    return check_self_score(parts.student, test.material.played, batch_tokens=parts.config.optim.micro_batch_tokens)


def own_checks(test: SelfTest) -> list[str]:
    """What teacher, engine and rewards say when they are asked about a few turns of the student.

    Raises:
        AgentDistillError: one of them cannot.
    """
    parts = test.parts
    asked = check_teacher(parts.tutor, test.material.played) if parts.tutor is not None else []
    lines = [f"teacher  {line}" for line in asked]
    if hasattr(parts.engine, "check"):
        lines += [f"engine   {line}" for line in parts.engine.check(test.material.played)]
    return lines + first_rewards(test)


def first_rewards(test: SelfTest) -> list[str]:
    """What the rewards give for a few turns, so that a judge who is not there or says nothing is known before the run.

    Raises:
        AgentDistillError: a reward cannot be had.
    """
    config = test.parts.config
    if not config.reward:
        return []
    # Judges of their own, and episodes of their own to write into: nothing of the run's is changed.
    terms, played = Methods(config, test.parts.registry).rewards, copy.deepcopy(test.material.played)
    _, found = total_rewards(terms, played)
    said = ", ".join(f"{term.name} {found[f'reward/{term.name}']:.3g}" for term in terms)
    return [f"check    rewards  {said}: mean of {len(played)} episodes that were cut short"]


def preflight(parts: Parts) -> tuple[SelfCheck, list[str]]:
    """The self-score check, those of teacher, engine and rewards, and the self-test unless `run.self_test` is false.

    Args:
        parts: the assembled run; nothing in it is changed.

    Returns:
        What the student's scores of itself are, and a line for each check that was made.

    Raises:
        AgentDistillError: a check does not hold.
    """
    test = SelfTest(parts)
    check = self_score(test)
    lines = own_checks(test)
    if not parts.config.run.self_test:
        return check, [*lines, "check    the self-test was skipped (run.self_test)"]
    return check, lines + [f"check    {outcome}" for outcome in self_test(test)]
