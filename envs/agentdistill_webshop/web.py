"""The shop as a local web page: for a person with a browser, and the reward in plain sight.

An address holds a goal and everything that was done since, so the server remembers nothing: the browser's back button
works, and an address can be sent to somebody.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import click

from agentdistill.errors import AgentDistillError, ConfigError
from agentdistill.records import Task
from agentdistill_webshop import pages
from agentdistill_webshop.config import GeneratedConfig, WebshopConfig
from agentdistill_webshop.expert import Expert
from agentdistill_webshop.pages import Kind, Piece
from agentdistill_webshop.shop import Page, Visit
from agentdistill_webshop.source import NAME, WebshopSource

LONGEST = 200
"""Actions that an address may hold."""

_LISTED = 40
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
a.button{display:inline-block;padding:.2rem .7rem;margin:.15rem;border:1px solid #888;border-radius:.4rem;color:#222;
text-decoration:none;background:#f4f4f4}a.button:hover{background:#e4ecff}a.chosen{background:#2b5fd9;color:#fff}
#instruction{background:#fff8dc;padding:.7rem 1rem;border-radius:.4rem}.hit{margin:.7rem 0}.reward{font-size:1.6rem}
input[type=text]{width:28rem;padding:.4rem}small{color:#666}
"""


class ShopServer(ThreadingHTTPServer):
    """Serves one catalogue on this machine only.

    Args:
        source: the shop and its goals.
        split: the split whose goals are offered.
        port: port to listen on; 0 takes any that is free.
    """

    daemon_threads = True

    def __init__(self, source: WebshopSource, split: str, port: int = 0) -> None:
        self.source, self.split = source, split
        self.tasks = source.tasks(split)
        # The catalogue remembers what was asked for, and its memory is not made for several threads.
        self._turn = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Where to point the browser."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def page(self, query: str) -> str:
        """The page of an address.

        Args:
            query: what follows the question mark: `goal`, and one `do` for each action; `search` is one, too.

        Raises:
            AgentDistillError: there is no such goal, or too much was done.
        """
        with self._turn:
            return self._page(parse_qsl(query, keep_blank_values=True))

    def _page(self, fields: list[tuple[str, str]]) -> str:
        key = next((value for name, value in fields if name == "goal"), None)
        if key is None:
            return self._list_goals()
        actions = [f"search[{value}]" if name == "search" else value for name, value in fields if name in _ACTIONS]
        if len(actions) > LONGEST:
            raise ConfigError(f"An address holds at most {LONGEST} actions.", do="Begin again.")
        source = self.source
        visit = Visit(source.catalogue, source.goal(Task(NAME, self.split, key)), source.tagger[1])
        for action in actions:
            visit.act(action)
        return _document(_Shown(visit, Expert(source.catalogue, visit.goal), key, actions).body())

    def _list_goals(self) -> str:
        lines = ["<h1>WebShop</h1><p>Choose what to shop for:</p><ol id='goals'>"]
        for task in self.tasks[:_LISTED]:
            instruction = html.escape(self.source.goal(task).instruction)
            lines.append(f"<li><a href='/?{urlencode({'goal': task.key})}'>{instruction}</a></li>")
        return _document("".join([*lines, "</ol>"]))


_ACTIONS = ("do", "search")


