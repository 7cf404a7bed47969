"""TextWorld with the real generator, compiler and interpreter: contract, expert, hostile input."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill.plugins.check import check_plugins
from agentdistill.records import Task
from agentdistill_textworld import panels
from agentdistill_textworld.config import KINDS, TextWorldConfig
from agentdistill_textworld.engine import NOT_UNDERSTOOD, ONE_AT_A_TIME
from agentdistill_textworld.env import TextWorldEnv
from agentdistill_textworld.source import TextWorldSource
from agentdistill_textworld.specs import split_specs


@pytest.mark.parametrize("index", range(5), ids=KINDS)
def test_the_expert_wins_every_kind(env, games, index):
    task = games.tasks("train")[index]
    assert task.type == KINDS[index]
    observation, info = env.reset(options={"task": task, "expert": True})
    assert observation.startswith(info["task"])
    assert "$$" not in observation and "-=" in observation
    assert observation == observation.strip() and not observation.endswith("0/1")
    rewards = []
    for _ in range(40):
        assert info["expert_action"] is not None
        observation, reward, terminated, truncated, info = env.step(info["expert_action"])
        assert info["valid"] and not truncated
        assert "[" not in observation and "<score>" not in observation
        rewards.append(reward)
        assert terminated == info["won"]
        if terminated:
            break
    assert info["won"] and "*** The End ***" in observation
    assert info["score"] == info["max_score"]
    assert sum(rewards) == pytest.approx(1.0)
    assert info["expert_action"] is None and info["admissible_actions"] == []
    with pytest.raises(EnvironmentFailure, match="The episode is over"):
        env.step("look")


def test_the_expert_finds_back_after_detours_and_may_be_asked_late(env, games):
    task = games.tasks("train")[2]
    rng = random.Random(1)
    _, info = env.reset(options={"task": task})
    assert "expert_action" not in info
    for _ in range(8):
        *_, info = env.step(rng.choice([a for a in info["admissible_actions"] if not a.startswith("eat")]))
    for _ in range(40):
        if info["won"]:
            break
        *_, info = env.step(env.expert_action())
    assert info["won"]


def test_both_ways_of_asking_see_the_same_game(games):
    task = games.tasks("train")[3]
    plain, full = TextWorldSource(TextWorldConfig(train=5, admissible=False)).make(), games.make()
    one, other = plain.reset(options={"task": task}), full.reset(options={"task": task, "expert": True})
    rng = random.Random(2)
    for _ in range(15):
        assert one[0] == other[0]
        assert {key: one[-1][key] for key in ("won", "score", "valid")} == {
            key: other[-1][key] for key in ("won", "score", "valid")
        }
        assert one[-1]["admissible_actions"] == []
        action = rng.choice([*other[-1]["admissible_actions"], "xyzzy"])
        one, other = plain.step(action), full.step(action)
        if one[2]:
            break
    plain.close()
    full.close()


META = ("save", "SAVE", "restore", "quit", "q", "restart", "undo", "script", "tw-trace-actions", "tw-extra-infos score")
NONSENSE = ("", "  ", "x" * 161, "dance", "take \u706b", "look\x00", "score")


@pytest.mark.parametrize("command", [*META, *NONSENSE])
def test_the_interpreter_is_out_of_reach(env, games, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    _, info = env.reset(options={"task": games.tasks("train")[1]})
    observation, reward, terminated, _, after = env.step(command)
    assert (observation, reward, terminated, after["valid"]) == (NOT_UNDERSTOOD, 0.0, False, False)
    assert after["admissible_actions"] == info["admissible_actions"]
    assert list(tmp_path.iterdir()) == []
    assert env.step("look")[-1]["valid"]


@pytest.mark.parametrize("command", ["look. look", "go south, look", "look then look"])
def test_one_command_is_one_step(env, games, command):
    env.reset(options={"task": games.tasks("train")[0]})
    observation, *_, info = env.step(command)
    assert (observation, info["valid"]) == (ONE_AT_A_TIME, False)


def test_spaces_and_lines_are_spaces(env, games):
    env.reset(options={"task": games.tasks("train")[0]})
    expected = env.step("look")[0]
    assert env.step("  look\n ")[0] == expected
    assert env.step("go\nnowhere")[-1]["valid"] is False


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=250))
def test_any_text_is_answered(env, games, text):
    if env._game is None or env._over:
        env.reset(options={"task": games.tasks("train")[0]})
    observation, _, _, _, info = env.step(text)
    assert observation in env.observation_space
    assert isinstance(info["valid"], bool)


def test_a_megabyte_is_answered(env, games):
    env.reset(options={"task": games.tasks("train")[0]})
    for text in ("x" * 10**6, "go south " * 100_000, "\U0001f525" * 250_000):
        assert env.step(text)[0] == NOT_UNDERSTOOD


def test_its_own_step_limit_truncates(games):
    made = TextWorldEnv(train=5, step_limit=2)
    made.reset(options={"task": games.tasks("train")[0].key})
    assert [made.step("look")[2:4] for _ in range(2)] == [(False, False), (False, True)]
    assert made.render().startswith("> look\n")
    made.close()
    made.close()


def test_splits_share_no_seed_and_keys_name_the_options():
    config = TextWorldConfig(train=1_000_000, dev=1_000_000, games=("custom",))
    seeds = [{spec.seed for spec in split_specs(config, split)} for split in ("dev", "test")]
    assert not seeds[0] & seeds[1]
    assert split_specs(config, "train")[-1].seed < min(seeds[0])
    easy, hard = (TextWorldSource(TextWorldConfig(custom={"rooms": rooms})) for rooms in (5, 9))
    assert not {t.key for t in easy.tasks("test") if t.type == "custom"} & {t.key for t in hard.tasks("test")}
    cooking = {split: split_specs(TextWorldConfig(games=("cooking",)), split)[0] for split in ("train", "dev", "test")}
    assert [spec.parameters["split"] for spec in cooking.values()] == ["train", "valid", "test"]


def test_panels():
    where = TextWorldSource()
    panel = panels.test(where, PluginConfig())
    assert (panel.name, len(panel.tasks)) == ("textworld/test", 100)
    assert [task.type for task in panel.tasks[:5]] == list(KINDS)
    assert len(panels.dev(where, PluginConfig()).tasks) == 50


def test_a_source_travels_light_and_names_no_folder(own_cache):
    where = TextWorldSource()
    assert len(pickle.dumps(where)) < 2000
    assert pickle.loads(pickle.dumps(where)).tasks("dev") == where.tasks("dev")
    assert str(Path.home()) not in str(where.provenance()) and str(own_cache) not in str(where.provenance())


def test_wrong_options(games):
    with pytest.raises(ConfigError, match=r"no option `splt`. Did you mean `split`"):
        TextWorldEnv(splt="train")
    with pytest.raises(ConfigError, match="games"):
        TextWorldEnv(games=("chess",))
    with pytest.raises(ConfigError, match="at least one kind"):
        TextWorldEnv(games=())
    with pytest.raises(ConfigError, match="named twice"):
        TextWorldEnv(games=("simple", "simple"))
    with pytest.raises(ConfigError, match="the recipe has 1"):
        TextWorldEnv(cooking={"take": 3})
    with pytest.raises(ConfigError, match="not both"):
        TextWorldEnv(source=games, split="train")
    made = TextWorldEnv()
    with pytest.raises(ConfigError, match=r"no option `exprt`. Did you mean `expert`"):
        made.reset(options={"exprt": True})
    for call in (lambda: made.step("look"), made.expert_action):
        with pytest.raises(EnvironmentFailure, match=r"Call reset\(\) first"):
            call()


def test_unknown_tasks():
    made = TextWorldEnv()
    with pytest.raises(DataError, match=r"no split `tset`. Did you mean `test`"):
        TextWorldSource().tasks("tset")
    for task in ("v1/custom/0", Task("textworld", "test", "v1/coin_collector-level5/0")):
        with pytest.raises(DataError, match="has no game"):
            made.reset(options={"task": task})
    with pytest.raises(DataError, match="is of the environment `chess`"):
        made.reset(options={"task": Task("chess", "train", "x")})


def test_the_plugin_conforms():
    findings = check_plugins(PluginRegistry.load(modules=["agentdistill_textworld"]), ["agentdistill_textworld"])
    assert [finding for finding in findings if finding.level != "ok"] == []
