"""Goals: what a shopper wants, how dear it may be, and which split it belongs to."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.errors import DataError
from agentdistill.plugins.suggest import hint
from agentdistill_webshop.catalogue import Catalogue
from agentdistill_webshop.config import WebshopConfig
from agentdistill_webshop.product import Product

SHUFFLE_SEED = 233
"""Seed of the authors' order of goals: with as many goals as theirs, goal 17 is their goal 17."""

UNLIMITED = 1_000_000.0
SPLITS = ("train", "eval", "test")
_STEPS = tuple(10.0 * step for step in range(1, 100))
_CHOICES = 4

PROTOCOLS: dict[str, dict[str, tuple[int, int | None]]] = {
    "webshop": {"test": (0, 500), "eval": (500, 1500), "train": (1500, None)},
    "verl-agent": {"test": (0, 500), "train": (500, None)},
    "tcod": {"train": (0, 4096), "test": (4096, 4196)},
    "all": {"train": (0, None), "eval": (0, None), "test": (0, None)},
}
"""Protocol -> split -> first goal, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One shopping task.

    Attributes:
        place: number of the product that it was written for.
        asin: that product's asin.
        title: its title.
        category: its department.
        query: the search that found it.
        product_category: its path in the shop's tree.
        instruction: what the agent is told.
        attributes: what the product must be.
        options: what must be chosen: values, or name -> value for synthetic goals.
        price_upper: the most it may cost, in dollars.
    """

    place: int
    asin: str
    title: str
    category: str
    query: str
    product_category: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] | dict[str, str]
    price_upper: float

    @property
    def wanted_options(self) -> tuple[Any, ...]:
        """The options as the reward compares them: values, or pairs of name and value."""
        return tuple(self.options.items()) if isinstance(self.options, dict) else self.options


class GoalBook:
    """All goals of a catalogue in their shuffled order; each is made when it is asked for.

    Args:
        catalogue: the products.
        config: kind of goals, protocol, and the seed of price limits.

    Raises:
        DataError: the catalogue has no goals of that kind.
    """

    def __init__(self, catalogue: Catalogue, config: WebshopConfig) -> None:
        self._catalogue, self._config = catalogue, config
        if config.goals == "human":
            count = len(catalogue.asked_for)
            self._bounds: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        else:
            self._products, combinations = catalogue.synthetic()
            self._bounds = np.cumsum(combinations)
            count = int(self._bounds[-1]) if len(self._bounds) else 0
        if not count:
            other = "synthetic" if config.goals == "human" else "human"
            raise DataError(
                f"The catalogue has no {config.goals} goals.", do=f'Try env.goals = "{other}", or other data.'
            )
        self._order = array("q", range(count))
        random.Random(SHUFFLE_SEED).shuffle(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def span(self, split: str) -> range:
        """The numbers of a split's goals.

        Raises:
            DataError: there is no such split, or there are too few goals for it.
        """
        spans = PROTOCOLS[self._config.protocol]
        if split not in spans:
            raise DataError(
                f"WebShop has no split `{split}` under the protocol `{self._config.protocol}`.{hint(split, spans)}",
                f"It has {', '.join(spans)}.",
                "Choose one of them.",
            )
        start, end = spans[split]
        if start >= len(self) or (end is not None and end > len(self)):
            raise DataError(
                f"The split `{split}` takes goals from {start} to {'the last' if end is None else end - 1}.",
                f"The catalogue has {len(self)} {self._config.goals} goals.",
                'Use more products, other goals (env.goals), or env.protocol = "all".',
            )
        return range(start, len(self) if end is None else end)

    def category(self, number: int) -> str:
        """The department of a goal's product."""
        drawn = self._order[number]
        if self._config.goals == "human":
            return self._catalogue.category(int(self._catalogue.asked_for[drawn]))
        return self._catalogue.category(int(self._products[int(bisect_right(self._bounds, drawn))]))

    def goal(self, number: int) -> Goal:
        """The goal with a number, in shuffled order from 0."""
        drawn = self._order[number]
        if self._config.goals == "human":
            text, attributes, options = self._catalogue.human(drawn)
            return self._goal(
                int(self._catalogue.asked_for[drawn]),
                drawn,
                text.strip("."),
                tuple(attributes),
                options if isinstance(options, dict) else tuple(options),
            )
        which = int(bisect_right(self._bounds, drawn))
        place = int(self._products[which])
        product = self._catalogue.product(place)
        chosen = _combination(product, drawn - (int(self._bounds[which - 1]) if which else 0))
        text = ", and ".join(f"{name}: {value}" for name, value in chosen.items())
        instruction = f"{product.instruction}{f' with {text}' if text else ''}"
        return self._goal(place, drawn, instruction, product.instruction_attributes, chosen)

    def _goal(
        self,
        place: int,
        drawn: int,
        instruction: str,
        attributes: tuple[str, ...],
        options: tuple[str, ...] | dict[str, str],
    ) -> Goal:
        product = self._catalogue.product(place)
        # The authors draw one limit for each human goal, and one for each product with synthetic goals. They draw
        # before they seed; here every draw has a seed of its own.
        drawn_for = f"human/{drawn}" if self._config.goals == "human" else "synthetic"
        rng = random.Random(f"webshop/limit/{self._config.seed}/{drawn_for}/{product.asin}")
        limit = price_limit(self._catalogue.price(place), rng)
        clause = "" if limit == UNLIMITED else f", and price lower than {limit:.2f} dollars"
        return Goal(
            place=place,
            asin=product.asin,
            title=product.title,
            category=product.category,
            query=product.query,
            product_category=product.product_category,
            instruction=instruction + clause,
            attributes=attributes,
            options=options,
            price_upper=limit,
        )

    def weights(self, span: range) -> npt.NDArray[np.float64] | None:
        """How often the authors' program draws each goal for training, None for all the same.

        A synthetic goal counts the more, the rarer its attributes are among all goals.
        """
        if self._config.goals == "human":
            return None
        sizes = np.diff(self._bounds, prepend=0)
        asked: Counter[str] = Counter()
        wanted = [self._catalogue.product(int(place)).instruction_attributes for place in self._products]
        for attributes, size in zip(wanted, sizes.tolist(), strict=True):
            for attribute in attributes:
                asked[attribute] += size
        by_product = np.array([sum(1 / asked[a] for a in attributes) / len(attributes) for attributes in wanted])
        drawn = np.frombuffer(self._order, np.int64)[span.start : span.stop]
        return by_product[np.searchsorted(self._bounds, drawn, side="right")]


def price_limit(price: float, rng: random.Random) -> float:
    """The limit in an instruction: the larger of two of the next four multiples of ten above the price.

    Args:
        price: in dollars.
        rng: draws the two.

    Returns:
        The limit; `UNLIMITED` for what costs 980 dollars and more.
    """
    above = [step for step in _STEPS if step > price][:_CHOICES]
    return max(rng.sample(above, 2)) if len(above) >= 2 else UNLIMITED


def _combination(product: Product, number: int) -> dict[str, str]:
    """The options of one of a product's synthetic goals: names sorted, the last one's values turning fastest."""
    chosen: dict[str, str] = {}
    for name in sorted(product.options, reverse=True):
        values = product.options[name]
        number, which = divmod(number, len(values))
        chosen[name] = values[which]
    return {name: chosen[name] for name in sorted(chosen)}
