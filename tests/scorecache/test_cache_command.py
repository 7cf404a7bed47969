"""`agentdistill cache stats | prune | verify`, for people and for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_score_store import FULL, some_scores
from test_teachers import cached, episodes, local

from agentdistill.cli.group import cli
from agentdistill.errors import ConfigError
from agentdistill.records import ScoreRequest
from agentdistill.scorecache import ScoreStore


def run(*arguments: str):
    return CliRunner(catch_exceptions=False).invoke(cli, ["cache", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    teacher = cached(local(), tmp_path, model="big")
    for seed in (0, 10):
        teacher.score(episodes(2, seed), ScoreRequest(top_k=2))
    ScoreStore(tmp_path / "nameless").add({"a": [some_scores()]}, FULL)
    return tmp_path


def test_stats(folder, monkeypatch) -> None:
    text = run("stats", "--folder", str(folder)).output
    assert "big (local," in text and "unknown" in text and str(folder) in text
    found = json.loads(run("stats", "--folder", str(folder), "--json").output)
    by_name = {teacher["name"]: teacher for teacher in found["teachers"]}
    big = by_name["big"]
    assert (big["packs"], big["episodes"], big["unreadable"]) == (2, 4, 0) and big["tokens"] > 0
    assert big["fingerprint"] == local().fingerprint
    assert found["bytes"] == sum(p.stat().st_size for p in folder.rglob("*.scores"))
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(folder / "nothing"))
    assert "No scores are kept" in run("stats").output
    assert json.loads(run("stats", "--json").output)["teachers"] == []


def test_prune(folder) -> None:
    home = str(folder)
    with pytest.raises(ConfigError, match="Nothing says what may go"):
        run("prune", "--folder", home)
    with pytest.raises(ConfigError, match="no folder 'x'"):
        run("prune", "--folder", home, "--teacher", "x")
    for bad in (("--max-size", "much"), ("--unused", "yesterday")):
        assert run("prune", "--folder", home, *bad).exit_code == 2
    assert "would remove 3 packs" in run("prune", "--folder", home, "--max-size", "0", "--dry-run").output
    removed = json.loads(run("prune", "--folder", home, "--teacher", "nameless", "--json").output)
    assert len(removed["removed"]) == 1 and removed["left"] == 0
    oldest = sorted(folder.rglob("*.scores"))[0]
    os.utime(oldest, (0, 0))
    assert "removed 1 packs" in run("prune", "--folder", home, "--unused", "30d").output and not oldest.exists()
    assert "removed 0 packs" in run("prune", "--folder", home, "--max-size", "1GB").output


def test_verify(folder) -> None:
    assert "3 packs, 5 whole episodes, 0 damaged" in run("verify", "--folder", str(folder)).output
    broken = sorted(folder.rglob("*.scores"))[0]
    broken.write_bytes(broken.read_bytes()[:-5])
    done = run("verify", "--folder", str(folder))
    assert done.exit_code == 1 and f"damaged  {broken.parent.name}/{broken.name}" in done.output
    found = json.loads(run("verify", "--folder", str(folder), "--json").output)
    assert [entry["pack"] for entry in found["damaged"]] == [f"{broken.parent.name}/{broken.name}"]
    assert run("verify", "--folder", str(folder), "--delete").exit_code == 0 and not broken.exists()
    assert run("verify", "--folder", str(folder)).exit_code == 0
