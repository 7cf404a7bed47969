"""What several answers of one model to one prompt agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentdistill.conversation.base import ParsedAction
from agentdistill.hashing import digest


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    Attributes:
        chosen: index of the first answer that names the most frequent action; of actions that are equally frequent,
            the one named first. 0 when no answer could be read.
        votes: how many answers name that action; 0 when no answer could be read.
        actions: the action of each answer, "" where none could be read.
    """

    chosen: int
    votes: int
    actions: tuple[str, ...]


def vote(answers: Sequence[ParsedAction]) -> Vote:
    """Counts which action most answers name.

    Actions are compared as text, with runs of white space taken as one. An answer that does not keep to the format
    has no vote: two that are broken in the same way do not agree on anything.

    Args:
        answers: at least one.
    """
    actions = tuple(" ".join(answer.action.split()) if answer.well_formed else "" for answer in answers)
    named = [action for action in actions if action]
    if not named:
        return Vote(0, 0, actions)
    winner = max(dict.fromkeys(named), key=named.count)
    return Vote(actions.index(winner), named.count(winner), actions)


def sample_seed(seed: int, sample: int) -> int:
    """The sampling seed of one of several answers; the first has the turn's own, so that alone it is the same."""
    return seed if sample == 0 else int(digest([seed, sample, "sample"])[:16], 16)
