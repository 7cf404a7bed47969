from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from result_examples import ListSource

from agentdistill.errors import ConfigError, DataError
from agentdistill.evaluate.panel import limit_panel, load_panel, resolve_panel, save_panel
from agentdistill.plugins import PluginRegistry
from agentdistill.records import Panel, Task

PLUGIN = '''
from agentdistill import hookimpl
from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel

class HardConfig(PluginConfig):
    """Options."""
    count: int = 3

def hard(source, config):
    return Panel("toy/hard", tuple(source.tasks("valid")[: config.count]))

@hookimpl
def agentdistill_register_benchmarks(register):
    register("toy/hard", "toy_benchmarks:hard", config="toy_benchmarks:HardConfig")
'''


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginRegistry:
    (tmp_path / "toy_benchmarks.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_benchmarks", raising=False)
    return PluginRegistry.load(["toy_benchmarks"], third_party=False)


def test_a_split_is_a_panel() -> None:
    panel = resolve_panel("toy/valid", source=ListSource())
    assert panel.name == "toy/valid" and len(panel.tasks) == 40
    assert panel.provenance == {"engine": "list", "games": 40}


def test_a_registered_benchmark_comes_first(registry: PluginRegistry) -> None:
    panel = resolve_panel("toy/hard", source=ListSource(), registry=registry)
    assert [task.key for task in panel.tasks] == ["game-000", "game-001", "game-002"]


def test_unknown_panels_say_what_there_is(registry: PluginRegistry) -> None:
    for name in ("other/valid", "valid", "toy/"):
        with pytest.raises(ConfigError, match=r"no panel .* `toy`.*toy/hard"):
            resolve_panel(name, source=ListSource(), registry=registry)
    with pytest.raises(DataError, match="no split nothing"):
        resolve_panel("toy/nothing", source=ListSource())


def test_limits_are_nested_ordered_spread_and_named() -> None:
    whole = resolve_panel("toy/valid", source=ListSource(200))
    small, large = limit_panel(whole, 20), limit_panel(whole, 50)
    assert small.name == "toy/valid (20 of 200)" and len(small.tasks) == 20
    assert [t for t in large.tasks if t in small.tasks] == list(small.tasks)
    positions = [whole.tasks.index(task) for task in large.tasks]
    assert positions == sorted(positions)
    assert all(sum(start <= p < start + 50 for p in positions) >= 5 for start in (0, 50, 100, 150))
    assert small.provenance["limited_from"] == whole.hash and small.hash != whole.hash
    assert limit_panel(whole, 200) is whole
    assert resolve_panel("toy/valid", source=ListSource(200), limit=20).hash == small.hash


def test_a_limit_is_the_same_on_every_machine() -> None:
    """The very tasks, so that a change of the rule cannot go unnoticed."""
    panel = limit_panel(resolve_panel("toy/valid", source=ListSource()), 5)
    assert [task.seed for task in panel.tasks] == [22, 25, 28, 30, 36]


def test_empty_and_double_panels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no tasks"):
        resolve_panel("toy/valid", source=ListSource(0))
    with pytest.raises(ConfigError, match="at least 1"):
        resolve_panel("toy/valid", source=ListSource(), limit=0)
    task = Task("toy", "valid", "one")
    save_panel(Panel("mine", (task, task)), tmp_path / "p.json")
    with pytest.raises(DataError, match="`one` twice"):
        resolve_panel(str(tmp_path / "p.json"), source=ListSource())


def test_panel_files(tmp_path: Path) -> None:
    panel = limit_panel(resolve_panel("toy/valid", source=ListSource()), 7)
    path = tmp_path / "panel.json"
    save_panel(panel, path)
    assert resolve_panel(str(path), source=ListSource()) == panel
    data = json.loads(path.read_text())
    data["tasks"].reverse()
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="own hash"):
        load_panel(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="is no panel file"):
        load_panel(path)
    with pytest.raises(DataError, match="There is no panel file"):
        load_panel(tmp_path / "missing.json")
    save_panel(Panel("foreign", (Task("other", "valid", "x"),)), path)
    with pytest.raises(ConfigError, match="of the environment `other`"):
        resolve_panel(str(path), source=ListSource())
