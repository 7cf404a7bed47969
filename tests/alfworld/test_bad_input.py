"""Every wrong input gets a sentence that says what to do, and costs nothing else."""

from __future__ import annotations

import json
import sys

import gymnasium
import pytest

from agentdistill.envs.check import check_environment
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure, MissingExtraError
from agentdistill.plugins import PluginConfig
from agentdistill.records import Task
from agentdistill_alfworld import dialect
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.env import AlfworldEnv
from agentdistill_alfworld.panels import valid_unseen
from agentdistill_alfworld.source import AlfworldSource

INSTALL = r"pip install 'agentdistill\[alfworld\]'"


def block(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Makes a package look uninstalled."""
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)

    class Blocker:
        def find_spec(self, fullname, path=None, target=None):
            if fullname.partition(".")[0] == name:
                raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

    monkeypatch.setattr(sys, "meta_path", [Blocker(), *sys.meta_path])


@pytest.mark.parametrize("package", ["textworld", "fast_downward"])
def test_the_real_engine_names_its_extra(real_data, monkeypatch, package):
    from agentdistill_alfworld import real

    monkeypatch.setattr(real, "_engine", real._engine.__wrapped__)
    block(monkeypatch, package)
    env = AlfworldEnv(split="valid_seen")
    with pytest.raises(MissingExtraError, match=INSTALL):
        env.reset(seed=0)


def test_the_upgrade_names_its_extra(real_data, monkeypatch):
    monkeypatch.setattr(dialect, "shipped", dialect.shipped.__wrapped__)
    monkeypatch.setattr(dialect.importlib.util, "find_spec", lambda name: None)
    block(monkeypatch, "alfworld")
    with pytest.raises(MissingExtraError, match=INSTALL):
        dialect.shipped()


def test_the_fast_engine_needs_no_extra(monkeypatch):
    for package in ("textworld", "fast_downward", "alfworld", "tatsu"):
        block(monkeypatch, package)
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    env = AlfworldEnv(engine="fast")
    _, info = env.reset(seed=0, options={"expert": True})
    assert env.step(info["expert_action"])[-1]["valid"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("valid_sean", "valid_seen"), ("valid-unseen", "valid_unseen"), ("generated_train", "generated-train")],
)
def test_an_unknown_split_gets_a_suggestion(real_data, name, hint):
    with pytest.raises(DataError, match=f"no split `{name}`. Did you mean `{hint}`.*Real splits: train"):
        AlfworldSource().tasks(name)
    with pytest.raises(DataError, match="Did you mean"):
        AlfworldEnv(split=name).reset()


def test_an_unknown_task_gets_a_suggestion(real_data):
    env = AlfworldEnv(split="valid_seen", engine="fast")
    key = env.source.tasks("valid_seen")[9].key
    with pytest.raises(DataError, match=f"has no game `{key[:-1]}`. Did you mean `{key}`"):
        env.reset(options={"task": key[:-1]})
    with pytest.raises(DataError, match="has no game `x`"):
        env.reset(options={"task": Task("alfworld", "generated-seen", "x")})
    with pytest.raises(DataError, match="is of the environment `chess`"):
        env.reset(options={"task": Task("chess", "valid_seen", key)})
    with pytest.raises(EnvironmentFailure, match="No episode"):
        env.step("look")
    assert env.reset(options={"task": key})[1]["task_key"] == key


@pytest.mark.parametrize("key", ["v1/seed1/000000", "v2/seed0/000000", "v1/seed0/000200", "v1/seed0/0"])
def test_a_generated_key_of_another_seed_version_or_size_is_unknown(key):
    with pytest.raises(DataError, match="has no game"):
        AlfworldSource().game(Task("alfworld", "generated-seen", key))


def test_published_splits_are_never_replaced_by_generated_ones(monkeypatch):
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(DataError, match=r"\$ALFWORLD_DATA is not set.*generated-seen"):
        AlfworldEnv(split="valid_seen").reset()
    with pytest.raises(DataError, match="generated-unseen"):
        valid_unseen(AlfworldSource(), PluginConfig())


def test_a_missing_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone.*is not a folder"):
        AlfworldEnv(split="valid_seen").reset()
    assert not (tmp_path / "gone").exists()


def test_importing_alfworld_makes_no_folder_and_sets_no_variable(tmp_path):
    import subprocess

    code = f"""
import os, sys
os.environ.pop("ALFWORLD_DATA", None)
os.environ["HOME"] = {str(tmp_path)!r}
from agentdistill_alfworld.upstream import import_alfworld
import_alfworld("alfworld.agents.expert")
assert "ALFWORLD_DATA" not in os.environ
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / ".cache" / "alfworld").exists()