class _Shown:
    """A visit as HTML."""

    def __init__(self, visit: Visit, expert: Expert, key: str, actions: Sequence[str]) -> None:
        self._visit, self._key, self._actions = visit, key, actions
        self._expert = expert

    def _link(self, action: str, text: str, style: str = "button") -> str:
        fields = [("goal", self._key), *(("do", done) for done in self._actions), ("do", action)]
        return f"<a class='{style}' href='/?{html.escape(urlencode(fields))}'>{html.escape(text)}</a>"

    def body(self) -> str:
        """What stands between the tags `body`."""
        visit = self._visit
        parts = [f"<p id='instruction'>{html.escape(visit.goal.instruction)}</p>"]
        if visit.page is Page.DONE:
            return "".join([*parts, self._verdict()])
        if visit.page is Page.SEARCH:
            parts.append(self._search_bar())
        for piece in visit.pieces()[3 if visit.page is Page.SEARCH else 2 :]:
            parts.append(self._piece(piece))
        advice = html.escape(self._expert.action(visit) or "give up: no search finds the product")
        parts.append(f"<hr><details><summary>What would an expert do?</summary><p id='advice'>{advice}</p></details>")
        return "".join(parts)

    def _piece(self, piece: Piece) -> str:
        text = piece.text
        if piece.kind is Kind.BUTTON:
            return "" if text == pages.SEARCH else self._link(f"click[{text}]", text)
        if piece.kind is Kind.LINK:
            return f"<div class='hit'>{self._link(f'click[{text}]', text)}</div>"
        if piece.kind is Kind.OPTION:
            chosen = text in self._visit.options.values()
            return self._link(f"click[{text}]", text, "button chosen" if chosen else "button")
        return f"<div>{html.escape(text)}</div>"

    def _search_bar(self) -> str:
        kept = [("goal", self._key), *(("do", done) for done in self._actions)]
        hidden = "".join(f"<input type='hidden' name='{name}' value='{html.escape(value)}'>" for name, value in kept)
        return (
            f"<form action='/' method='get'>{hidden}<input type='text' name='search' id='search' autofocus>"
            "<button id='go'>Search</button></form>"
        )

    def _verdict(self) -> str:
        score = self._visit.score
        assert score is not None
        facts = score.to_dict().items()
        rows = "".join(f"<tr><td>{name}</td><td>{html.escape(str(value))}</td></tr>" for name, value in facts)
        return (
            "<h1>Thank you for shopping with us!</h1>"
            f"<p class='reward'>Your score: <b id='reward'>{score.reward}</b></p><table>{rows}</table>"
            f"<p>The goal was written for <b>{html.escape(self._visit.goal.title)}</b>.</p>"
            "<p><a href='/'>Another goal</a></p>"
        )


class _Handler(BaseHTTPRequestHandler):
    """Answers `GET /`, by this machine's own names only: no page elsewhere can reach in by a name that it owns."""

    server: ShopServer
    server_version = "WebShop"
    sys_version = ""

    def do_GET(self) -> None:
        """A page, or what is wrong with the address."""
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        address = urlsplit(self.path)
        if host not in ("127.0.0.1", "localhost"):
            self._answer(HTTPStatus.FORBIDDEN, _document("<p>This shop is open to this machine only.</p>"))
        elif address.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, _document("<p>There is no such page. <a href='/'>Begin here.</a></p>"))
        else:
            try:
                self._answer(HTTPStatus.OK, self.server.page(address.query))
            except AgentDistillError as error:
                self._answer(HTTPStatus.BAD_REQUEST, _document(f"<p id='error'>{html.escape(str(error))}</p>"))

    def _answer(self, status: HTTPStatus, text: str) -> None:
        data = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal belongs to whoever opened the shop."""


def _document(body: str) -> str:
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>WebShop</title>"
        f"<link rel='icon' href='data:,'><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


@click.command()
@click.option("--data", metavar="DIR", help="Folder with the original files (default: a generated catalogue).")
@click.option("--products", type=click.IntRange(min=1), default=1000, show_default=True, help="Products to generate.")
@click.option("--goals", type=click.Choice(["human", "synthetic"]), default="human", show_default=True)
@click.option("--split", default="test", show_default=True, help="Split whose goals are offered.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
def shop(data: str | None, products: int, goals: str, split: str, port: int) -> None:
    """Open WebShop as a local web page and shop in a browser; the reward is shown after the purchase."""
    config = WebshopConfig.model_validate(
        {"data": data, "goals": goals, "generated": GeneratedConfig(products=products), "split": split}
    )
    try:
        server = ShopServer(WebshopSource(config), split, port)
    except OSError as error:
        raise ConfigError(
            f"The shop cannot listen on port {port}.", f"{error.strerror}.", "Choose another --port, or 0 for any."
        ) from error
    with server:
        click.echo(f"WebShop is open at {server.address} (Ctrl-C closes it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("closed")


if __name__ == "__main__":
    shop()
