"""Fixtures of the ALFWorld tests: data where `$ALFWORLD_DATA` points, and few games where few are enough."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real_data(alfworld_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`$ALFWORLD_DATA` names the real games."""
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    return alfworld_data


@pytest.fixture
def few_games(alfworld_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies some real valid_seen games into a data folder of the test's own."""

    def copy(count: int = 3, root: Path | None = None) -> Path:
        source = alfworld_data / "json_2.1.1" / "valid_seen"
        root = root or tmp_path / "data"
        for trial in sorted(source.glob("*/*"))[:count]:
            shutil.copytree(trial, root / "json_2.1.1" / "valid_seen" / trial.relative_to(source))
        return root

    return copy
