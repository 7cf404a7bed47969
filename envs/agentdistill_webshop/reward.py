"""The reward of a purchase (WebShop, arXiv:2207.01206, section 3), with the details of the authors' program.

r = r_type * (n_attr + n_opt + [price <= limit]) / (|attributes| + |options| + 1). A purchase succeeds when r is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentdistill.errors import import_extra
from agentdistill_webshop.analysis import EXTRA
from agentdistill_webshop.goals import Goal
from agentdistill_webshop.product import Product
from agentdistill_webshop.words import COLORS

SIMILAR = 85
"""A token set ratio above this is a match."""

_SHELF = "›"


@dataclass(frozen=True, slots=True)
class Score:
    """A reward and what it is made of.

    Attributes:
        reward: the whole, from 0 to 1.
        r_type: factor for the kind of product: 1, 0.5, 0.1 or 0.
        r_att: fraction of the wanted attributes that the product has.
        r_option: fraction of the wanted options that were chosen; None when none are wanted.
        r_price: whether the price is within the limit.
        query_match: both products were found by the same search.
        category_match: they share at least two shelves.
        title_score: fraction of the wanted title's nouns that the bought one's title has.
    """

    reward: float
    r_type: float
    r_att: float
    r_option: float | None
    r_price: bool
    query_match: bool
    category_match: bool
    title_score: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def score_purchase(
    product: Product,
    options: Mapping[str, str],
    price: float,
    goal: Goal,
    nouns: Callable[[str], Sequence[str]],
) -> Score:
    """The reward of buying a product.

    Args:
        product: what was bought.
        options: the options that were chosen, name -> value.
        price: what it costs, in dollars.
        goal: what was wanted.
        nouns: tells the nouns of a title.
    """
    r_type, query_match, category_match, title_score = type_reward(product, goal, nouns)
    attributes = matching_attributes(product, goal.attributes)
    wanted = goal.wanted_options
    chosen = matching_options(options.values(), wanted)
    affordable = price <= goal.price_upper
    reward = (attributes + chosen + affordable) / (len(goal.attributes) + len(wanted) + 1) * r_type
    return Score(
        reward=reward,
        r_type=r_type,
        r_att=attributes / len(goal.attributes),
        r_option=chosen / len(wanted) if wanted else None,
        r_price=affordable,
        query_match=query_match,
        category_match=category_match,
        title_score=title_score,
    )


def type_reward(product: Product, goal: Goal, nouns: Callable[[str], Sequence[str]]) -> tuple[float, bool, bool, float]:
    """How well the kind of product fits: r_type, whether query and category match, and the title score."""
    query_match = product.query == goal.query
    category_match = len(_shelves(product.product_category) & _shelves(goal.product_category)) >= 2
    wanted, bought = nouns(goal.title), nouns(product.title)
    title_score = len(set(wanted) & set(bought)) / len(wanted) if wanted else 0.2
    r_type = 1.0 if query_match or category_match or title_score > 0.2 else 0.5
    if title_score < 0.1:
        r_type = 0.1
    if title_score == 0.0:
        r_type = 0.0
    return r_type, query_match, category_match, title_score


def matching_attributes(product: Product, wanted: Iterable[str]) -> int:
    """How many of the wanted attributes a product has, in its attributes or else word for word in its texts."""
    texts = (product.title.lower(), " ".join(product.bullets).lower(), product.description.lower())
    return sum(
        any(similar(own, attribute) for own in product.attributes) or any(attribute in text for text in texts)
        for attribute in wanted
    )


def matching_options(chosen: Iterable[str], wanted: Iterable[Any]) -> int:
    """How many of the wanted options were chosen.

    Args:
        chosen: the chosen values.
        wanted: the wanted values; for synthetic goals pairs of name and value, which the authors' program compares as
            if the pair, written out, were the value.
    """
    values = [normalize_color(value) for value in chosen]
    return sum(any(similar(value, normalize_color(option)) for value in values) for option in wanted)


def normalize_color(value: Any) -> Any:
    """The first color that a value contains, the value itself when it contains none."""
    return next((color for color in COLORS if color in value), value)


def similar(one: Any, other: Any) -> bool:
    """Whether two texts agree up to the order, repetition and a few letters of their words."""
    fuzz: Any = import_extra("thefuzz.fuzz", EXTRA, "WebShop's reward")
    ratio: int = fuzz.token_set_ratio(one, other)
    return ratio > SIMILAR


def _shelves(path: str) -> set[str]:
    return {shelf.strip() for shelf in path.split(_SHELF)}
