from __future__ import annotations

from pathlib import Path

import pytest
from result_examples import PROTOCOL, result

from agentdistill.errors import DataError
from agentdistill.evaluate.compare import compare
from agentdistill.evaluate.result import load_result, save_result
from agentdistill.evaluate.table import as_text, comparison_table, p_text, paired_line
from agentdistill.records import StopReason


def test_tasks_are_paired() -> None:
    found = compare(result("1100" * 5), result("1111" * 4 + "0111"))
    assert (found.overall.gained, found.overall.lost, found.overall.both, found.overall.neither) == (10, 1, 9, 0)
    assert list(found.by_type) == ["find", "heat"] and found.by_type["find"].n == 10
    assert found.left_out == 0 and found.differences == ()
    text = as_text(comparison_table(found, "teacher [x]", "student"))
    assert "teacher [x]" in text and "+10 won, 1 lost of 20" in text and "p = 0.012" in text
    assert max(map(len, text.splitlines())) <= 120


def test_an_episode_aborted_on_either_side_is_left_out() -> None:
    found = compare(result("1100", stops={0: StopReason.ABORTED}), result("1111", stops={3: StopReason.ABORTED}))
    assert found.overall.n == 2 and found.left_out == 2
    assert "2 tasks left out" in as_text(comparison_table(found))


def test_other_panels_are_refused() -> None:
    with pytest.raises(DataError, match=r"different panels.*4 tasks.*and 5\."):
        compare(result("1100"), result("11000"))


def test_another_protocol_is_refused_and_named_and_may_be_allowed(tmp_path: Path) -> None:
    environment = {**PROTOCOL["environment"], "engine": "fast"}  # type: ignore[dict-item]
    other = result("1111", protocol={**PROTOCOL, "temperature": 1.0, "environment": environment, "extra": True})
    with pytest.raises(DataError) as caught:
        compare(result("1100"), other)
    message = str(caught.value)
    for named in ("temperature: 0.4 -> 1.0", "environment.engine: real -> fast", "extra: (not stated) -> True"):
        assert named in message
    assert "max_steps" not in message
    with pytest.raises(DataError, match="extra"):
        compare(result("1100"), other, allow=["temperature", "environment"])
    found = compare(result("1100"), other, allow=["temperature", "environment", "extra"])
    assert found.overall.gained == 2 and "temperature: 0.4 -> 1.0" in found.differences
    assert "allowed difference of the protocol: temperature" in as_text(comparison_table(found))


def test_the_same_tasks_over_other_data_are_refused() -> None:
    one, other = ({"panel": {"hash": name, "notes": []}} for name in ("aaa", "bbb"))
    with pytest.raises(DataError, match=r"panel\.hash: aaa -> bbb"):
        compare(result("1100", provenance=one), result("1100", provenance=other))
    assert compare(result("1100", provenance=one), result("1100", provenance=one)).differences == ()
    assert compare(result("10", provenance=one), result("10", provenance=other), allow=["panel"]).overall.n == 2


def test_a_result_from_disk_compares_with_one_just_measured(tmp_path: Path) -> None:
    protocol = {**PROTOCOL, "environment": {"splits": ("a", "b")}}
    save_result(result("1100", protocol=protocol), tmp_path / "results.json")
    assert compare(load_result(tmp_path), result("1101", protocol=protocol)).overall.gained == 1


def test_p_values_as_readers_expect_them() -> None:
    assert [p_text(p) for p in (1.0, 0.0123, 0.0005, 3.2e-7, 1e-310)] == [
        "p = 1.000", "p = 0.012", "p = 0.001", "p = 3e-07", "p < 1e-300",
    ]  # fmt: skip
    assert paired_line(compare(result("00000000"), result("11111111")).overall).endswith("p = 0.008 (exact McNemar)")
