"""What we write, the standard library reads back."""

from __future__ import annotations

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdistill.config.toml import dump, format_value, parse_scalar

text = st.text(alphabet=st.characters(blacklist_categories=["Cs"]))
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(text, values, max_size=4))
def test_round_trip(table):
    assert tomllib.loads(dump(table)) == table


@given(scalars)
def test_a_written_scalar_is_read_from_the_command_line(value):
    assert parse_scalar(format_value(value)) == value


def test_special_values():
    assert math.isnan(parse_scalar("nan")) and parse_scalar("inf") == math.inf
    assert parse_scalar("True") == "True"
    assert parse_scalar("a = 1\nb") == "a = 1\nb"
    assert parse_scalar("5 # five") == "5 # five"
    with pytest.raises(TypeError, match="cannot hold a set"):
        format_value({1})


def test_comments_say_what_is_not_set():
    written = dump({"a": {"x": 1, "y": None}}, lambda path: f"from {path}")
    assert "x = 1  " in written and "# from a.x" in written and "# y is not set" in written
    assert tomllib.loads(written) == {"a": {"x": 1}}


def test_lists_of_sections_are_written_one_key_a_line():
    values = {"reward": [{"type": "outcome", "scale": None}, {"type": "judge", "of": {"rubric": "x"}}], "b": {"c": [1]}}
    written = dump(values, lambda path: f"from {path}" if path == "reward" else "")
    first, second = [{"type": "outcome"}, {"type": "judge", "of": {"rubric": "x"}}]
    assert tomllib.loads(written) == {"reward": [first, second], "b": {"c": [1]}}
    assert written.count("[[reward]]") == 2 and "[reward.of]" in written and "# from reward" in written
    assert max(map(len, written.splitlines())) < 30
