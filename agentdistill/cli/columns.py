"""Aligned columns of plain text: lists must be quick, and rich takes longer to import than they take to print."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

NARROW = 20
"""Characters of the last column below which a terminal is too narrow to wrap for."""


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], margin: int = 0) -> str:
    """Lines of aligned cells. On a terminal the last column is wrapped inside its own; elsewhere a row is a line.

    Args:
        header: column titles.
        rows: cells, as many in each row as there are titles.
        margin: characters that the caller puts in front of every line.
    """
    table = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(header) - 1)]
    indent = sum(widths) + 2 * len(widths)
    room = shutil.get_terminal_size().columns - margin - indent if sys.stdout.isatty() else 0
    lines = []
    for number, row in enumerate(table):
        first, *more = (textwrap.wrap(row[-1], room) if room >= NARROW else []) or [row[-1]]
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), first]).rstrip()
        lines.append(click.style(line, bold=True) if number == 0 else line)
        lines += [" " * indent + rest for rest in more]
    return "\n".join(lines)


def prose(text: str, margin: int = 0) -> str:
    """Text with its paragraphs wrapped to the terminal, at most 100 wide; lists and indented formulas stay."""
    width = min(shutil.get_terminal_size().columns, 100) - margin

    def paragraph(part: str) -> str:
        formed = any(line.startswith((" ", "*", "|")) for line in part.splitlines())
        return part if formed else textwrap.fill(part, width, break_long_words=False, break_on_hyphens=False)

    return textwrap.indent("\n\n".join(map(paragraph, text.split("\n\n"))), " " * margin)
