"""Generated games: real rooms, real frequencies, the real file format, and always solvable."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from stock import stock_engine

from agentdistill.errors import ConfigError, DataError
from agentdistill.hashing import digest
from agentdistill_alfworld.dialect import GameText
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import TASK_TYPES, Game, parse_problem
from agentdistill_alfworld.generate import (
    GeneratedGame,
    check_plan,
    game,
    game_document,
    game_text,
    generate,
    generate_one,
    problem_text,
    write_game,
    write_games,
)
from agentdistill_alfworld.generate.tables import load_scenes, load_statistics, unseen_scenes
from agentdistill_alfworld.real import RealGame

UNSEEN = {10, 219, 308, 424}
FIRST_GAMES = "1bcb4a8d393d4a2428663377535f48c335fdf61f531362703a95a327a4a88eec"
"""Digest of the first games of seed 0. When it changes on purpose, raise `agentdistill_alfworld.games.GENERATOR`."""


@pytest.fixture(scope="module")
def many() -> list[GeneratedGame]:
    return [generate_one("train", 5, index) for index in range(1200)]


def plain(one: Game) -> dict[str, object]:
    """A game as JSON-able data, sets sorted."""
    fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    fields["receptacles"] = {name: dataclasses.astuple(place) for name, place in one.receptacles.items()}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in fields.items()}


def first_games_digest() -> str:
    return digest(
        [
            [plain(made.game), list(made.plan), problem_text(made.game)]
            for split in ("train", "valid_seen", "valid_unseen")
            for made in (generate_one(split, 0, index) for index in range(12))
        ]
    )


def test_every_game_is_solved_by_its_plan_in_two_readings_of_the_rules(many: list[GeneratedGame]) -> None:
    for made in many:
        assert check_plan(made.game, made.plan) == ""
        fast = FastGame(made.game)
        for command in made.plan:
            assert not fast.won
            fast.step(command)
            assert fast.valid
        assert fast.won


def test_task_types_take_turns_and_can_be_chosen(many: list[GeneratedGame]) -> None:
    assert [made.game.task_type for made in many[:12]] == [*TASK_TYPES, *TASK_TYPES]
    heat = list(generate("valid_seen", 4, 1, ["pick_heat_then_place_in_recep"]))
    assert {one.task_type for one in heat} == {"pick_heat_then_place_in_recep"}
    assert len({one.key for one in heat}) == 4


def test_unseen_scenes_are_used_by_the_unseen_split_alone(many: list[GeneratedGame]) -> None:
    assert unseen_scenes() == UNSEEN
    assert not {made.scene for made in many} & UNSEEN
    assert not {generate_one("generated-seen", 1, index).scene for index in range(120)} & UNSEEN
    assert {generate_one("generated-unseen", 1, index).scene for index in range(120)} == UNSEEN


def test_every_other_scene_is_used(many: list[GeneratedGame]) -> None:
    assert len(load_scenes()) == 120
    rare = [generate_one("train", 6, index).scene for index in range(800)]
    assert {made.scene for made in many} | set(rare) == set(load_scenes()) - UNSEEN


def test_a_game_depends_on_split_seed_and_index_alone() -> None:
    stream = list(generate("train", 8, 3))
    assert stream == [game("train", 3, index) for index in range(8)]
    assert list(generate("train", 3, 3, start=5)) == stream[5:]
    assert game("generated-train", 3, 2) == stream[2]
    assert game("train", 4, 2) != stream[2]
    assert plain(game("valid_seen", 3, 2))["objects"] != plain(stream[2])["objects"]


def test_same_bytes_in_another_process() -> None:
    assert first_games_digest() == FIRST_GAMES
    here = Path(__file__)
    code = (
        f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as t; print(t.first_games_digest())"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == FIRST_GAMES


def test_generating_needs_neither_alfworld_nor_textworld() -> None:
    code = (
        "import sys; from agentdistill_alfworld.generate import generate; list(generate('train', 12, 0))\n"
        "print(sorted({'alfworld', 'textworld', 'fast_downward', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_document_reads_back_as_the_same_game(many: list[GeneratedGame]) -> None:
    for made in many[:120]:
        assert parse_problem(problem_text(made.game), made.game.goal_text, made.game.key) == made.game
    document = game_document(many[0].game)
    assert set(document) == {"pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough"}
    assert document["walkthrough"] == list(many[0].plan)
    text = GameText(document["pddl_domain"], document["grammar"], document["pddl_problem"])
    assert text == game_text(many[0].game)
    assert (text.goal, text.dialect) == (many[0].game.goal_text, "move")


def test_rooms_look_like_real_ones(many: list[GeneratedGame], alfworld_data: Path) -> None:
    """Per kind of room: as many receptacles and objects, and as many of them in each type of receptacle."""
    real: dict[str, list[Game]] = {}
    for path in sorted((alfworld_data / "json_2.1.1" / "valid_train").glob("*/*/game.tw-pddl")):
        kind = load_scenes()[int(path.parent.parent.name.rpartition("-")[2])].kind
        real.setdefault(kind, []).append(parse_problem(json.loads(path.read_text())["pddl_problem"], "", str(path)))
    for kind, theirs in real.items():
        ours = [made.game for made in many if load_scenes()[made.scene].kind == kind]
        for count in (lambda g: len(g.receptacles), lambda g: len(g.objects), lambda g: len(g.placement)):
            mean_ours, mean_theirs = (sum(map(count, games)) / len(games) for games in (ours, theirs))
            assert mean_ours == pytest.approx(mean_theirs, rel=0.12), kind
        shares = [Counter(g.receptacles[r].type for g in games for _, r in g.placement) for games in (ours, theirs)]
        assert distance(*shares) < 0.12, kind


def distance(one: Counter[str], other: Counter[str]) -> float:
    """Total variation between two histograms."""
    return sum(abs(one[k] / one.total() - other[k] / other.total()) for k in one.keys() | other.keys()) / 2


def test_lamps_of_all_kinds_are_asked_for(many: list[GeneratedGame]) -> None:
    lamps = Counter(made.game.goal_receptacle for made in many if made.game.task_type == "look_at_obj_in_light")
    assert lamps.keys() == {"desklamp", "floorlamp"}
    assert lamps["desklamp"] > 8 * lamps["floorlamp"]


def test_goal_sentences_use_every_template(many: list[GeneratedGame]) -> None:
    said = {made.game.goal_text.replace(made.game.goal_object, "{obj}", 1) for made in many}
    for task_type, templates in load_statistics().templates.items():
        places = {made.game.goal_receptacle for made in many if made.game.task_type == task_type}
        for template in templates:
            assert any(template.replace("{recep}", p).replace("{toggle}", p) in said for p in places)


def test_what_can_be_taken_can_be_put_down(many: list[GeneratedGame]) -> None:
    for made in many[:200]:
        one = made.game
        fits = {thing for _, thing in one.can_contain}
        assert all(one.objects[o] in fits for o, _ in one.placement if o in one.pickupable)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no split 'test'"):
        game("test", 0, 0)
    with pytest.raises(ConfigError, match="no ALFWorld task type 'pick'"):
        game("train", 0, 0, ["pick"])
    with pytest.raises(ConfigError, match="No task type"):
        game("train", 0, 0, [])
    with pytest.raises(DataError, match="cannot be written"):
        write_game(dataclasses.replace(game("train", 0, 0), key="somewhere"), Path("nowhere"))


def test_written_games_are_read_by_the_unmodified_environment(tmp_path: Path) -> None:
    made = [generate_one("valid_unseen", 2, index) for index in range(6)]
    folders = write_games([one.game for one in made], tmp_path)
    for one, folder in zip(made, folders, strict=True):
        assert {path.name for path in folder.iterdir()} == {"game.tw-pddl", "initial_state.pddl", "traj_data.json"}
        task, thing, movable, place, scene = folder.parent.name.split("-")
        assert (task, movable, int(scene)) == (one.game.task_type, "None", one.scene)
        assert (thing.lower(), place.lower()) == (one.game.goal_object, one.game.goal_receptacle)
        assert (folder / "initial_state.pddl").read_text() == problem_text(one.game)
    code = (
        "import sys\n"
        "from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv\n"
        "config = {'env': {'goal_desc_human_anns_prob': 0, 'task_types': [1, 2, 3, 4, 5, 6]},\n"
        "          'dataset': {'eval_ood_data_path': '$ALFWORLD_DATA/json_2.1.1/valid_unseen', 'num_eval_games': -1}}\n"
        "found = AlfredTWEnv(config, train_eval='eval_out_of_distribution').game_files\n"
        "print('FOUND', *sorted(found), sep='\\n')\n"
    )
    environment = {**os.environ, "ALFWORLD_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found = done.stdout.partition("FOUND\n")[2].split()
    assert found == sorted(str(folder / "game.tw-pddl") for folder in folders)
    stock = stock_engine()
    stock.load(str(folders[3] / "game.tw-pddl"))
    fast = FastGame(made[3].game)
    assert stock.reset()["feedback"] == fast.reset()
    for command in made[3].plan:
        state, _, done_now = stock.step(command)
        assert state["feedback"] == fast.step(command)
    assert state["won"] and done_now


@pytest.mark.slow
def test_200_plans_win_in_the_real_engine() -> None:
    """All types and splits; the engine's text is the fast engine's at every step."""
    real: RealGame | None = None
    for index in range(200):
        made = generate_one(("train", "valid_seen", "valid_unseen")[index % 4 % 3], 9, index)
        if real is None:
            real = RealGame(game_text(made.game))
        else:
            real.load(game_text(made.game))
        fast = FastGame(made.game)
        assert real.reset() == fast.reset()
        assert not real.won
        for command in made.plan:
            assert real.step(command) == fast.step(command)
        assert real.won, made.game.key


def test_shipped_tables_are_what_the_script_makes(alfworld_data: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "scripts/make_alfworld_tables.py", "--data", str(alfworld_data), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shipped = root / "envs" / "agentdistill_alfworld" / "tables"
    for name in ("scenes.json", "statistics.json", "search_prior.json", "provenance.json"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes(), name
