"""A visit to the shop: one goal, one page at a time, until something is bought."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentdistill_webshop import pages
from agentdistill_webshop.catalogue import Catalogue
from agentdistill_webshop.goals import Goal
from agentdistill_webshop.observation import plain_text, rich_text
from agentdistill_webshop.pages import Kind, Piece
from agentdistill_webshop.reward import Score, score_purchase

SEARCH_HINT = "search[<your query>]"
"""Stands for every search among the admissible actions, as in published prompts."""


class Page(StrEnum):
    """Where a visitor is."""

    SEARCH = "search"
    RESULTS = "results"
    ITEM = "item"
    SUB = "sub"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Click:
    """What a click does.

    Attributes:
        kind: what is clicked.
        name: the option's name, for options.
        place: number of the product, for links.
    """

    kind: Kind
    name: str = ""
    place: int = -1


def parse_action(action: str) -> tuple[str, str | None]:
    r"""Name and argument of `name[argument]`.

    The last bracket that can open does, and the last that closes; what follows is ignored, and so is everything
    after the first line: the authors' expression `(.+)\[(.+)\]`, in time linear in the action's length.

    Args:
        action: any text. White space around it does not matter (theirs refuses a blank before it).

    Returns:
        Name and argument; the action itself and None when it has not this form.
    """
    line = action.strip().partition("\n")[0]
    closing = line.rfind("]")
    opening = line.rfind("[", 1, closing - 1) if closing > 2 else -1
    return (line[:opening], line[opening + 1 : closing]) if opening > 0 else (action, None)


class Visit:
    """The state of one episode.

    Args:
        catalogue: the shop's products.
        goal: what is wanted.
        nouns: tells the nouns of a title.
        rich: observations are "text_rich" instead of "text".
    """

    def __init__(
        self, catalogue: Catalogue, goal: Goal, nouns: Callable[[str], Sequence[str]], *, rich: bool = False
    ) -> None:
        self._catalogue, self.goal, self._nouns, self._rich = catalogue, goal, nouns, rich
        self.page = Page.SEARCH
        self.keywords = ""
        self.results: tuple[int, ...] = ()
        self.number = 1
        self.place = -1
        self.sub = ""
        self.options: dict[str, str] = {}
        self.score: Score | None = None
        self._visited: dict[str, None] = {}
        self._clicks: dict[str, Click] | None = None

    def act(self, action: str) -> bool:
        """Does what an action says.

        Args:
            action: `search[keywords]`, on any page, or `click[something that can be clicked]`; upper and lower case
                are the same. Anything else changes nothing.

        Returns:
            Whether it was such an action.
        """
        name, argument = parse_action(action)
        if self.page is Page.DONE or argument is None:
            return False
        argument = argument.lower()
        if name == "search":
            self._search(argument)
        elif name == "click" and argument in self.clicks and argument != "search":
            self._click(argument, self.clicks[argument])
        else:
            return False
        self._clicks = None
        return True

    def _search(self, keywords: str) -> None:
        self.keywords = keywords
        self.results = self._catalogue.engine.search(keywords)
        self._open_results(1)

    def _open_results(self, number: int) -> None:
        self.page, self.number, self.place, self.options = Page.RESULTS, number, -1, {}

    def _click(self, what: str, click: Click) -> None:
        # Names of buttons come first, whatever carries them: an option called "description" opens the description.
        sub = next((name for name in pages.SUB_PAGES if name.lower() == what), "")
        if what == pages.BUY.lower():
            self._buy()
        elif what == pages.BACK.lower():
            self.page, self.keywords, self.results, self.place, self.options = Page.SEARCH, "", (), -1, {}
            self._visited = {}
        elif what == pages.NEXT.lower() and self.page is Page.RESULTS:
            self._open_results(self.number + 1)
        elif what == pages.PREVIOUS.lower():
            self._go_back()
        elif sub:
            self.page, self.sub = Page.SUB, sub
        elif click.kind is Kind.LINK:
            self.page, self.place = Page.ITEM, click.place
            self._visited[self._catalogue.product(click.place).asin] = None
        elif click.kind is Kind.OPTION:
            self.options[click.name] = what

    def _go_back(self) -> None:
        if self.page is Page.RESULTS:
            self._open_results(self.number - 1)
        elif self.page is Page.ITEM:
            self._open_results(self.number)
        else:
            self.page = Page.ITEM

    def _buy(self) -> None:
        product = self._catalogue.product(self.place)
        self.score = score_purchase(product, self.options, self._catalogue.price(self.place), self.goal, self._nouns)
        self.page = Page.DONE

    @property
    def shown(self) -> tuple[int, ...]:
        """Numbers of the products on this page of results."""
        return self.results[(self.number - 1) * pages.PER_PAGE : self.number * pages.PER_PAGE]

    def pieces(self) -> list[Piece]:
        """What stands on the page."""
        goal, product = self.goal.instruction, self._catalogue.product
        if self.page is Page.SEARCH:
            return list(pages.search_page(goal))
        if self.page is Page.RESULTS:
            found = [product(place) for place in self.shown]
            return list(pages.results_page(goal, found, self.number, len(self.results)))
        if self.page is Page.ITEM:
            return list(pages.item_page(goal, product(self.place)))
        if self.page is Page.SUB:
            return list(pages.sub_page(goal, product(self.place), self.sub))
        assert self.score is not None
        return list(pages.done_page(product(self.place).asin, self.options, self.score.reward))

    @property
    def address(self) -> str:
        """What the address of an item page says: asin, keywords, page, and the options as JSON."""
        if self.page is not Page.ITEM:
            return ""
        words = "+".join(self.keywords.split(" "))
        asin = self._catalogue.product(self.place).asin
        return f"item_page/{asin}/{words}/{self.number}/{json.dumps(self.options)}"

    def observation(self) -> str:
        """The page as text."""
        if self._rich:
            return rich_text(self.pieces(), self.address, self._visited)
        return plain_text(self.pieces())

    @property
    def clicks(self) -> dict[str, Click]:
        """What can be clicked, in the authors' order: buttons, products, options; of equal ones the last."""
        if self._clicks is None:
            self._clicks = self._find_clicks()
        return self._clicks

    def _find_clicks(self) -> dict[str, Click]:
        if self.page is Page.DONE:
            return {}
        found = {piece.text.lower(): Click(Kind.BUTTON) for piece in self.pieces() if piece.kind is Kind.BUTTON}
        if self.page is Page.RESULTS:
            for place in self.shown:
                found[self._catalogue.product(place).asin.lower()] = Click(Kind.LINK, place=place)
        if self.page is Page.ITEM:
            for name, values in self._catalogue.product(self.place).options.items():
                found.update({value: Click(Kind.OPTION, name=name) for value in values})
        return found

    def admissible(self) -> list[str]:
        """Actions that would do something: a search with the instruction's words, and every click that can be written.

        An option with an opening bracket in it cannot be clicked; the action grammar has no way to say it.
        """
        if self.page is Page.DONE:
            return []
        clicks = [f"click[{what}]" for what in self.clicks if what != "search"]
        offered = [action for action in clicks if parse_action(action)[1] in self.clicks]
        if self.page is Page.SEARCH:
            words = " ".join(self.goal.instruction.replace("[", " ").replace("]", " ").split()).lower()
            return [SEARCH_HINT, f"search[{words}]", *offered]
        return offered
