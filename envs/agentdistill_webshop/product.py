"""One product of the catalogue, and the rules by which a row of the original files becomes one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

LONGEST_ASIN = 10
NO_ATTRIBUTES = ("DUMMY_ATTR",)
"""What a product without an entry in the attributes file has."""

_UNPRICED = 100.0
_NOT_A_NUMBER = re.compile(r"[^\d.]")


class MalformedRow(Exception):
    """A row breaks the schema; the message says how."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product as the shop shows it.

    Attributes:
        asin: its identity, at most ten characters.
        title: its name.
        description: free text.
        bullets: the lines of its page "Features"; never empty.
        price_tag: the price as shown, e.g. "$53.99" or "$9.99 to $29.99".
        pricing: the price in dollars, or the two ends of its range.
        options: option name -> values, lower case, in the order they are shown.
        attributes: what the attribute reward compares with; not shown.
        category: one of a handful, e.g. "beauty".
        query: the search that found the product when the catalogue was collected, lower case.
        product_category: the path in the shop's tree, joined by " › ".
        instruction: the synthetic goals' instruction, None when there is none.
        instruction_attributes: the attributes that instruction asks for.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    price_tag: str
    pricing: tuple[float, ...]
    options: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    category: str
    query: str
    product_category: str
    instruction: str | None = None
    instruction_attributes: tuple[str, ...] = ()

    @property
    def document(self) -> str:
        """The text that the search engine indexes, lower case."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        return " ".join([self.title, self.description, self.bullets[0], options]).lower()

    def to_bytes(self) -> bytes:
        """One line of JSON without the newline."""
        values = [getattr(self, name) for name in self.__slots__]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Product:
        """The reverse of `to_bytes`."""
        values = json.loads(data)
        for index in (3, 5, 7, 12):
            values[index] = tuple(values[index])
        values[6] = {name: tuple(choices) for name, choices in values[6].items()}
        return cls(*values)


def is_left_out(row: Any) -> bool:
    """Whether the authors' rules leave a row out: its asin is "nan" or longer than ten characters."""
    asin = row.get("asin") if isinstance(row, dict) else None
    return isinstance(asin, str) and (asin == "nan" or len(asin) > LONGEST_ASIN)


def parse_product(row: Any, extra: Mapping[str, Any] | None) -> Product:
    """Makes a product from a row of `items_shuffle*.json`.

    Args:
        row: the row.
        extra: the product's entry in `items_ins_v2*.json`, None when it has none.

    Raises:
        MalformedRow: the row breaks the schema.
    """
    if not isinstance(row, dict):
        raise MalformedRow(f"it is a {type(row).__name__}, not an object")
    asin = _text(row, "asin")
    if not asin or not asin.isascii():
        raise MalformedRow(f"its asin is {asin!r}")
    bullets = row.get("small_description")
    bullets = [bullets] if isinstance(bullets, str) else bullets
    tag, pricing = parse_pricing(row.get("pricing"))
    instruction, wanted = _instruction(extra)
    return Product(
        asin=asin,
        title=_text(row, "name"),
        description=_text(row, "full_description"),
        bullets=_texts(bullets, "small_description") or ("",),
        price_tag=tag,
        pricing=pricing,
        options=_options(row.get("customization_options")),
        attributes=NO_ATTRIBUTES if extra is None or "attributes" not in extra else _attributes(extra, "attributes"),
        category=_text(row, "category"),
        query=_text(row, "query").lower().strip(),
        product_category=_text(row, "product_category"),
        instruction=instruction,
        instruction_attributes=wanted,
    )


def parse_pricing(pricing: Any) -> tuple[str, tuple[float, ...]]:
    """Price tag and prices: "$877.80", "$9.99$29.99" (a range), or nothing, which counts as 100 dollars.

    Raises:
        MalformedRow: it is none of these.
    """
    if pricing is None or pricing == "":
        return f"${_UNPRICED}", (_UNPRICED,)
    if not isinstance(pricing, str):
        raise MalformedRow(f"its pricing is {pricing!r}")
    try:
        prices = [float(Decimal(_NOT_A_NUMBER.sub("", part))) for part in pricing.split("$")[1:]]
    except InvalidOperation:
        prices = []
    if not prices:
        raise MalformedRow(f"its pricing is {pricing[:40]!r}")
    if len(prices) == 1:
        return f"${prices[0]}", (prices[0],)
    return f"${prices[0]} to ${prices[1]}", (prices[0], prices[1])


def _text(row: Mapping[str, Any], key: str) -> str:
    if key not in row:
        raise MalformedRow(f"it has no {key!r}")
    value = row[key]
    if not isinstance(value, str):
        raise MalformedRow(f"its {key!r} is {_shown(value)}, not text")
    return _writable(value, key)


def _writable(text: str, key: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise MalformedRow(f"its {key!r} holds half a character, {_shown(text)}") from None
    return text


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedRow(f"its {key!r} is {_shown(value)}, not a list of texts")
    return tuple(_writable(item, key) for item in value)


def _options(customization: Any) -> dict[str, tuple[str, ...]]:
    if not customization:
        return {}
    if not isinstance(customization, dict):
        raise MalformedRow(f"its 'customization_options' is {_shown(customization)}, not an object")
    options = {}
    for name, contents in customization.items():
        if contents is None:
            continue
        try:
            values = tuple(
                _writable(content["value"], name).strip().replace("/", " | ").lower() for content in contents
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise MalformedRow(f"its option {name!r} is {_shown(contents)}") from error
        options[_writable(name, "customization_options").lower()] = values
    return options


def _attributes(extra: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return _texts(extra[key], key)


def _instruction(extra: Mapping[str, Any] | None) -> tuple[str | None, tuple[str, ...]]:
    if extra is None or extra.get("instruction") is None:
        return None, ()
    return _text(extra, "instruction"), _texts(extra.get("instruction_attributes"), "instruction_attributes")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
