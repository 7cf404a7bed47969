"""Options of the WebShop environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agentdistill.plugins import PluginConfig

Count = Annotated[int, Field(ge=1)]


class GeneratedConfig(PluginConfig):
    """A catalogue made by this package.

    Attributes:
        products: number of products. A larger catalogue begins with the products of a smaller one.
        seed: seed of the generator; another seed gives other products and goals.
    """

    products: Count = 1000
    seed: Annotated[int, Field(ge=0)] = 0


class WebshopConfig(PluginConfig):
    """WebShop.

    Attributes:
        split: split that `reset` draws from when it is given no task: "train", "eval" or "test".
        data: folder with the original files (`items_shuffle*.json`, `items_ins_v2*.json`, `items_human_ins.json`);
            None generates a catalogue.
        products: use only that many rows from the beginning of the original items file; None uses all.
        goals: "human" instructions or "synthetic" ones, one for every combination of a product's options.
        protocol: which goals a split has. "webshop" is the authors' (test 0-499, eval 500-1499, train the rest),
            "verl-agent" (test 0-499, train the rest), "tcod" (train 0-4095, test 4096-4195), "all" (every split has
            all goals, as the authors do with a part of the catalogue).
        observation: "text", pieces joined by [SEP], or "text_rich", lines with marked buttons.
        generated: size and seed of the generated catalogue.
        malformed: what to do with rows of the original files that break their schema: "refuse" stops with their
            number and names, "skip" leaves them out, warns, and says so in every result.
        nouns: who finds the nouns of a title for the type reward: "auto" (a spaCy English model if one is installed,
            otherwise "lexicon"), "lexicon" (this package's word list), or the name or folder of a spaCy model.
        seed: seed of prices drawn from a range and of the price limits in the instructions.
        step_limit: steps after which the environment itself truncates an episode; None leaves that to the caller.
    """

    split: str = "train"
    data: str | None = None
    products: Count | None = None
    goals: Literal["human", "synthetic"] = "human"
    protocol: Literal["webshop", "verl-agent", "tcod", "all"] = "webshop"
    observation: Literal["text", "text_rich"] = "text"
    generated: GeneratedConfig = GeneratedConfig()
    malformed: Literal["refuse", "skip"] = "refuse"
    nouns: str = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    step_limit: Count | None = None
