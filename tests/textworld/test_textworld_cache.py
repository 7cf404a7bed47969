"""Games on disk: made once, whole or not at all, the same from the same parameters."""

from __future__ import annotations

import shutil
import sys
import threading

import pytest

from agentdistill.errors import DataError, MissingExtraError
from agentdistill_textworld import cache
from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.env import TextWorldEnv
from agentdistill_textworld.specs import GameSpec, split_specs


def spec(**options) -> GameSpec:
    config = TextWorldConfig(games=("treasure_hunter",), train=1, treasure_hunter={"level": 2}, **options)
    return split_specs(config, "train")[0]


def test_two_that_want_a_game_at_once_get_the_same_and_it_is_always_the_same():
    wanted = spec()
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.game_folder(wanted))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = cache.game_folder(wanted)
    assert found == [folder, folder]
    assert sorted(path.name for path in folder.iterdir()) == [cache.DATA, cache.STORY]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    before = (folder / cache.DATA).read_bytes()
    shutil.rmtree(folder)
    assert (cache.game_folder(wanted) / cache.DATA).read_bytes() == before


def test_a_game_that_was_cut_short_is_made_again():
    folder = cache.game_folder(spec())
    whole = (folder / cache.DATA).read_bytes()
    (folder / cache.DATA).write_bytes(whole[:100])
    assert (cache.game_folder(spec()) / cache.DATA).read_bytes() == whole


def test_a_game_that_cannot_be_is_an_error_that_says_why():
    config = TextWorldConfig(games=("coin_collector",), coin_collector={"level": 300}, train=1)
    with pytest.raises(DataError, match=r"cannot make the game.*100 rooms.*env\.coin_collector"):
        cache.game_folder(split_specs(config, "train")[0])
    assert not list(cache.cache_directory().rglob(".partial-*"))


def test_a_generator_that_breaks_is_quoted(monkeypatch, tmp_path):
    broken = tmp_path / "generate.py"
    broken.write_text("raise SystemExit('inform is ill')")
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "other"))
    with pytest.raises(DataError, match=r"failed with status 1.*inform is ill"):
        cache.game_folder(spec())


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written.*AGENTDISTILL_CACHE"):
        cache.game_folder(spec())


def test_a_missing_extra_is_named(monkeypatch):
    def refuse(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setitem(sys.modules, "textworld", None)
    monkeypatch.setattr("agentdistill.errors.importlib.import_module", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'agentdistill\[textworld\]'"):
        TextWorldEnv(train=1).reset(seed=0)
