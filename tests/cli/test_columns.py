"""Tables and prose fit the terminal they are printed on."""

from __future__ import annotations

import sys

import pytest

from agentdistill.cli.columns import columns, prose

ROWS = [("guided", "the teacher plays some turns, fewer with training, also inside a growing window"), ("pope", "")]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_terminal_wraps_the_last_column_inside_its_own(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    for margin in (0, 4):
        lines = columns(("NAME", "SUMMARY"), ROWS * 3 + [("x", "word " * 60)], margin).splitlines()
        assert max(map(len, lines[1:])) + margin <= width
        assert all(line[:8].isspace() or line[8] != " " for line in lines[1:] if len(line) > 8)


def test_elsewhere_a_row_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert len(columns(("NAME", "SUMMARY"), ROWS).splitlines()) == 3


def test_a_terminal_too_narrow_for_a_column_is_left_to_wrap_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    assert len(columns(("NAME", "SUMMARY"), ROWS).splitlines()) == 3


def test_prose_is_wrapped_and_formulas_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    formula = "    w_k = " + "x + " * 30 + "y"
    first, second, third = prose(f"{'word ' * 40}\n\n{formula}\n\n* one\n* two", 2).split("\n\n")
    assert max(map(len, first.splitlines())) <= 60 and all(line.startswith("  word") for line in first.splitlines())
    assert second == f"  {formula}" and third == "  * one\n  * two"
