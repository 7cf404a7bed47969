"""Options of the ALFWorld environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig

Count = Annotated[int, Field(ge=1)]

ExpertName = Literal["text", "handcoded", "planner"]
"""text: reads only what the agent reads. handcoded: ALFWorld's own. planner: sees everything, shortest plans."""


class GeneratedConfig(PluginConfig):
    """Games made by this package.

    Attributes:
        train: number of games of the split "generated-train".
        seen: number of games of the split "generated-seen" (rooms that training also uses, other games).
        unseen: number of games of the split "generated-unseen" (the four rooms that training never uses).
        seed: seed of the generator; another seed gives other games.
    """

    train: Count = 2000
    seen: Count = 200
    unseen: Count = 200
    seed: Annotated[int, Field(ge=0)] = 0


class AlfworldConfig(PluginConfig):
    """ALFWorld.

    Attributes:
        split: split that `reset` draws from when it is given no task. "train" is real where $ALFWORLD_DATA is set and
            generated otherwise.
        engine: "real" is the ALFWorld/TextWorld engine; "fast" is our simulator of the same text, byte-identical.
        dialect: "move" (`move apple 1 to fridge 1`; older game files are upgraded in memory) or "put" (game files of
            the 2.1.1 release as they are; real engine only).
        expert: who answers when an episode asks for expert actions.
        step_limit: steps after which the environment itself truncates an episode; None leaves that to the caller, who
            may allow more steps in an evaluation than in training.
        generated: how many games to generate, and from which seed.
    """

    split: str = "train"
    engine: Literal["real", "fast"] = "real"
    dialect: Literal["move", "put"] = "move"
    expert: ExpertName = "text"
    step_limit: Count | None = None
    generated: GeneratedConfig = GeneratedConfig()

    @model_validator(mode="after")
    def _fast_speaks_move(self) -> AlfworldConfig:
        if self.engine == "fast" and self.dialect != "move":
            raise ValueError('the fast engine speaks only the dialect "move"; use engine = "real" for "put"')
        return self
