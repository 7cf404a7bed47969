"""Aligned columns of plain text: lists must be quick, and rich takes longer to import than they take to print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

import click


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned cells. On a terminal the last column is cut to the width; elsewhere nothing is.

    Args:
        header: column titles.
        rows: cells, as many in each row as there are titles.
    """
    table = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(header) - 1)]
    room = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths) if sys.stdout.isatty() else 0
    lines = []
    for number, row in enumerate(table):
        last = row[-1] if room < 20 or len(row[-1]) <= room else row[-1][: room - 1] + "…"
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), last]).rstrip()
        lines.append(click.style(line, bold=True) if number == 0 else line)
    return "\n".join(lines)
