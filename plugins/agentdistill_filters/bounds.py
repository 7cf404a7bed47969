"""How many tokens of each domain may be kept so that every domain's share lies within bounds."""

from __future__ import annotations

from collections.abc import Mapping

HALVINGS = 100
"""Of an interval: enough for any float."""


def tokens_within(
    sizes: Mapping[str, int], at_least: Mapping[str, float], at_most: Mapping[str, float]
) -> dict[str, int] | None:
    """The most tokens that can be kept under bounds on shares, by domain.

    Args:
        sizes: tokens of each domain that is there.
        at_least: smallest shares; a domain that is not there cannot have its own.
        at_most: largest shares.

    Returns:
        Tokens of each domain: in proportion to what it has, inside its bounds; None when no positive number of tokens
        meets them.
    """
    if not sizes:
        return {}
    least = {name: at_least.get(name, 0.0) for name in sizes}
    most = {name: at_most.get(name, 1.0) for name in sizes}
    if any(name not in sizes for name in at_least) or sum(most.values()) < 1.0 - 1e-9:
        return None
    total = _largest(sizes, least, most)
    low = {name: least[name] * total for name in sizes}
    high = {name: min(float(size), most[name] * total) for name, size in sizes.items()}
    begin, end = 0.0, 1.0
    for _ in range(HALVINGS):
        scale = (begin + end) / 2
        given = sum(min(max(scale * size, low[name]), high[name]) for name, size in sizes.items())
        begin, end = (scale, end) if given <= total else (begin, scale)
    return {name: int(min(max(end * size, low[name]), high[name]) + 1e-6) for name, size in sizes.items()}


def _largest(sizes: Mapping[str, int], least: Mapping[str, float], most: Mapping[str, float]) -> float:
    """The largest number of tokens that the bounds allow: a concave condition that holds at 0, so an interval."""

    def possible(total: float) -> bool:
        given = sum(min(float(size), most[name] * total) for name, size in sizes.items())
        return given >= total * (1.0 - 1e-12)

    begin = 0.0
    end = min([float(sum(sizes.values())), *(size / least[name] for name, size in sizes.items() if least[name])])
    if possible(end):
        return end
    for _ in range(HALVINGS):
        middle = (begin + end) / 2
        begin, end = (middle, end) if possible(middle) else (begin, middle)
    return begin
