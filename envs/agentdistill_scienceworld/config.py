"""Options of the ScienceWorld environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from agentdistill.plugins import PluginConfig
from agentdistill.plugins.suggest import hint
from agentdistill_scienceworld.variations import SIZES

Count = Annotated[int, Field(ge=1)]

SIMPLIFICATIONS = (
    "easy",
    "teleportAction",
    "openDoors",
    "openContainers",
    "selfWateringFlowerPots",
    "noElectricalAction",
)
"""What the simulator can make easier; "easy" is all the others together (wires stay where a task needs them)."""


class ScienceWorldConfig(PluginConfig):
    """ScienceWorld.

    Attributes:
        split: split that `reset` draws from when it is given no task: train, dev or test, as published.
        tasks: names of the tasks a split is narrowed to, for example ["boil", "melt"]; empty takes all thirty.
        simplification: "" for the world as it is, or simplifications separated by commas. "easy" is all of them and
            what most published numbers use.
        observation: "plain" is the answer to the command alone, as the simulator gives it; "room" puts the room
            and the inventory below it, which costs an agent no step.
        prompt: "compact" ends the task with the forms that commands have and every observation with the things that
            can be named, a few hundred tokens where a list of all commands has thousands; "none" leaves that out.
        admissible: compute the list of all valid commands in every state. It is long (up to thousands) and slow.
        step_limit: steps after which the environment itself truncates an episode; None leaves that to the caller.
        heap_mb: most megabytes of Java's heap, shared by all environments of a process.
    """

    split: str = "train"
    tasks: tuple[str, ...] = ()
    simplification: str = "easy"
    observation: Literal["plain", "room"] = "plain"
    prompt: Literal["none", "compact"] = "none"
    admissible: bool = False
    step_limit: Count | None = None
    heap_mb: Annotated[int, Field(ge=64)] = 256

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in SIZES:
                raise ValueError(f"there is no task `{name}`.{hint(name, SIZES)}")
        if len(set(value)) != len(value):
            raise ValueError("a task is named twice")
        return value

    @field_validator("simplification")
    @classmethod
    def _known_simplifications(cls, value: str) -> str:
        for name in value.split(",") if value else ():
            if name not in SIMPLIFICATIONS:
                raise ValueError(f"there is no simplification `{name}`.{hint(name, SIMPLIFICATIONS)}")
        return value
