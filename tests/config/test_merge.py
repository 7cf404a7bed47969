"""Layers as a whole, for any layers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdistill.config.merge import merge, nest, origin_of
from agentdistill.config.resolved import Origin, leaves
from agentdistill.errors import ConfigError

keys = st.sampled_from(["a", "b", "type"])
tables: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    keys,
    st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=5),
    max_size=3,
)
FIRST, SECOND = Origin("file", "first"), Origin("file", "second")


@given(tables, tables)
def test_the_last_layer_is_there_in_full(first, second):
    merged, _ = merge([(first, FIRST), (second, SECOND)], ["a", "a.b"])
    mine = dict(leaves(merged))
    for path, value in leaves(second):
        assert mine.get(path) == value or (value == {} and any(known.startswith(f"{path}.") for known in mine))


@given(tables, tables)
def test_every_value_has_the_origin_of_its_layer(first, second):
    merged, origins = merge([(first, FIRST), (second, SECOND)], ["a", "a.b"])
    written = dict(leaves(second))
    for path, value in leaves(merged):
        found = origin_of(path, origins)
        assert found in (FIRST, SECOND)
        if written.get(path) == value and value != {}:
            assert found == SECOND
        if path not in written and value != {}:
            assert found == FIRST


@given(tables)
def test_a_layer_merged_with_itself_is_itself(layer):
    assert merge([(layer, FIRST), (layer, SECOND)], ["a", "a.b"])[0] == layer


@given(tables)
def test_dotted_keys_are_the_same_as_nested_ones(layer):
    assert nest(dict(leaves(layer))) == layer


def test_a_layer_without_type_keeps_the_type_and_adds():
    merged, _ = merge([({"a": {"type": "x", "k": 1}}, FIRST), ({"a": {"k": 2}}, SECOND)], ["a"])
    assert merged == {"a": {"type": "x", "k": 2}}
    merged, _ = merge([({"a": {"k": 1}}, FIRST), ({"a": {"type": "x"}}, SECOND)], ["a"])
    assert merged == {"a": {"type": "x", "k": 1}}


@pytest.mark.parametrize("overrides", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}, {"a..b": 1}, {".": 1}])
def test_contradictions_are_errors(overrides):
    with pytest.raises(ConfigError):
        nest(overrides)
