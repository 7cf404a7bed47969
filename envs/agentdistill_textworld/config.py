"""Options of the TextWorld environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from agentdistill.plugins import PluginConfig

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Kind = Literal["coin_collector", "treasure_hunter", "simple", "cooking", "custom"]

KINDS: tuple[Kind, ...] = ("coin_collector", "treasure_hunter", "simple", "cooking", "custom")
"""Kinds of games, in the order in which a split takes them."""


class CoinCollectorConfig(PluginConfig):
    """Find the coin.

    Attributes:
        level: number of rooms to the coin is its last two digits; from 101 and from 201 there are wrong turns, too.
    """

    level: Annotated[int, Field(ge=1, le=300)] = 5


class TreasureHunterConfig(PluginConfig):
    """Find one thing among others; the goal tells which.

    Attributes:
        level: from 11 there are closed doors and containers, from 21 locked ones.
    """

    level: Annotated[int, Field(ge=1, le=30)] = 5


class SimpleConfig(PluginConfig):
    """An errand in a house of six rooms. The split "test" takes the game's own test distribution.

    Attributes:
        rewards: how often there are points.
        goal: how the task is told.
    """

    rewards: Literal["dense", "balanced", "sparse"] = "dense"
    goal: Literal["detailed", "brief", "none"] = "detailed"


class CookingConfig(PluginConfig):
    """Cook by the cookbook and eat. Each split has foods of its own, as the game defines them.

    Attributes:
        recipe: number of ingredients.
        take: how many of them must be found.
        go: number of rooms.
        open: doors and containers are closed.
        cook: ingredients must be cooked.
        cut: ingredients must be cut.
        drop: hands are limited.
    """

    recipe: Annotated[int, Field(ge=1, le=5)] = 1
    take: Annotated[int, Field(ge=0, le=5)] = 1
    go: Literal[1, 6, 9, 12] = 1
    open: bool = True
    cook: bool = True
    cut: bool = False
    drop: bool = False

    @model_validator(mode="after")
    def _no_more_than_in_the_recipe(self) -> CookingConfig:
        if self.take > self.recipe:
            raise ValueError(f"take = {self.take} ingredients to find, but the recipe has {self.recipe}")
        return self


class CustomConfig(PluginConfig):
    """A house and a quest of any size.

    Attributes:
        rooms: number of rooms.
        objects: least number of objects.
        quest_length: number of actions that the quest takes.
        quest_breadth: number of things that can be done in any order.
    """

    rooms: Annotated[int, Field(ge=1, le=50)] = 5
    objects: Annotated[int, Field(ge=1, le=100)] = 10
    quest_length: Annotated[int, Field(ge=1, le=30)] = 5
    quest_breadth: Annotated[int, Field(ge=1, le=5)] = 1


class TextWorldConfig(PluginConfig):
    """TextWorld.

    Attributes:
        split: split that `reset` draws from when it is given no task: train, dev or test. Their seeds are disjoint.
        games: kinds of games; a split takes them in turn.
        train: number of games of the split "train".
        dev: number of games of the split "dev".
        test: number of games of the split "test".
        coin_collector: options of these games.
        treasure_hunter: options of these games.
        simple: options of these games.
        cooking: options of these games.
        custom: options of these games.
        admissible: list the commands that do something now; a step takes less time without them.
        step_limit: steps after which the environment itself truncates an episode; None leaves that to the caller.
    """

    split: str = "train"
    games: tuple[Kind, ...] = KINDS
    train: Count = 1000
    dev: Count = 50
    test: Count = 100
    coin_collector: CoinCollectorConfig = CoinCollectorConfig()
    treasure_hunter: TreasureHunterConfig = TreasureHunterConfig()
    simple: SimpleConfig = SimpleConfig()
    cooking: CookingConfig = CookingConfig()
    custom: CustomConfig = CustomConfig()
    admissible: bool = True
    step_limit: Annotated[int, Field(ge=1)] | None = None

    @field_validator("games")
    @classmethod
    def _some_kinds(cls, value: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if not value:
            raise ValueError("at least one kind of game is needed")
        if len(set(value)) != len(value):
            raise ValueError("a kind of game is named twice")
        return value