def test_a_game_whose_pddl_is_damaged_is_named_and_the_others_go_on(few_games, monkeypatch, recwarn):
    root = few_games(3)
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    victim = sorted((root / "json_2.1.1" / "valid_seen").glob("*/*"))[1] / "game.tw-pddl"
    content = json.loads(victim.read_text())
    victim.write_text(json.dumps({**content, "pddl_problem": content["pddl_problem"][:3000]}))
    for engine in ("real", "fast"):
        env = AlfworldEnv(split="valid_seen", engine=engine)
        first, broken, last = env.source.tasks("valid_seen")
        env.reset(options={"task": first})
        with pytest.raises(DataError) as caught:
            env.reset(options={"task": broken})
        assert broken.key in str(caught.value)
        with pytest.raises(EnvironmentFailure, match="No episode"):
            env.step("look")
        assert env.reset(options={"task": last})[0].startswith("-= Welcome")


def test_a_file_that_vanishes_is_named(few_games, monkeypatch, recwarn):
    root = few_games(2)
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    env = AlfworldEnv(split="valid_seen", engine="fast")
    task = env.source.tasks("valid_seen")[0]
    (root / "json_2.1.1" / "valid_seen" / task.key / "game.tw-pddl").unlink()
    with pytest.raises(DataError, match=task.key):
        env.reset(options={"task": task})


def test_wrong_options():
    with pytest.raises(ConfigError, match=r"no option `splt`. Did you mean `split`"):
        AlfworldEnv(splt="train")
    with pytest.raises(ConfigError, match="engine"):
        gymnasium.make("agentdistill/ALFWorld-v0", engine="quick")
    with pytest.raises(ConfigError, match='the fast engine speaks only the dialect "move"'):
        AlfworldEnv(engine="fast", dialect="put")
    with pytest.raises(ConfigError, match="step_limit"):
        AlfworldEnv(step_limit=0)
    with pytest.raises(ConfigError, match="not both"):
        AlfworldEnv(source=AlfworldSource(), split="train")
    with pytest.raises(ConfigError, match=r"no option `exprt`. Did you mean `expert`"):
        AlfworldEnv(engine="fast", split="generated-seen").reset(options={"exprt": True})


def test_generated_games_have_one_dialect():
    env = AlfworldEnv(split="generated-seen", dialect="put")
    with pytest.raises(DataError, match="cannot be played in the dialect `put`"):
        env.reset(seed=0)


def test_a_new_game_file_cannot_be_played_as_an_old_one(few_games, monkeypatch, recwarn):
    root = few_games(1)
    (victim,) = (root / "json_2.1.1" / "valid_seen").glob("*/*/game.tw-pddl")
    content = json.loads(victim.read_text())
    text = dialect.upgrade(dialect.GameText(content["pddl_domain"], content["grammar"], content["pddl_problem"]))
    victim.write_text(json.dumps({**content, "pddl_domain": text.domain, "grammar": text.grammar}))
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    assert AlfworldEnv(split="valid_seen").reset()[0].startswith("-= Welcome")
    with pytest.raises(DataError, match=r"release after 2\.1\.1"):
        AlfworldEnv(split="valid_seen", dialect="put").reset()


def test_calls_out_of_order(real_data):
    env = AlfworldEnv(split="valid_seen", step_limit=1)
    for call in (lambda: env.step("look"), env.expert_action):
        with pytest.raises(EnvironmentFailure, match=r"Call reset\(\) first"):
            call()
    env.reset(seed=0)
    env.step("look")
    with pytest.raises(EnvironmentFailure, match="The episode is over"):
        env.step("look")
    env.close()
    assert env.reset(seed=0)[0].startswith("-= Welcome")
    env.close()


class TestConformanceFindsFaults:
    def check(self, fault, **options) -> dict[str, str]:
        source = AlfworldSource(AlfworldConfig(split="generated-seen", engine="fast", **options))
        make = source.make
        source.make = lambda: fault(make())
        results = check_environment(source, "generated-seen", episodes=1, steps=6)
        return {result.name: result.detail for result in results if not result.passed}

    def test_none_in_a_sound_environment(self):
        assert self.check(lambda env: env) == {}

    def test_an_unknown_split(self):
        (result,) = check_environment(AlfworldSource(), "nowhere")
        assert (result.name, result.passed) == ("tasks", False)

    def test_offered_actions_that_are_refused(self):
        def fault(env):
            info = env._info
            env._info = lambda valid: {**info(valid), "admissible_actions": ["fly"]}
            return env

        assert "offered and then refused" in self.check(fault)["admissible"]

    def test_a_missing_key(self):
        def fault(env):
            info = env._info
            env._info = lambda valid: {k: v for k, v in info(valid).items() if k != "valid"}
            return env

        assert "info lacks 'valid'" in self.check(fault)["info"]

    def test_chance_that_the_seed_does_not_govern(self):
        counter = iter(range(10**6))

        def fault(env):
            step = env.step

            def noisy(action):
                observation, *rest = step(action)
                return (f"{observation} {next(counter)}", *rest)

            env.step = noisy
            return env

        faults = self.check(fault)
        assert {"steps", "replay"} <= set(faults)
        assert "diverged" in faults["replay"]

    def test_an_expert_that_fails(self):
        def fault(env):
            env.expert_action = lambda: "look"
            return env

        assert "did not succeed" in self.check(fault)["expert"]
