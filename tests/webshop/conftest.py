"""Small catalogues, each built once for the whole session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from write_webshop import write_files

from agentdistill_webshop.config import GeneratedConfig, WebshopConfig
from agentdistill_webshop.source import WebshopSource

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def shop(own_cache: Path) -> WebshopSource:
    """A generated catalogue with every split."""
    return WebshopSource(WebshopConfig(generated=GeneratedConfig(products=420)))


@pytest.fixture(scope="session")
def transcripts() -> dict[str, Any]:
    """What the authors' program answered on made-up products."""
    found: dict[str, Any] = json.loads((HERE / "authors_transcripts.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def transcript_files(transcripts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transcripts' products as original files."""
    return write_files(
        tmp_path_factory.mktemp("original"), transcripts["items"], transcripts["attributes"], transcripts["human"]
    )
