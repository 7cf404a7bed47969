"""What an ALFWorld goal sentence asks for, read from its words alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from agentdistill.errors import DataError

Treatment = Literal["clean", "heat", "cool"]

APPLIANCE: dict[Treatment, str] = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""The receptacle type that each treatment needs."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal sentence, understood.

    Attributes:
        task_type: the ALFRED name of the task family.
        object: type of the object to handle, as observations spell it ("soapbar").
        receptacle: type of the receptacle to fill, or of the lamp for `look_at_obj_in_light`.
        treatment: what must be done to the object first, if anything.
        count: how many objects must end up in one receptacle.
    """

    task_type: str
    object: str
    receptacle: str
    treatment: Treatment | None = None
    count: int = 1

    @property
    def look(self) -> bool:
        """The goal is to look at the object under a lamp."""
        return self.task_type == "look_at_obj_in_light"


_FORMS: tuple[tuple[str, str, Treatment | None, int], ...] = (
    (r"(?:put a clean|clean some) (\w+) (?:and put it )?in (\w+)", "pick_clean_then_place_in_recep", "clean", 1),
    (r"(?:put a hot|heat some) (\w+) (?:and put it )?in (\w+)", "pick_heat_then_place_in_recep", "heat", 1),
    (r"(?:put a cool|cool some) (\w+) (?:and put it )?in (\w+)", "pick_cool_then_place_in_recep", "cool", 1),
    (r"(?:put|find) two (\w+) (?:and put them )?in (\w+)", "pick_two_obj_and_place", None, 2),
    (r"(?:look at|examine the) (\w+) (?:under|with) the (\w+)", "look_at_obj_in_light", None, 1),
    (r"put (?:a|some) (\w+) (?:in|on) (\w+)", "pick_and_place_simple", None, 1),
)

_TASK = re.compile(r"Your task is to: (.*?)\.?\s*\Z", re.S)


def parse_goal(sentence: str) -> Goal:
    """Reads a goal sentence such as "put a clean mug in cabinet".

    Args:
        sentence: the sentence without its final dot.

    Raises:
        DataError: the sentence is none of the twelve that ALFWorld uses.
    """
    for pattern, task_type, treatment, count in _FORMS:
        match = re.fullmatch(pattern, sentence)
        if match:
            return Goal(task_type, match[1], match[2], treatment, count)
    raise DataError(
        f"the goal {sentence!r} is not an ALFWorld goal",
        "the text-only expert knows the twelve goal sentences of ALFWorld's six task types",
        "check that the observation comes from an ALFWorld game",
    )


def goal_of(observation: str) -> Goal:
    """Reads the goal out of the first observation of an episode.

    Raises:
        DataError: the observation names no task, or one that is not ALFWorld's.
    """
    match = _TASK.search(observation)
    if match is None:
        raise DataError(
            "the first observation names no task",
            'it must end with "Your task is to: ..."',
            "give the expert the text that `reset` returned, unchanged",
        )
    return parse_goal(match[1])
