from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from result_examples import result

from agentdistill.errors import DataError
from agentdistill.evaluate.result import load_result, save_result
from agentdistill.evaluate.statistics import wilson
from agentdistill.evaluate.table import as_text, headline, result_table
from agentdistill.records import StopReason


def test_the_numbers_follow_from_the_episodes() -> None:
    found = result("11010010")
    assert found.success == wilson(4, 8)
    assert found.success_by_type == {"find": wilson(2, 4), "heat": wilson(2, 4)}
    assert found.mean_steps.value == 20 and found.mean_steps_won.value == 10
    assert found.invalid_rate == pytest.approx(0.1)
    assert found.stops == {"success": 4, "env_limit": 4}
    assert (found.prompt_tokens, found.sampled_tokens) == (4000, 7 * 160)


def test_aborted_episodes_are_counted_apart() -> None:
    found = result("1100", stops={3: StopReason.ABORTED})
    assert found.aborted == 1 and found.success == wilson(2, 3)
    assert found.stops == {"success": 2, "env_limit": 1, "aborted": 1}
    text = as_text(result_table(found))
    assert "1 episodes aborted" in text and "counted as lost, success would be 50.0%" in text
    assert headline(found) == "toy/valid  success 0.67 [0.21, 0.94] of 3, 1 aborted"


def test_a_result_file_is_complete_and_comes_back(tmp_path: Path) -> None:
    found = result("110", stops={2: StopReason.CONTEXT_LIMIT})
    save_result(found, tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["summary"]["success"]["n"] == 3 and data["summary"]["stops"] == {"success": 2, "context_limit": 1}
    assert data["panel"] == {"name": "toy/valid", "hash": found.panel_hash, "tasks": 3}
    for back in (load_result(tmp_path / "results.json"), load_result(tmp_path)):
        assert back == found


def test_a_run_holds_two_results(tmp_path: Path) -> None:
    before, after = result("0100"), result("0111")
    run = {"before": before.to_dict(), "after": after.to_dict(), "totals": {}}
    (tmp_path / "results.json").write_text(json.dumps(run))
    assert load_result(tmp_path) == after and load_result(tmp_path, "before") == before
    (tmp_path / "results.json").write_text(json.dumps({**run, "after": None}))
    with pytest.raises(DataError, match="was not evaluated"):
        load_result(tmp_path)


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    save_result(result("0101"), tmp_path / "a")
    save_result(result("0101"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_unknown_is_null_in_the_summary(tmp_path: Path) -> None:
    found = result("00", stops={0: StopReason.ABORTED, 1: StopReason.ABORTED})
    save_result(found, tmp_path / "results.json")
    summary = json.loads((tmp_path / "results.json").read_text())["summary"]
    assert summary["success"] == {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    assert summary["invalid_rate"] is None and math.isnan(found.invalid_rate)
    assert "nothing was measured" in as_text(result_table(found))


def test_damaged_result_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(DataError, match="There is no result file"):
        load_result(path)
    path.write_text("{")
    with pytest.raises(DataError, match="is no result file"):
        load_result(path)
    path.write_text('{"version": 7}')
    with pytest.raises(DataError, match="format version 7"):
        load_result(path)
    save_result(result("0101"), path)
    data = json.loads(path.read_text())
    data["episodes"].pop()
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="the file was edited"):
        load_result(path)


def test_the_table_says_what_a_reader_needs() -> None:
    text = as_text(result_table(result("11010010")))
    for needed in (
        "find", "heat", "50.0%", "[21.5%, 78.5%]", "steps 20.0 mean, 10.0 when won", "invalid actions 10.0%",
        "stops: success 4, env_limit 4", "4,000 prompt, 1,120 sampled", "limit 30 steps", "temperature 0.4",
        "prompt abc123", "engine real", "student only, full depth",
    ):  # fmt: skip
        assert needed in text, needed
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 120


def test_what_the_panel_says_of_its_data_is_shown() -> None:
    note = "valid has 139 of the 140 published games"
    text = as_text(result_table(result("10", provenance={"panel": {"notes": [note]}})))
    assert f"note: {note}" in text


def test_names_are_not_read_as_markup() -> None:
    text = as_text(result_table(result("10", panel="toy/[bold]x[/bold]")))
    assert "toy/[bold]x[/bold]" in text
