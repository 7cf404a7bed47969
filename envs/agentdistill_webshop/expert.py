"""An expert that knows the product behind the instruction: finds it, chooses its options, buys it, from any state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from agentdistill_webshop.catalogue import Catalogue
from agentdistill_webshop.goals import Goal
from agentdistill_webshop.pages import BACK, BUY, NEXT, PER_PAGE, PREVIOUS
from agentdistill_webshop.product import Product
from agentdistill_webshop.reward import Score, matching_options, normalize_color, score_purchase, similar
from agentdistill_webshop.shop import Page, Visit, parse_action

_FAR = 2
"""Pages of somebody else's results that the expert leafs through before it searches itself."""


class Expert:
    """The way to one goal.

    Its searches use words of the instruction first, and the product's title only when those do not bring the product
    to the first page. It uses the search bar only where there is one.

    Args:
        catalogue: the shop's products.
        goal: what is wanted.
    """

    def __init__(self, catalogue: Catalogue, goal: Goal) -> None:
        self._catalogue, self._goal = catalogue, goal
        self.options = best_options(catalogue.product(goal.place), goal)
        self._query: str | None = None
        self._searched = False

    def action(self, visit: Visit) -> str | None:
        """What to do now, whatever was done so far; None when something was bought or no search finds the product."""
        target = self._goal.place
        if visit.page is Page.DONE:
            return None
        if visit.place == target:
            if visit.page is Page.SUB:
                return _click(PREVIOUS)
            missing = (value for name, value in self.options.items() if visit.options.get(name) != value)
            return _click(next(missing, BUY))
        if visit.page is Page.RESULTS and target in visit.results:
            page = visit.results.index(target) // PER_PAGE + 1
            if page == visit.number:
                return _click(self._goal.asin)
            if abs(page - visit.number) < _FAR or visit.keywords == self.query:
                return _click(NEXT if page > visit.number else PREVIOUS)
        if visit.page is not Page.SEARCH:
            return _click(BACK)
        return None if self.query is None else f"search[{self.query}]"

    @property
    def query(self) -> str | None:
        """The search that finds the product, None when there is none."""
        if not self._searched:
            self._searched, self._query = True, self._find_query()
        return self._query

    def _find_query(self) -> str | None:
        found: list[tuple[int, int, str]] = []
        for order, query in enumerate(self._queries()):
            results = self._catalogue.engine.search(query)
            if self._goal.place in results:
                page = results.index(self._goal.place) // PER_PAGE
                if page == 0:
                    return query
                found.append((page, order, query))
        return min(found)[2] if found else None

    def _queries(self) -> Iterator[str]:
        goal, product = self._goal, self._catalogue.product(self._goal.place)
        options = goal.options.values() if isinstance(goal.options, dict) else goal.options
        for query in (
            " ".join([*goal.attributes, goal.query, *options]),
            goal.instruction.rpartition(", and price lower than")[0] or goal.instruction,
            product.title,
            f"{product.title} {product.bullets[0]}",
        ):
            words = " ".join(query.replace("[", " ").replace("]", " ").split()).lower()
            if words:
                yield words


def best_options(product: Product, goal: Goal) -> dict[str, str]:
    """The options of a product to choose for a goal: as few as meet as many of its wishes as possible.

    Args:
        product: the product.
        goal: the goal.

    Returns:
        Option name -> value, in the order of the product's page.
    """
    wishes = list(goal.wanted_options)
    # A value that stands in two lists belongs to the last of them; one with a bracket cannot be clicked.
    names = {value: name for name, values in product.options.items() for value in values}
    values = [value for value in names if parse_action(_click(value))[1] == value]
    best: dict[str, str] = {}

    def choose(index: int, chosen: dict[str, str]) -> None:
        nonlocal best
        if index == len(wishes):
            if matching_options(chosen.values(), wishes) > matching_options(best.values(), wishes):
                best = dict(chosen)
            return
        if matching_options(best.values(), wishes) == len(wishes):
            return
        if not matching_options(chosen.values(), [wishes[index]]):
            for value in _candidates(values, wishes[index]):
                if names[value] not in chosen:
                    choose(index + 1, {**chosen, names[value]: value})
        choose(index + 1, chosen)

    choose(0, {})
    return {name: best[name] for name in product.options if name in best}


def _candidates(values: Sequence[str], wish: object) -> list[str]:
    """Values that meet a wish: the very same first, then the most alike in length."""
    wanted = str(wish[1] if isinstance(wish, tuple) else wish).lower()
    meet = [value for value in values if similar(normalize_color(value), normalize_color(wish))]
    return sorted(meet, key=lambda value: (value != wanted, abs(len(value) - len(wanted))))[:4]


def best_score(catalogue: Catalogue, goal: Goal, nouns: Callable[[str], Sequence[str]]) -> Score:
    """The reward of a goal's own product with the best options; below 1 the goal cannot be reached that way."""
    product = catalogue.product(goal.place)
    options: Mapping[str, str] = best_options(product, goal)
    return score_purchase(product, options, catalogue.price(goal.place), goal, nouns)


def _click(what: str) -> str:
    return f"click[{what.lower()}]"
