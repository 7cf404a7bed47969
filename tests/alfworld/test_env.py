"""The Gymnasium environment: contract, engines, dialects, experts, registration."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agentdistill.envs.base import INFO_KEYS
from agentdistill.envs.check import check_environment
from agentdistill.envs.registration import register_environments
from agentdistill.envs.spaces import Utf8Text
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import Task
from agentdistill_alfworld import games
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.panels import generated_unseen, valid_seen
from agentdistill_alfworld.source import AlfworldSource

ID = "agentdistill/ALFWorld-v0"
VARIANTS = [
    {"split": "valid_seen"},
    {"split": "valid_seen", "dialect": "put"},
    {"split": "valid_seen", "engine": "fast"},
    {"split": "generated-unseen"},
    {"split": "generated-seen", "engine": "fast"},
]


def source(**options) -> AlfworldSource:
    return AlfworldSource(AlfworldConfig(**options))


def simple_task(where: AlfworldSource, split: str = "valid_seen") -> Task:
    return next(task for task in where.tasks(split) if task.type == "pick_and_place_simple")


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_gymnasium_accepts_it_without_a_warning(real_data, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(ID, **options)
        check_env(env.unwrapped)
        env.close()
        env.close()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_it_passes_the_conformance_checks(real_data, options):
    results = check_environment(source(**options), options["split"], episodes=1, steps=8)
    assert [result for result in results if not result.passed] == []
    assert {"gymnasium", "seeding", "replay", "admissible", "expert"} <= {result.name for result in results}


def test_both_engines_tell_the_same_story(real_data):
    real, fast = source(), source(engine="fast")
    one, other = real.make(), fast.make()
    for task in (*real.tasks("valid_seen")[3::60], real.tasks("generated-unseen")[4]):
        rng = random.Random(task.key)
        state = one.reset(options={"task": task})
        assert other.reset(options={"task": task}) == state
        for _ in range(25):
            action = rng.choice(state[1]["admissible_actions"]) if rng.random() < 0.9 else "xyzzy"
            step = one.step(action)
            assert other.step(action) == step
            state = step[0], step[-1]
            if step[2]:
                break


def test_info_and_reward_of_a_won_episode(real_data):
    env = source(split="valid_seen").make()
    task = simple_task(env.source)
    observation, info = env.reset(options={"task": task, "expert": True})
    assert set(INFO_KEYS) <= set(info)
    assert (info["won"], info["score"], info["valid"]) == (False, 0.0, True)
    assert observation.endswith(f"Your task is to: {info['task']}.")
    assert (info["task_key"], info["task_type"], info["split"]) == (task.key, task.type, "valid_seen")
    rewards = []
    for _ in range(50):
        action = info["expert_action"]
        observation, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
        assert terminated == info["won"] == (info["score"] == 1.0) == (reward == 1.0)
        assert not truncated
        assert env.render() == f"> {action}\n{observation}"
        if terminated:
            break
    assert sum(rewards) == 1.0
    assert info["expert_action"] is None
    assert env.expert_action() is None


def test_won_comes_from_the_engine_not_from_done(real_data, monkeypatch):
    from agentdistill_alfworld.fast import FastGame

    monkeypatch.setattr(FastGame, "done", property(lambda self: True))
    env = source(engine="fast").make()
    env.reset(options={"task": env.source.tasks("valid_seen")[0]})
    _, reward, terminated, truncated, info = env.step("look")
    assert (reward, terminated, truncated, info["won"]) == (0.0, False, False, False)


def test_refused_commands_change_nothing(real_data):
    env = source(split="valid_seen").make()
    _, info = env.reset(seed=1)
    before = info["admissible_actions"]
    for command in ("", "fly to the moon", "GO TO SAFE 1", "go"):
        observation, reward, terminated, _, info = env.step(command)
        assert (observation, reward, terminated) == ("Nothing happens.", 0.0, False)
        assert (info["valid"], info["admissible_actions"]) == (False, before)
    *_, info = env.step(f"  {before[0]} ")
    assert info["valid"]


def test_its_own_step_limit_truncates(real_data):
    env = source(split="valid_seen", step_limit=3).make()
    env.reset(seed=0)
    assert [env.step("look")[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]


def test_the_seed_draws_the_task(real_data):
    env = source(split="valid_seen", engine="fast").make()
    drawn = [env.reset(seed=seed)[1]["task_key"] for seed in range(8)]
    assert [env.reset(seed=seed)[1]["task_key"] for seed in range(8)] == drawn
    assert len(set(drawn)) > 4
    env.reset(seed=0)
    assert env.reset()[1]["task_key"] != drawn[0]


@pytest.mark.parametrize("expert", ["text", "handcoded", "planner"])
@pytest.mark.parametrize("options", [{"engine": "fast"}, {"dialect": "put"}, {}], ids=str)
def test_experts_recover_from_the_students_errors(real_data, expert, options):
    env = source(expert=expert, **options).make()
    task = simple_task(env.source)
    rng = random.Random(3)
    _, info = env.reset(options={"task": task, "expert": True})
    for _ in range(8):
        offered = [action for action in info["admissible_actions"] if not action.startswith("slice")]
        deeds = [action for action in offered if action.split()[0] in {"take", "open", "move", "put"}]
        *_, info = env.step(rng.choice(["xyzzy", "", rng.choice(deeds or offered), rng.choice(offered)]))
    for _ in range(60):
        if info["won"]:
            break
        assert info["expert_action"] in info["admissible_actions"]
        *_, info = env.step(info["expert_action"])
    assert info["won"]
    env.close()


@pytest.mark.parametrize("expert", ["text", "handcoded", "planner"])
def test_an_expert_asked_late_advises_as_one_that_watched(real_data, expert):
    watched, late = (source(expert=expert, engine="fast").make() for _ in range(2))
    task = watched.source.tasks("valid_seen")[33]
    _, info = watched.reset(options={"task": task, "expert": True})
    late.reset(options={"task": task})
    rng = random.Random(0)
    for _ in range(6):
        action = rng.choice(info["admissible_actions"])
        *_, info = watched.step(action)
        assert "expert_action" not in late.step(action)[-1]
    assert late.expert_action() == info["expert_action"]


def test_the_handcoded_expert_is_alfworlds_own(real_data, tmp_path):
    import shutil

    from stock import write_text

    from agentdistill_alfworld.upstream import import_alfworld

    upstream = import_alfworld("alfworld.agents.environment.alfred_tw_env")
    import textworld
    from textworld.envs import PddlEnv

    env = source(expert="handcoded", engine="fast").make()
    task = simple_task(env.source)
    game = env.source.game(task)
    shutil.copy(game._file.folder / "traj_data.json", tmp_path)
    infos = textworld.EnvInfos(won=True, admissible_commands=True, facts=True)
    stock = upstream.AlfredExpert(upstream.AlfredInfos(upstream.AlfredDemangler(PddlEnv(infos))), "handcoded")
    stock.load(str(write_text(game.text("move"), tmp_path / "game.tw-pddl")))
    state_of_random = random.getstate()
    try:
        random.seed(f"handcoded/{task.key}/0")
        state = stock.reset()
        _, info = env.reset(options={"task": task, "expert": True})
        for _ in range(25):
            assert info["expert_action"] == state["extra.expert_plan"][0]
            state, _, done = stock.step(info["expert_action"])
            *_, info = env.step(info["expert_action"])
            if done:
                break
        assert info["won"]
    finally:
        random.setstate(state_of_random)


def test_the_handcoded_expert_leaves_the_global_generator_alone(real_data):
    env = source(expert="handcoded", engine="fast").make()
    random.seed(5)
    before = random.getstate()
    _, info = env.reset(options={"task": env.source.tasks("valid_seen")[33], "expert": True})
    for _ in range(15):
        *_, info = env.step(info["expert_action"] or "look")
    assert random.getstate() == before


def test_train_is_generated_without_data_and_real_with_it(real_data, monkeypatch, recwarn):
    assert source().tasks("train")[0].split == "train"
    monkeypatch.delenv("ALFWORLD_DATA")
    where = source(generated={"train": 30, "seed": 4})
    tasks = where.tasks("train")
    assert (len(tasks), tasks[0].split, tasks[7].key) == (30, "generated-train", "v1/seed4/000007")
    assert where.provenance()["splits"]["generated-train"]["generator"] == games.GENERATOR
    env = gymnasium.make(ID, engine="fast")
    assert env.reset(seed=0)[1]["split"] == "generated-train"


def test_generated_games_are_what_their_keys_say():
    """A change here means other games under the same keys: raise `games.GENERATOR` with it."""
    found = {}
    for split in games.GENERATED:
        for index in range(6):
            game = games.MadeGame(split, 0, index)
            assert game.type == game.facts().task_type
            found[f"{split}/{index}"] = digest(game.text("move").problem + game.facts().goal_text)[:8]
    assert digest([games.GENERATOR, found])[:16] == EXPECTED_GAMES


EXPECTED_GAMES = "3204b4fa11901d16"


def test_a_source_travels_light_and_says_where_its_data_is_from(real_data):
    where = source(split="valid_seen", engine="fast")
    tasks = where.tasks("valid_seen")
    where.game(tasks[0])
    sent = pickle.dumps(where)
    assert len(sent) < 1000
    assert pickle.loads(sent).tasks("valid_seen") == tasks
    provenance = where.provenance()
    assert str(real_data) not in json.dumps(provenance)
    assert provenance["splits"]["valid_seen"]["games"] == 140
    assert (provenance["engine"], provenance["versions"]["alfworld"]) == ("fast", "0.4.2")


def test_panels(real_data):
    where = source()
    panel = valid_seen(where, PluginConfig())
    assert (panel.name, len(panel.tasks)) == ("alfworld/valid_seen", 140)
    assert panel.provenance["complete"]
    made = generated_unseen(where, PluginConfig())
    assert [task.type for task in made.tasks[:6]] == [task.type for task in made.tasks[6:12]]
    assert panel.hash == valid_seen(source(), PluginConfig()).hash != made.hash


def test_vector_environments(real_data):
    make = [lambda: gymnasium.make(ID, split="valid_seen", engine="fast") for _ in range(2)]
    alone = gymnasium.make(ID, split="valid_seen", engine="fast")
    expected = [alone.reset(seed=seed)[0] for seed in (7, 8)]
    for vector in (gymnasium.vector.SyncVectorEnv(make), gymnasium.vector.AsyncVectorEnv(make, shared_memory=False)):
        assert list(vector.reset(seed=[7, 8])[0]) == expected
        observations, *_, infos = vector.step(("look", "xyzzy"))
        assert observations[1] == "Nothing happens."
        assert infos["valid"].tolist() == [True, False]
        vector.close()


IMPORTS = {
    "gymnasium first": "import gymnasium as gym, agentdistill",
    "agentdistill first": "import agentdistill, gymnasium as gym",
    "after a question": "import agentdistill, importlib.util as u; u.find_spec('gymnasium'); import gymnasium as gym",
    "plugin first": "import gymnasium as gym, agentdistill_alfworld.games",
    "by module": "import agentdistill.records, gymnasium.spaces, gymnasium as gym",
}


@pytest.mark.parametrize("order", IMPORTS)
def test_the_id_is_registered_in_either_order_of_imports(order):
    code = f"""
