"""Pages of the shop: what stands on them, in order, and what can be clicked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentdistill_webshop.product import Product

PER_PAGE = 10
"""Products on a page of results."""

BACK, NEXT, PREVIOUS, BUY, SEARCH = "Back to Search", "Next >", "< Prev", "Buy Now", "Search"
SUB_PAGES = ("Description", "Features", "Reviews")

# `tojson` of the authors' templates escapes these, so that JSON may stand in HTML.
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})


class Kind(StrEnum):
    """What a piece of a page is."""

    TEXT = "text"
    BUTTON = "button"
    LINK = "link"
    """A product in the results."""
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of text on a page.

    Attributes:
        text: the text.
        kind: what it is.
        verbatim: white space in it is kept as it is.
    """

    text: str
    kind: Kind = Kind.TEXT
    verbatim: bool = False


def _button(text: str) -> Piece:
    return Piece(text, Kind.BUTTON)


def _heading(instruction: str) -> Iterator[Piece]:
    yield Piece("Instruction:")
    yield Piece(instruction)


def search_page(instruction: str) -> Iterator[Piece]:
    """The page with the search bar."""
    yield Piece("WebShop")
    yield Piece("Instruction: ")
    yield Piece(instruction)
    yield _button(SEARCH)


def results_page(instruction: str, products: Sequence[Product], page: int, total: int) -> Iterator[Piece]:
    """A page of results.

    Args:
        instruction: what is wanted.
        products: those of this page.
        page: its number, from 1.
        total: results in all.
    """
    yield from _heading(instruction)
    yield _button(BACK)
    yield Piece(f"Page {page} (Total results: {total})")
    if page > 1:
        yield _button(PREVIOUS)
    yield _button(NEXT)
    for product in products:
        yield Piece(product.asin, Kind.LINK)
        yield Piece(product.title)
        yield Piece(product.price_tag)


def item_page(instruction: str, product: Product) -> Iterator[Piece]:
    """A product's page."""
    yield from _heading(instruction)
    yield _button(BACK)
    yield _button(PREVIOUS)
    for name, values in product.options.items():
        yield Piece(name)
        for value in values:
            yield Piece(value, Kind.OPTION)
    yield Piece(product.title)
    yield Piece(f"Price: {product.price_tag}")
    yield Piece("Rating: N.A.")
    for name in SUB_PAGES:
        yield _button(name)
    yield _button(BUY)


def sub_page(instruction: str, product: Product, name: str) -> Iterator[Piece]:
    """A product's description, features or reviews (of which the catalogue has none)."""
    yield from _heading(instruction)
    yield _button(BACK)
    yield _button(PREVIOUS)
    if name == "Description":
        yield Piece(product.description)
    elif name == "Features":
        for line in product.bullets:
            yield Piece(f" {line}")


def done_page(asin: str, options: Mapping[str, str], reward: float) -> Iterator[Piece]:
    """The page after a purchase, with everything that the authors' page hides from the eye but not from the text."""
    yield Piece("Thank you for shopping with us!")
    yield Piece("Your code: ")
    yield Piece("None", verbatim=True)
    yield Piece(" (Paste it in your MTurk interface.)")
    yield Piece("Purchased")
    yield Piece("asin")
    yield Piece(asin, verbatim=True)
    yield Piece("options")
    yield Piece(json.dumps(dict(options), sort_keys=True).translate(_ESCAPED), verbatim=True)
    for name in ("attrs", "category", "query", "product category"):
        yield Piece(name)
        yield Piece("None", verbatim=True)
    yield Piece("Target")
    for name in ("asin", "options", "attrs", "price upper", "instuction text", "category", "product category", "query"):
        yield Piece(name)
    yield Piece("Goal ")
    yield Piece("None", verbatim=True)
    yield Piece("Reward")
    yield Piece("Your score (min 0.0, max 1.0)")
    yield Piece(str(reward), verbatim=True)
    yield Piece("Reward Details ")
    yield Piece("None", verbatim=True)
