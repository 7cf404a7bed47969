"""Any text environment that Gymnasium knows, as `type = "module:Id-v0"`."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from tiny_runs import households, write_recipe

from agentdistill.envs.adapter import BLOCK, GymnasiumConfig, GymnasiumSource
from agentdistill.envs.check import RULES, check_environment
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.gymnasium_ids import is_gymnasium_id
from tests.adapter.foreign_game import GAME

NAME = "foreign_game_module:Guess-v0"


@pytest.fixture(autouse=True)
def foreign(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "foreign"
    folder.mkdir(exist_ok=True)
    (folder / "foreign_game_module.py").write_text(GAME)
    monkeypatch.syspath_prepend(str(folder))


def source(name: str = NAME, **options) -> GymnasiumSource:
    return GymnasiumSource(name, GymnasiumConfig(**options))


def play(made: GymnasiumSource, *actions: str, seed: int = 3):
    env = made.make()
    states = [env.reset(options={"task": made.tasks("train")[seed]})]
    states += [env.step(action) for action in actions]
    env.close()
    return states


def secret(seed: int = 3) -> str:
    env = source().make()
    env.reset(options={"task": source().tasks("train")[seed]})
    return str(env._inner.unwrapped.secret)


def test_what_an_id_is():
    assert all(map(is_gymnasium_id, ["A-v0", "ns/A-v0", "m:A-v12", "pkg.mod:ns/Some_Name-v3"]))
    assert not any(map(is_gymnasium_id, ["alf", "module:Class", "m:A-v", "a/b", "-v", "m:A-v0:x", "a b-v0"]))


def test_the_registry_knows_every_id_without_a_plugin():
    registry = PluginRegistry.load()
    made = registry.build("environment", {"type": NAME, "step_limit": 5, "arguments": {"top": 3}}, "env")
    assert made.name == NAME and made.config.step_limit == 5
    with pytest.raises(ConfigError, match=r"\[env\] stpe_limit.*Did you mean `step_limit`"):
        registry.build("environment", {"type": NAME, "stpe_limit": 5}, "env")


@pytest.mark.parametrize(
    "options",
    [{}, {"expert_key": "best", "arguments": {"lists": True}, "admissible_key": "commands"}],
    ids=["as it is", "with names of keys"],
)
def test_it_keeps_every_rule(options):
    results = check_environment(source(**options), "train", steps=6)
    assert [result.name for result in results] == list(RULES)
    assert not [result for result in results if not result.passed]


def test_splits_are_seeds_that_never_meet():
    made = source(train=30, valid=20, test=10, seed=7)
    seeds = [{task.seed for task in made.tasks(split)} for split in ("train", "valid", "test")]
    assert [len(some) for some in seeds] == [30, 20, 10] and seeds[0] == set(range(7, 37))
    assert not any(a & b for a, b in itertools.combinations(seeds, 2))
    most = source(train=BLOCK, valid=1)
    assert most.tasks("train")[-1].seed < most.tasks("valid")[0].seed
    with pytest.raises(DataError, match=r"no split `trian`\. Did you mean `train`"):
        made.tasks("trian")


def test_more_tasks_of_one_split_move_no_other():
    assert source(train=10).tasks("test") == source(train=1000).tasks("test")


def test_success_by_the_reward_is_the_default_and_is_said():
    made = source()
    right, wrong = play(made, secret())[-1], play(made, "99")[-1]
    assert (right[2], right[4]["won"]) == (True, True) and (wrong[2], wrong[4]["won"]) == (True, False)
    assert made.provenance()["won_when"] == "the episode terminates with a last reward above 0"
    assert not play(source(won_reward=1.0), secret())[-1][4]["won"]


def test_success_by_a_key():
    made = source(arguments={"verdict": "is_success"})
    assert made.success_rule == "info['is_success']" and play(made, secret())[-1][4]["won"]
    made = source(arguments={"verdict": "gold"}, won_key="gold")
    assert made.success_rule == "info['gold']" and play(made, secret())[-1][4]["won"]
    with pytest.raises(EnvironmentFailure, match=r"info\['gold'\]; the last info has: best\. Name another key"):
        play(source(won_key="gold"), secret())


def test_success_by_the_return():
    made = source(won_return=1.0)
    assert play(made, secret())[-1][4]["won"] and not play(made, "99")[-1][4]["won"]
    assert "sum up to 1 or more" in made.success_rule


def test_what_is_not_known_is_not_pretended():
    (observation, info), *_ = play(source())
    assert info["admissible_actions"] == [] and info["score"] == 0.0 and info["valid"] and not info["won"]
    assert info["task"] == observation and "expert_action" not in info
    assert play(source(goal="guess the number"))[0][1]["task"] == "guess the number"


def test_an_action_outside_the_space_is_not_sent_but_costs_a_step():
    states = play(source(step_limit=3), "go east", "löok", "")
    assert [state[0] for state in states[1:]] == ["This is no action here. Nothing happens."] * 2 + [
        "Lower." if secret() == "9" else states[3][0]
    ]
    assert [state[4]["valid"] for state in states[1:3]] == [False, False]
    assert [state[3] for state in states[1:]] == [False, False, True]
    with pytest.raises(ValueError, match="go east"):
        play(source(check_space=False), "go east")


def test_the_experts_action_comes_from_its_key():
    env = source(expert_key="best").make()
    _, info = env.reset(seed=1, options={"expert": True})
    over = False
    while not over:
        *_, over, _, info = env.step(info["expert_action"])
    assert info["won"]


def test_a_broken_api_is_named():
    with pytest.raises(EnvironmentFailure, match=r"GuessBroken-v0` breaks Gymnasium's API\. step must return"):
        play(source("foreign_game_module:GuessBroken-v0"), "1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v1", r"no text environment\. Its actions are Discrete"),
        ("Absent-v0", "Gymnasium cannot make `Absent-v0`"),
        ("no_such_module:Guess-v0", "No module named 'no_such_module'"),
    ],
)
def test_what_cannot_be_played_is_told(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        source(name).make()


def test_arguments_are_part_of_the_protocol():
    assert json.loads(source(arguments={"top": 3}).provenance()["arguments"]) == {"top": 3}
    with pytest.raises(ConfigError, match="unexpected keyword argument 'tpo'"):
        source(arguments={"tpo": 3}).make()


def command(capsys, *arguments: str) -> tuple[int, str]:
    from agentdistill.cli import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_check_and_play_and_evaluate_from_the_command_line(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, out = command(capsys, "play", NAME, "--agent", "expert", "--env.expert_key", "best")
    assert code == 0 and "I think of a number" in out and "won after" in out
    code, out = command(
        capsys, "eval", "--agent", "expert", "--panel", f"{NAME}/valid", "--limit", "8", "--env.expert_key", "best"
    )
    assert code == 0 and "foreign_game_module:Guess-v0/valid (8 of 100)" in out, out
    assert "won_when the episode terminates with a last reward above 0" in out
    code, out = command(capsys, "envs", "check", "foreign_game_module:Absent-v0")
    assert code == 2 and "Gymnasium cannot make" in out


@pytest.mark.slow
def test_train_without_plugin_code(capsys, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recipe = households(
        tiny_models,
        env={"type": NAME, "max_steps": 3},
        rollout={"max_new_tokens": 4},
        optim={"steps": 1},
        eval={"panel": f"{NAME}/test", "limit": 2},
    )
    write_recipe(Path("run.toml"), recipe)
    code, out = command(capsys, "train", "run.toml", "--output", "out")
    assert code == 0, out
    results = json.loads(Path("out/results.json").read_text())
    assert results["after"]["panel"]["name"] == f"{NAME}/test (2 of 100)"
    assert "last reward above 0" in results["after"]["protocol"]["environment"]["won_when"]
