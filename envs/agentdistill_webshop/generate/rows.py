"""Generated rows, each product from a seed of its own, in the shape of the original files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentdistill.hashing import digest
from agentdistill_webshop.generate.kinds import KINDS, OPTIONS, SHARED, Kind
from agentdistill_webshop.generate.prose import (
    make_brand,
    make_bullets,
    make_description,
    make_instruction,
    make_short_instruction,
    make_title,
)

VERSION = 1
"""Another generator, another number: results name it, and the cache does not mix them."""

INSTRUCTIONS = 4
"""Human-like instructions for each product."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ASINS = 36**8
_STEP = 1_000_003_300_001
"""Coprime to the number of asins, so that no two products have the same."""


class GeneratedRows:
    """A catalogue's rows, made as they are asked for.

    Args:
        products: how many.
        seed: of the generator.
    """

    def __init__(self, products: int, seed: int) -> None:
        self._products, self._seed = products, seed

    def identity(self) -> str:
        """Sixteen hex digits: another generator, seed or size, other digits."""
        return digest(["generated", VERSION, self._seed, self._products])[:16]

    def items(self) -> Iterator[Any]:
        """Rows as in `items_shuffle*.json`."""
        return (_item(_make(self._seed, number), self._seed, number) for number in range(self._products))

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """Asin and entry, as in `items_ins_v2*.json`."""
        for number in range(self._products):
            made = _make(self._seed, number)
            yield made.asin, _entry(made, self._seed, number)

    def human(self) -> Iterator[tuple[str, Any]]:
        """Asin and instructions, as in `items_human_ins.json`."""
        for number in range(self._products):
            made = _make(self._seed, number)
            rng = _dice("human", self._seed, number)
            yield made.asin, [_instruction(rng, made) for _ in range(INSTRUCTIONS)]

    def provenance(self) -> dict[str, Any]:
        """What makes the rows what they are."""
        return {"kind": "generated", "generator": VERSION, "seed": self._seed}


def make_asin(seed: int, number: int) -> str:
    """Ten characters as the shop's own; different for every product of a seed."""
    rest, digits = ((number + 1) * _STEP + seed * 7919) % _ASINS, ""
    for _ in range(8):
        rest, digit = divmod(rest, 36)
        digits = _DIGITS[digit] + digits
    return f"B0{digits}"


@dataclass(frozen=True, slots=True)
class _Made:
    """What a product is, before anybody writes about it."""

    asin: str
    kind: Kind
    attributes: list[str]
    options: dict[str, list[str]]


def _dice(what: str, seed: int, number: int) -> random.Random:
    return random.Random(f"webshop/{VERSION}/{seed}/{number}/{what}")


def _make(seed: int, number: int) -> _Made:
    rng = _dice("product", seed, number)
    kind = rng.choice(KINDS)
    attributes = rng.sample(kind.attributes, rng.randint(1, 2)) + rng.sample(SHARED[kind.category], rng.randint(2, 4))
    return _Made(make_asin(seed, number), kind, attributes, _options(rng, kind))


def _item(made: _Made, seed: int, number: int) -> dict[str, Any]:
    rng, kind = _dice("item", seed, number), made.kind
    brand = make_brand(rng)
    model = f"{rng.choice(_DIGITS[10:])}{rng.choice(_DIGITS[10:])}{rng.randint(100, 9999)}"
    facts = {"brand": brand, "noun": kind.noun.lower(), "material": rng.choice(kind.materials), "model": model}
    return {
        "asin": made.asin,
        "name": make_title(rng, brand, kind, facts, made.attributes),
        "full_description": make_description(rng, facts, made.attributes),
        "small_description": make_bullets(rng, facts, made.attributes),
        "pricing": _pricing(rng, kind),
        "product_category": kind.path,
        "category": kind.category,
        "query": kind.query,
        "customization_options": {
            name: [{"value": value, "image": None} for value in values] for name, values in made.options.items()
        },
        "images": [],
    }


def _entry(made: _Made, seed: int, number: int) -> dict[str, Any]:
    rng = _dice("entry", seed, number)
    wanted = rng.sample(made.attributes, rng.randint(1, 2))
    return {
        "attributes": made.attributes,
        "instruction": make_short_instruction(rng, made.kind.query, wanted),
        "instruction_attributes": wanted,
    }


def _options(rng: random.Random, kind: Kind) -> dict[str, list[str]]:
    options = {}
    for key in kind.options:
        name, values = OPTIONS[key]
        chosen = set(rng.sample(range(len(values)), rng.randint(2, min(7, len(values)))))
        options[name] = [value for place, value in enumerate(values) if place in chosen]
    return options


def _pricing(rng: random.Random, kind: Kind) -> str:
    price = kind.price * rng.lognormvariate(0.0, 0.45)
    kinds = rng.random()
    if kinds < 0.03:
        return ""
    if kinds < 0.2:
        return f"${price:,.2f}${price * rng.uniform(1.1, 1.8):,.2f}"
    return f"${price:,.2f}"


def _instruction(rng: random.Random, made: _Made) -> dict[str, Any]:
    wanted = rng.sample(made.attributes, rng.randint(1, min(3, len(made.attributes))))
    names = [name for name in made.options if rng.random() < 0.75]
    chosen = {name: rng.choice(made.options[name]) for name in names}
    return {
        "asin": made.asin,
        "instruction": make_instruction(rng, made.kind.query, wanted, chosen),
        "attributes": made.attributes,
        "options": [f"{name}: {value}" for name, value in chosen.items()],
        "instruction_attributes": wanted,
        "instruction_options": list(chosen.values()),
    }
