"""Metrics as JSON lines: `metrics.jsonl`, one line a step, safe to read while the run goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentdistill.appendfile import AppendFile, read_lines
from agentdistill.errors import DataError
from agentdistill.plugins import PluginConfig


class JsonlConfig(PluginConfig):
    """Options of the tracker.

    Attributes:
        file: name of the file in the run directory.
    """

    file: str = "metrics.jsonl"


class JsonlTracker:
    """Appends one line `{"step": 3, "loss": 0.25, …}` for each call of `log`.

    A line that was being written when the process was killed is cut off at the next start. JSON has no NaN: a
    non-finite number is written as the text "NaN", "Infinity" or "-Infinity", which `float()` reads back.

    Args:
        config: its options.
        directory: the run directory.

    Raises:
        DataError: another process writes the same file.
    """

    def __init__(self, config: JsonlConfig, directory: Path) -> None:
        self.path = directory / config.file
        self._file = AppendFile(self.path)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Records metrics.

        Args:
            step: optimiser steps done.
            metrics: numbers, text, or lists of these (curves by turn index), by name. NumPy and torch scalars are
                taken too.
        """
        line = {"step": int(step), **{name: _plain(name, value) for name, value in metrics.items()}}
        self._file.append(json.dumps(line, allow_nan=False, separators=(",", ":")).encode("ascii"))

    def truncate(self, step: int) -> None:
        """Drops every line from the first one after a step: a run resumed there logs those steps again.

        Raises:
            DataError: a complete line is no JSON object with a step.
        """
        for offset, line in _parsed(self.path):
            if line["step"] > step:
                self._file.truncate(offset)
                return

    def close(self) -> None:
        """Forces the lines to the disk and releases the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics file; a half-written last line is left out.

    Raises:
        DataError: a complete line is damaged; the message names file and line.
    """
    return [line for _, line in _parsed(path)]


def _parsed(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, offset, raw in read_lines(path):
        try:
            line = json.loads(raw)
            line["step"] = int(line["step"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path.name}, line {number}, is corrupt (file {path}).",
                f"It is no JSON object with a step: {error}.",
                "Remove that line to go on without it.",
            ) from error
        yield offset, line


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str | bool | None):
        return value
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(name, value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    raise DataError(
        f"The metric `{name}` is of type {type(value).__name__}, which cannot be logged.",
        "Metrics are numbers, text, or lists and dictionaries of these.",
        "Convert it where it is computed.",
    )
