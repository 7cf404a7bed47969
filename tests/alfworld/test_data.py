"""Real games on disk: selection, counts, identity, and what is said about damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agentdistill.errors import DataError
from agentdistill_alfworld import cache, data
from agentdistill_alfworld.data import disk_split
from agentdistill_alfworld.upstream import import_alfworld


def rewrite(path: Path, **changes) -> None:
    content = json.loads(path.read_text())
    for name, value in changes.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    path.write_text(json.dumps(content))


def trials(root: Path) -> list[Path]:
    return sorted((root / "json_2.1.1" / "valid_seen").glob("*/*"))


def test_valid_seen_is_the_published_split(real_data):
    split = disk_split("valid_seen")
    assert len(split.games) == 140
    assert split.complete
    assert split.notes() == []
    counts = {}
    for game in split.games:
        counts[game.type] = counts.get(game.type, 0) + 1
    assert counts == {
        "pick_and_place_simple": 35,
        "look_at_obj_in_light": 13,
        "pick_clean_then_place_in_recep": 27,
        "pick_heat_then_place_in_recep": 16,
        "pick_cool_then_place_in_recep": 25,
        "pick_two_obj_and_place": 24,
    }


def test_a_partial_split_is_used_and_reported(real_data):
    with pytest.warns(UserWarning, match="train has 54 of the 3,553 published games"):
        split = disk_split("train")
    assert len(split.games) == 54
    assert not split.complete
    provenance = split.provenance()
    assert (provenance["games"], provenance["published"], provenance["complete"]) == (54, 3553, False)
    assert provenance["notes"] == ["train has 54 of the 3,553 published games"]


def test_a_split_that_no_paper_counts_is_complete(real_data):
    split = disk_split("valid_train")
    assert (len(split.games), split.published, split.complete) == (200, None, True)


@pytest.mark.parametrize("split", ["train", "valid_seen", "valid_train"])
def test_the_selection_is_that_of_alfworld(real_data, split, recwarn):
    upstream = import_alfworld("alfworld.agents.environment.alfred_tw_env")
    types = list(upstream.TASK_TYPES)
    folder = str(real_data / "json_2.1.1" / split)
    config = {
        "env": {"goal_desc_human_anns_prob": 0, "task_types": types},
        "dataset": {"data_path": folder, "num_train_games": -1},
    }
    stock = upstream.AlfredTWEnv(config, train_eval="train")
    ours = disk_split(split)
    assert sorted(stock.game_files) == [str(game.folder / "game.tw-pddl") for game in ours.games]


def test_what_alfworld_skips_is_skipped_and_counted(few_games):
    root = few_games(9)
    plain, *others = trials(root)
    movable, sliced, unsolvable, unknown, no_game, other_type, *rest = others
    movable.parent.rename(movable.parent.parent / "pick_and_place_with_movable_recep-Cup-Bowl-Shelf-1")
    sliced.parent.rename(sliced.parent.parent / "pick_and_place_simple-AppleSliced-None-Fridge-1")
    rewrite(unsolvable / "game.tw-pddl", solvable=False)
    rewrite(unknown / "game.tw-pddl", solvable=None)
    (no_game / "game.tw-pddl").unlink()
    rewrite(other_type / "traj_data.json", task_type="pick_and_fly")
    with pytest.warns(UserWarning, match="of the 140"):
        split = disk_split("valid_seen", root)
    assert len(split.games) == 1 + len(rest)
    assert split.games[0].folder == plain
    assert split.corrupt == {}
    assert split.skipped == {
        "movable receptacle or sliced object": 2,
        "unsolvable": 1,
        "not known to be solvable": 1,
        "no game.tw-pddl": 1,
        "task type pick_and_fly": 1,
    }


def test_keys_and_hash_are_the_same_on_every_machine(few_games, tmp_path, recwarn):
    one = disk_split("valid_seen", few_games(3))
    other = disk_split("valid_seen", few_games(3, tmp_path / "movable" / "Sliced elsewhere"))
    assert [game.key for game in one.games] == [game.key for game in other.games]
    assert one.hash == other.hash
    assert str(tmp_path) not in json.dumps(one.provenance())
    rewrite(other.games[0].folder / "game.tw-pddl", extra="x")
    assert disk_split("valid_seen", tmp_path / "movable" / "Sliced elsewhere").hash != one.hash


DAMAGE = {
    "truncated game": ("game.tw-pddl", lambda path: path.write_bytes(path.read_bytes()[:5000]), "game.tw-pddl"),
    "empty game": ("game.tw-pddl", lambda path: path.write_bytes(b""), "game.tw-pddl"),
    "not text": ("game.tw-pddl", lambda path: path.write_bytes(b"\xff\xfe\x00"), "game.tw-pddl"),
    "a list": ("game.tw-pddl", lambda path: path.write_text("[]"), "not a JSON object"),
    "no problem": ("game.tw-pddl", lambda path: rewrite(path, pddl_problem=None), "it lacks pddl_problem"),
    "blank domain": ("game.tw-pddl", lambda path: rewrite(path, pddl_domain=" "), "it lacks pddl_domain"),
    "no goal": ("game.tw-pddl", lambda path: rewrite(path, grammar="x"), "no goal"),
    "truncated trajectory": ("traj_data.json", lambda path: path.write_text('{"a'), "traj_data.json"),
    "no task type": ("traj_data.json", lambda path: rewrite(path, task_type=None), "task_type"),
    "no parameters": ("traj_data.json", lambda path: rewrite(path, pddl_params=3), "pddl_params"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_the_others_go_on(few_games, damage, recwarn):
    name, harm, words = DAMAGE[damage]
    root = few_games(3)
    victim = trials(root)[1]
    harm(victim / name)
    split = disk_split("valid_seen", root)
    key = f"{victim.parent.name}/{victim.name}"
    assert [game.folder for game in split.games] == [trials(root)[0], trials(root)[2]]
    assert words in split.corrupt[key]
    assert any(key in note and words in note for note in split.provenance()["notes"])
    assert any(key in str(warning.message) for warning in recwarn)
    assert not split.complete


def test_no_variable_no_folder_no_split_no_games(few_games, tmp_path, monkeypatch):
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(DataError, match=r"\$ALFWORLD_DATA is not set.*alfworld-download"):
        disk_split("valid_seen")
    with pytest.raises(DataError, match="is not a folder; the splits there are: none"):
        disk_split("valid_seen", tmp_path / "nowhere")
    with pytest.raises(DataError, match="the splits there are: valid_seen"):
        disk_split("valid_unseen", few_games(1))
    (trials(tmp_path / "data")[0] / "game.tw-pddl").write_text("")
    with pytest.raises(DataError, match=r"no usable game.*game.tw-pddl is damaged"):
        disk_split("valid_seen", tmp_path / "data")


def test_the_variable_is_read_at_every_call(few_games, monkeypatch, recwarn):
    monkeypatch.setenv("ALFWORLD_DATA", str(few_games(2)))
    assert len(disk_split("valid_seen").games) == 2
    monkeypatch.setenv("ALFWORLD_DATA", "  ")
    assert data.data_root() is None


def test_files_are_read_once_and_again_when_they_change(few_games, monkeypatch, recwarn):
    root = few_games(3)
    first = disk_split("valid_seen", root)
    read = []
    inspect = data._inspect
    monkeypatch.setattr(data, "_inspect", lambda trial: read.append(trial.name) or inspect(trial))
    assert disk_split("valid_seen", root).hash == first.hash
    assert read == []
    victim = trials(root)[1]
    rewrite(victim / "game.tw-pddl", solvable=False)
    assert len(disk_split("valid_seen", root).games) == 2
    assert read == [victim.name]
    shutil.rmtree(victim)
    assert len(disk_split("valid_seen", root).games) == 2


def test_a_damaged_cache_costs_only_time(few_games, own_cache, recwarn):
    root = few_games(2)
    first = disk_split("valid_seen", root)
    for path in (own_cache / "alfworld" / "splits").iterdir():
        path.write_bytes(b"not zlib")
    assert disk_split("valid_seen", root).hash == first.hash


def test_a_cache_that_cannot_be_written_is_told_once(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(blocked))
    with pytest.warns(UserWarning, match="AGENTDISTILL_CACHE"):
        cache.store("kind", "key", 1)
    cache.store("kind", "other", 1)
    assert cache.load("kind", "key") is None


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "a"))
    assert cache.cache_directory() == tmp_path / "a"
    monkeypatch.delenv("AGENTDISTILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache.cache_directory() == tmp_path / "b" / "agentdistill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_directory() == Path.home() / ".cache" / "agentdistill"


def test_parameters_are_those_of_the_trajectory(real_data):
    game = disk_split("valid_seen").games[0]
    assert game.key.startswith("look_at_obj_in_light-AlarmClock-None-DeskLamp")
    assert game.parameters()["object_target"] == "AlarmClock"
    assert game.parameters()["toggle_target"] == "DeskLamp"
