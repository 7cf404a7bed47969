from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentdistill import atomic
from agentdistill.errors import DataError


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    atomic.write_json(target, {"b": 1, "a": "é"})
    atomic.write_json(target, {"b": 2})
    assert json.loads(target.read_text()) == {"b": 2}
    with pytest.raises(ValueError):
        atomic.write_json(target, {"b": float("nan")})
    assert json.loads(target.read_text()) == {"b": 2} and visible(tmp_path) == ["results.json"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    atomic.write_text(target, "old")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        atomic.write_text(target, "new")
    assert target.read_text() == "old" and visible(tmp_path) == ["file"]


def test_a_directory_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "step-1"
    with atomic.atomic_directory(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_text("w")
        assert not target.exists()
    assert (target / "deep" / "weights").read_text() == "w" and visible(target.parent) == ["step-1"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.atomic_directory(tmp_path / "x") as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert visible(tmp_path) == []


def test_an_existing_directory_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(DataError, match="exists"), atomic.atomic_directory(target):
        pass
    assert visible(target) == ["old"] and visible(tmp_path) == ["x"]
