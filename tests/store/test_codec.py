from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_strategies import infos, panels, rows, same, scores, trajectories

from agentdistill import codec
from agentdistill.errors import DataError
from agentdistill.records import Panel, Task, TeacherScores, TokenRow, Trajectory


def through_json(data: object) -> object:
    return json.loads(json.dumps(data, allow_nan=False))


@given(trajectories)
def test_a_trajectory_comes_back_to_the_bit(trajectory: Trajectory) -> None:
    assert same(codec.trajectory_from_dict(through_json(codec.trajectory_to_dict(trajectory))), trajectory)


@given(rows())
def test_a_row_comes_back_writable_and_in_native_order(row: TokenRow) -> None:
    back = codec.row_from_dict(through_json(codec.row_to_dict(row)))
    assert same(back, row)
    assert back.old_logprob.flags.writeable and back.old_logprob.dtype.isnative


@given(scores())
def test_scores_come_back_to_the_bit(score: TeacherScores) -> None:
    assert same(codec.scores_from_dict(through_json(codec.scores_to_dict(score))), score)


@given(panels)
def test_a_panel_comes_back_with_its_hash(panel: Panel) -> None:
    back = codec.panel_from_dict(through_json(codec.panel_to_dict(panel)))
    assert same(back, panel) and back.hash == panel.hash


@given(infos)
def test_free_values_keep_their_types(value: dict) -> None:
    assert same(codec.decode_value(through_json(codec.encode_value(value))), value)


@given(st.binary(max_size=40))
def test_numpy_scalars_become_numbers(data: bytes) -> None:
    encoded = codec.encode_value({"n": np.int64(len(data)), "x": np.float32(0.5), "b": np.bool_(True)})
    assert encoded == {"n": len(data), "x": 0.5, "b": True}


def test_what_is_no_plain_data_is_refused() -> None:
    with pytest.raises(DataError, match="type set cannot be stored"):
        codec.encode_value({"seen": {1, 2}})


def test_hidden_states_are_refused() -> None:
    score = TeacherScores(np.zeros(1, np.float32), np.ones(1, bool), hidden=np.zeros((1, 4)))
    with pytest.raises(DataError, match="hidden states"):
        codec.scores_to_dict(score)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(DataError, match="format version 99"):
        codec.trajectory_from_dict({"version": 99})


def test_an_edited_panel_is_refused() -> None:
    data = codec.panel_to_dict(Panel("p", (Task("e", "s", "one"), Task("e", "s", "two"))))
    data["tasks"].pop()
    with pytest.raises(DataError, match="does not match its own hash"):
        codec.panel_from_dict(data)


def test_an_array_cut_short_is_refused() -> None:
    packed = codec.encode_array(np.arange(5, dtype=np.int32))
    with pytest.raises(DataError, match="damaged"):
        codec.decode_array({**packed, "shape": [6]})


def test_a_typical_episode_is_small() -> None:
    """3,000 tokens of one row take less than their raw bytes (13 per token), base64 included."""
    generator = np.random.default_rng(0)
    mask = np.arange(3000) % 68 >= 60
    logprob = np.where(mask, -generator.exponential(0.3, 3000), np.nan).astype(np.float32)
    ids = generator.integers(0, 500, 3000).astype(np.int32)
    row = TokenRow(ids, np.where(mask, np.arange(3000) // 68, -1).astype(np.int32), mask, logprob)
    assert len(json.dumps(codec.row_to_dict(row))) < 3000 * 13