import sys, warnings
warnings.simplefilter("error")
{IMPORTS[order]}
assert "{ID}" in gym.registry
env = gym.make("{ID}", split="generated-seen", engine="fast")
assert env.reset(seed=0)[0].startswith("-= Welcome")
assert not any("Follower" in type(finder).__name__ for finder in sys.meta_path)
assert "Registering" not in type(gym.__spec__.loader).__name__ + type(gym.__loader__).__name__
assert "textworld" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_us_imports_nothing_heavy():
    code = """
import sys, agentdistill, agentdistill_alfworld
heavy = {"gymnasium", "numpy", "torch", "textworld", "alfworld", "pydantic", "tatsu"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registering_twice_is_harmless():
    assert ID in register_environments()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ID in register_environments()


class TestUtf8Text:
    def test_membership(self):
        space = Utf8Text()
        assert all(text in space for text in ("", "go to fridge 1", "Grüße\n", "火", "a" * 10**6))
        assert not any(thing in space for thing in (b"x", 3, None, "\ud800"))
        assert "abcd" not in Utf8Text(3)

    def test_samples_are_members_and_seeded(self):
        one, other = Utf8Text(5, seed=3), Utf8Text(5, seed=3)
        drawn = [one.sample() for _ in range(200)]
        assert drawn == [other.sample() for _ in range(200)]
        assert all(text in one for text in drawn)
        assert Utf8Text(0).sample() == ""
        with pytest.raises(ValueError, match="without mask"):
            one.sample(mask=np.ones(3, np.int8))

    def test_identity(self):
        assert Utf8Text(3) == Utf8Text(3) != Utf8Text(4)
        assert len({Utf8Text(3), Utf8Text(3)}) == 1
        assert repr(Utf8Text()) == "Utf8Text()"
        assert not Utf8Text().is_np_flattenable
        assert pickle.loads(pickle.dumps(Utf8Text(3))) == Utf8Text(3)
        with pytest.raises(ValueError, match="negative"):
            Utf8Text(-1)
