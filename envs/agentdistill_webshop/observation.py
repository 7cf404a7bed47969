"""A page as the agent reads it: byte for byte what the authors' environment makes of its HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agentdistill_webshop.pages import Kind, Piece

_SEPARATOR = " [SEP] "
_WHITE_SPACE = " \n\t\f\r"


def plain_text(pieces: Iterable[Piece]) -> str:
    """Mode "text": the pieces, without white space around them, joined by [SEP]."""
    return _SEPARATOR.join(text.strip() for _, text in _parsed(pieces))


def rich_text(pieces: Iterable[Piece], address: str, visited: Collection[str]) -> str:
    """Mode "text_rich": a line for each piece; what can be clicked, and what was, is marked.

    Args:
        pieces: the page.
        address: its address; an option counts as clicked when the address has it in quotes.
        visited: asins whose pages were opened since the last new search bar.
    """
    lines: list[str] = []
    clicked: list[str] = []
    for piece, text in _parsed(pieces):
        if piece.kind is Kind.BUTTON:
            lines.append(f"[button] {text} [button_]\n")
        elif piece.kind is Kind.OPTION and f'"{text}"' in address:
            lines.append(f"  [clicked button] {text} [clicked button_]\n")
            clicked.append(f"You have clicked {text}.\n")
        elif piece.kind is Kind.OPTION:
            lines.append(f"  [button] {text} [button_]\n")
        elif piece.kind is Kind.LINK:
            mark = "clicked button" if text in visited else "button"
            lines.append(f"\n[{mark}] {text} [{mark}_]\n")
        else:
            lines.append(f"{text}\n")
    return "".join([*reversed(clicked), *lines])


def _parsed(pieces: Iterable[Piece]) -> Iterable[tuple[Piece, str]]:
    """The texts as an HTML parser finds them: none is empty, and white space alone is one blank or no text at all."""
    for piece in pieces:
        text = piece.text
        if not text.strip(_WHITE_SPACE) and not piece.verbatim:
            if not text or "\n" in text:
                continue
            text = " "
        if text and text != "\n":
            yield piece, text
