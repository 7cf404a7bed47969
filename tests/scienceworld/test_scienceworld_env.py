"""ScienceWorld with the real simulator: contract, expert, scores, prompts, hostile input."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill.plugins.check import check_plugins
from agentdistill.records import Task
from agentdistill_scienceworld import panels
from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.env import ScienceWorldEnv
from agentdistill_scienceworld.source import ScienceWorldSource
from agentdistill_scienceworld.variations import SIZES, variations

ROOM = "This room is called the"


def source(**options) -> ScienceWorldSource:
    return ScienceWorldSource(ScienceWorldConfig(**options))


def test_listed_commands_are_valid(env):
    made = source(tasks=("find-plant",), admissible=True).make()
    _, info = made.reset(options={"task": "find-plant/0"})
    listed = info["admissible_actions"]
    made.close()
    assert listed == sorted(set(listed))
    assert "look around" in listed
    for command in listed[:: max(1, len(listed) // 8)]:
        env.reset(options={"task": "find-plant/0"})
        assert env.step(command)[-1]["valid"], command


def test_the_table_of_variations_is_the_simulators(env):
    simulator = env._simulator
    java = simulator._java
    assert list(java.getTaskNames()) == list(SIZES)
    assert {name: java.getTaskMaxVariations(name) for name in SIZES} == {n: sum(s) for n, s in SIZES.items()}
    assert [sum(column) for column in zip(*SIZES.values(), strict=True)] == [3592, 1796, 1819]
    for name in ("identify-life-stages-2", "lifespan-longest-lived"):
        simulator.load(name, 0, "easy")
        for split, ask in (("train", "Train"), ("dev", "Dev"), ("test", "Test")):
            assert list(getattr(java, f"getVariations{ask}")()) == list(variations(name, split))


def test_the_gold_path_wins(env):
    _, info = env.reset(options={"task": "find-plant/0", "expert": True})
    rewards, before = [], info["score"]  # standing in the right room is worth something already
    while not info["won"]:
        _, reward, terminated, truncated, info = env.step(info["expert_action"])
        rewards.append(reward)
        assert terminated == info["won"] and not truncated
    assert info["score"] == 100.0
    assert sum(rewards) == pytest.approx((100.0 - before) / 100.0)
    assert info["expert_action"] is None
    with pytest.raises(EnvironmentFailure, match="The episode is over"):
        env.step("look around")


def test_the_expert_stays_silent_once_its_path_was_left(env):
    _, info = env.reset(options={"task": "melt/0", "expert": True})
    first = info["expert_action"]
    for free in ("look around", "inventory", "dance with the \u706b", ""):
        *_, info = env.step(free)
        assert info["expert_action"] == first
    *_, info = env.step(f"  {first.upper()} ")
    second = info["expert_action"]
    assert info["valid"] and second not in (None, first)
    *_, info = env.step("wait1")
    assert info["valid"] and info["expert_action"] is None


def test_the_expert_changes_nothing_but_the_expert(env):
    plain = env.reset(options={"task": "melt/1"})
    advised = env.reset(options={"task": "melt/1", "expert": True})
    assert advised[1].pop("expert_action")
    assert advised == plain


def test_gold_paths_are_kept_and_damaged_ones_are_found_again(env, own_cache):
    _, info = env.reset(options={"task": "find-plant/0", "expert": True})
    (kept,) = own_cache.glob("scienceworld/gold-*/easy/find-plant/0.json")
    kept.write_text(kept.read_text()[:10])
    assert env.reset(options={"task": "find-plant/0", "expert": True})[1] == info
    assert json.loads(kept.read_text())[0] == info["expert_action"]


def test_a_negative_score_ends_the_episode(env):
    env.reset(options={"task": "find-plant/0"})
    _, reward, terminated, truncated, info = env.step("focus on agent")
    assert info["score"] < 0 and reward < 0
    assert (terminated, truncated, info["won"]) == (True, False, False)


def test_several_simulators_in_one_jvm_do_not_disturb_one_another(env):
    others = [env.source.make() for _ in range(3)]
    keys = ["find-plant/1", "melt/2", "find-plant/2"]
    commands = ["open door to kitchen", "teleport to kitchen", "look around", "pick up thermometer", "inventory"]

    def walk(one: ScienceWorldEnv, key: str) -> list[object]:
        return [one.reset(options={"task": key}), *(one.step(command) for command in commands)]

    alone = [walk(env, key) for key in keys]
    mixed: list[list[object]] = [[one.reset(options={"task": key})] for one, key in zip(others, keys, strict=True)]
    for command in commands:
        for seen, one in zip(mixed, others, strict=True):
            seen.append(one.step(command))
    assert mixed == alone
    assert {one._simulator.jvm.pid for one in others} == {env._simulator.jvm.pid}
    for one in others:
        one.close()
        one.close()


def test_what_is_shown(env):
    made = ScienceWorldEnv(tasks=("melt",), observation="room", prompt="compact")
    observation, info = made.reset(options={"task": "melt/0"})
    assert observation.count(ROOM) == 1
    assert "In your inventory" in observation
    assert "Things you can name: " in observation and "thermometer" not in observation.rpartition("name:")[2]
    assert "pick up OBJ" in info["task"] and "reset task" not in info["task"]
    observation, *_ = made.step("teleport to kitchen")
    assert observation.startswith("You teleport to the kitchen") and ROOM in observation
    assert "thermometer" in observation.rpartition("Things you can name: ")[2]
    assert made.render() == f"> teleport to kitchen\n{observation}"
    made.close()


def test_an_unclear_command_is_a_question_that_a_number_answers(env):
    env.reset(options={"task": "melt/0"})
    observation, *_, info = env.step("close door")
    assert observation.startswith("Ambiguous request") and info["valid"]
    observation, *_ = env.step("0")
    assert "closed" in observation


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
def test_any_text_is_answered(env, text):
    if env._outcome is None or env._over:
        env.reset(options={"task": "find-plant/0"})
    observation, _, _, _, info = env.step(text)
    assert observation in env.observation_space
    assert isinstance(info["valid"], bool)


def test_a_megabyte_is_answered(env):
    env.reset(options={"task": "find-plant/0"})
    for text in ("x" * 10**6, "open door to " * 80_000, "\U0001f525" * 250_000):
        observation, *_, info = env.step(text)
        assert (observation, info["valid"], info["moves"]) == ("No known action matches that input.", False, 0)


def test_its_own_step_limit_truncates(env):
    made = ScienceWorldEnv(tasks=("find-plant",), step_limit=2)
    made.reset(seed=0)
    assert [made.step("look around")[2:4] for _ in range(2)] == [(False, False), (False, True)]
    made.close()


def test_wrong_options():
    with pytest.raises(ConfigError, match=r"no option `splt`. Did you mean `split`"):
        ScienceWorldEnv(splt="train")
    with pytest.raises(ConfigError, match=r"there is no task `boyl`. Did you mean `boil`"):
        ScienceWorldEnv(tasks=("boyl",))
    with pytest.raises(ConfigError, match="named twice"):
        ScienceWorldEnv(tasks=("boil", "boil"))
    with pytest.raises(ConfigError, match="there is no simplification `easi`"):
        ScienceWorldEnv(simplification="easi")
    with pytest.raises(ConfigError, match="not both"):
        ScienceWorldEnv(source=ScienceWorldSource(), split="train")
    made = ScienceWorldEnv(simplification="noElectricalAction")
    with pytest.raises(ConfigError, match="cannot be done without electrical actions"):
        made.reset(options={"task": "power-component/0"})
    with pytest.raises(ConfigError, match=r"no option `exprt`. Did you mean `expert`"):
        made.reset(options={"exprt": True})


def test_unknown_tasks_and_calls_out_of_order():
    made = ScienceWorldEnv(split="test")
    for call in (lambda: made.step("look around"), made._playing):
        with pytest.raises(EnvironmentFailure, match=r"Call reset\(\) first"):
            call()
    with pytest.raises(DataError, match=r"no split `tset`. Did you mean `test`"):
        ScienceWorldSource().tasks("tset")
    for wrong in ("boil/0", "boil/30", "boil/21 ", "boil"):
        with pytest.raises(DataError, match="no task"):
            made.reset(options={"task": wrong})
        with pytest.raises(DataError, match="no task"):
            made.reset(options={"task": Task("scienceworld", "test", wrong)})
    with pytest.raises(DataError, match="is of the environment `chess`"):
        made.reset(options={"task": Task("chess", "test", "boil/21")})


def test_panels_have_the_published_sizes():
    where = source()
    test = panels.test(where, PluginConfig())
    assert (test.name, len(test.tasks)) == ("scienceworld/test", 1819)
    assert len(panels.dev(where, PluginConfig()).tasks) == 1796
    small = panels.test_10(where, PluginConfig())
    assert len(small.tasks) == 271 and len({task.type for task in small.tasks}) == 30
    assert test.provenance["success"].startswith("score 100")


def test_a_source_travels_light():
    where = source(tasks=("boil",))
    sent = pickle.dumps(where)
    assert len(sent) < 1000
    assert pickle.loads(sent).tasks("test") == where.tasks("test")
    assert [task.key for task in where.tasks("test")] == [f"boil/{n}" for n in range(21, 30)]


def test_the_plugin_conforms():
    findings = check_plugins(PluginRegistry.load(modules=["agentdistill_scienceworld"]), ["agentdistill_scienceworld"])
    assert [finding for finding in findings if finding.level != "ok"] == []
