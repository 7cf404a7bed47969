"""Writes catalogues for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_files(folder: Path, items: Any, attributes: Any, human: Any) -> Path:
    """Writes a catalogue as original files."""
    folder.mkdir(exist_ok=True)
    (folder / "items_shuffle.json").write_text(json.dumps(items))
    (folder / "items_ins_v2.json").write_text(json.dumps(attributes))
    (folder / "items_human_ins.json").write_text(json.dumps(human))
    return folder
