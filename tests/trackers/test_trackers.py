from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from agentdistill.errors import DataError
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill_trackers.jsonl import JsonlConfig, JsonlTracker, read_metrics
from agentdistill_trackers.none import NullTracker


def tracker(directory: Path) -> JsonlTracker:
    return JsonlTracker(JsonlConfig(), directory=directory)


def steps(path: Path) -> list[int]:
    return [line["step"] for line in read_metrics(path)]


@pytest.mark.parametrize("name", ["jsonl", "none"])
def test_trackers_are_found_by_name(tmp_path: Path, name: str) -> None:
    made = PluginRegistry.load(third_party=False).build("tracker", {"type": name}, directory=tmp_path)
    made.log(1, {"loss": 0.5})
    made.truncate(0)
    made.close()
    assert steps(tmp_path / "metrics.jsonl") == []


def test_metrics_are_lines_as_they_were(tmp_path: Path) -> None:
    made = tracker(tmp_path)
    made.log(1, {"loss": 0.1, "kl/turn": [0.5, 0.25], "note": "é", "n": np.int64(3), "w": torch.tensor([1.0, 2.0])})
    made.log(2, {"loss": math.nan, "high": np.float32("inf"), "low": -math.inf})
    first, second = read_metrics(made.path)
    assert first == {"step": 1, "loss": 0.1, "kl/turn": [0.5, 0.25], "note": "é", "n": 3, "w": [1.0, 2.0]}
    assert second == {"step": 2, "loss": "NaN", "high": "Infinity", "low": "-Infinity"}
    assert math.isnan(float(second["loss"])) and float(second["low"]) == -math.inf
    with pytest.raises(DataError, match="metric `model` is of type object"):
        made.log(3, {"model": object()})
    assert steps(made.path) == [1, 2]
    made.close()


def test_a_resumed_run_logs_later_steps_again(tmp_path: Path) -> None:
    made = tracker(tmp_path)
    for step in range(1, 6):
        made.log(step, {"x": step})
    made.truncate(3)
    made.log(4, {"x": -4})
    made.truncate(9)
    assert [(line["step"], line["x"]) for line in read_metrics(made.path)] == [(1, 1), (2, 2), (3, 3), (4, -4)]
    made.close()


def test_a_torn_line_is_cut_at_any_byte(tmp_path: Path) -> None:
    made = tracker(tmp_path)
    made.log(1, {"x": 1})
    made.log(2, {"x": 2})
    made.close()
    whole = made.path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        made.path.write_bytes(whole[:cut])
        assert steps(made.path) == [1]
        again = tracker(tmp_path)
        again.log(3, {})
        again.close()
        assert steps(made.path) == [1, 3]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"loss": 2}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2, is corrupt"):
        read_metrics(path)


def test_two_runs_do_not_mix_their_lines(tmp_path: Path) -> None:
    made = tracker(tmp_path)
    with pytest.raises(DataError, match="another process"):
        tracker(tmp_path)
    made.close()


def test_the_null_tracker_leaves_nothing(tmp_path: Path) -> None:
    tracker = NullTracker(PluginConfig(), directory=tmp_path)
    tracker.log(1, {"loss": 0.5})
    tracker.truncate(0)
    tracker.close()
    assert not list(tmp_path.iterdir())
