"""What commands print, and how they fail: one paragraph on stderr, exit code 2."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from agentdistill.config import load_config
from tests.cli.toy_game import COMMAND, GAME
from tests.plugins.test_registry import GOOD


def test_list_shows_everything_and_the_broken(run, install):
    install("bad-dist", version="0.3", bad_plugin="raise RuntimeError('boom')")
    install("good-dist", version="1.5", good_plugin=GOOD)
    outcome = run("plugins", "list")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["step-weight", "good", "good-dist", "1.5", "good"] in lines
    assert ["broken", "bad_plugin", "bad-dist", "0.3", "RuntimeError:", "boom"] in lines
    assert lines[0] == ["KIND", "NAME", "FROM", "SUMMARY"]


def test_what_is_the_same_in_every_row_is_said_once(run):
    head, *rows, empty, foot = run("plugins", "list", "--kind", "loss").out.splitlines()
    assert head.split() == ["NAME", "SUMMARY"] and not empty and len(rows) > 15
    assert foot.startswith(f"{len(rows)} from agentdistill ")
    assert {row.find(row.split(maxsplit=1)[1]) for row in rows} == {head.find("SUMMARY")}


def test_list_as_json(run, install):
    install("bad-dist", version="0.3", bad_plugin="raise RuntimeError('boom')")
    data = json.loads(run("plugins", "list", "--json").out)
    uniform = next(row for row in data["registrations"] if (row["kind"], row["name"]) == ("step-weight", "uniform"))
    assert uniform["distribution"] == "agentdistill" and uniform["target"].endswith(":uniform")
    bad = next(row for row in data["plugins"] if row["name"] == "bad_plugin")
    assert (bad["status"], bad["version"], bad["error"]) == ("broken", "0.3", "RuntimeError: boom")


def test_a_clash_is_listed(run, install, registering):
    install("first-dist", first_plugin=registering("same", "a:b"))
    install("second-dist", second_plugin=registering("same", "c:d"))
    outcome = run("plugins", "list")
    assert "clash: the step-weight `same`" in outcome.out
    assert "first-dist" in outcome.out and "second-dist" in outcome.out


def test_show_tells_options_and_hooks(run, install):
    install("good-dist", good_plugin=GOOD)
    out = run("plugins", "show", "good").out
    assert "good_plugin:good" in out and "gamma" in out and "1.5" in out and "growth" in out
    out = run("plugins", "show", "good_plugin").out
    assert "agentdistill_register_step_weights" in out and "step-weight plain" in out
    outcome = run("plugins", "show", "goood")
    assert outcome.code == 2 and "Did you mean `good`?" in outcome.err


def test_check_fails_on_a_bad_plugin_and_passes_a_good_one(run, install):
    install("good-dist", good_plugin=GOOD)
    outcome = run("plugins", "check", "good_plugin")
    assert outcome.code == 1 and "no attribute `nothing`" in outcome.out
    assert run("plugins", "check", "step_weights").code == 0
    outcome = run("plugins", "check", "step_weigths")
    assert outcome.code == 2 and "Did you mean `step_weights`?" in outcome.err


def test_envs_list(run, install):
    install("toy-game-dist", toy_game_plugin=GAME)
    out = run("envs", "list").out
    assert "toy-game" in out and "count up" in out and "toy-game/all" in out
    rows = json.loads(run("envs", "list", "--json").out)
    assert {"toy-game/all": "every game"} in [row["panels"] for row in rows]


def test_envs_check(run, install):
    install("toy-game-dist", toy_game_plugin=GAME)
    outcome = run("envs", "check", "toy-game", "--env.goal", "4")
    assert "tasks" in outcome.out and "checks:" in outcome.out
    outcome = run("envs", "check", "Absent-v0")
    assert outcome.code == 2 and "Gymnasium cannot make `Absent-v0`" in outcome.err


def test_envs_check_says_once_what_is_missing(run, monkeypatch, tmp_path):
    from agentdistill_scienceworld import jvm

    monkeypatch.setattr(jvm, "_shared", {})  # another test of this process may have started one
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for arguments, says in (
        (["scienceworld"], "ScienceWorld needs Java"),
        (["scienceworld", "--env.split", "tset"], "no split `tset`. Did you mean `test`?"),
    ):
        outcome = run("envs", "check", *arguments)
        assert outcome.code == 2 and outcome.out == "" and says in outcome.err and outcome.err.count("\n") == 1


def test_errors_are_one_paragraph_and_code_two(run):
    outcome = run("train", "no-such-recipe")
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("error: There is no recipe named `no-such-recipe`.") and outcome.err.count("\n") == 1
    assert run("train").code == 2
    assert "Traceback" not in run("plugins", "list", "-p", "no:absent").err


def test_other_exceptions_keep_their_traceback(run, monkeypatch):
    import agentdistill.cli.group as group

    monkeypatch.setattr(group.cli, "main", lambda **_: 1 / 0)
    from agentdistill.cli import main

    with pytest.raises(ZeroDivisionError):
        main([])


def test_unknown_commands_and_options_are_told(run):
    outcome = run("trian")
    assert outcome.code == 2 and "No such command 'trian'" in outcome.err and "`train`" in outcome.err
    outcome = run("train", "x.toml", "--teacher", "local")
    assert outcome.code == 2 and "--teacher.KEY VALUE" in outcome.err
    outcome = run("train", "x.toml", "--optim.lr")
    assert outcome.code == 2 and "--optim.lr needs a value" in outcome.err


def test_a_plugins_command_is_there(run, install):
    install("hello-dist", hello_plugin=COMMAND)
    assert "Say hello." in run("--help").out
    assert run("hello").out == "hello from a plugin\n"


def test_every_command_has_help(run):
    from agentdistill.cli.group import COMMANDS

    for name in COMMANDS:
        outcome = run(name, "--help")
        assert outcome.code == 0 and "Usage:" in outcome.out, name


RECIPE = """
[env]
type = "toy-game"
[student]
model = "some/model"
[teacher]
type = "expert"
[loss]
type = "toy_loss:Loss"
"""


def test_dry_run_prints_a_recipe_with_origins(run, install, tmp_path: Path):
    install("toy-game-dist", toy_game_plugin=GAME)
    (tmp_path / "site" / "toy_loss.py").write_text("class Loss:\n    def __init__(self, config): ...\n")
    Path("mine.toml").write_text(RECIPE)
    outcome = run("train", "mine.toml", "--dry-run", "--optim.steps", "7", "--output", "here")
    assert outcome.code == 0, outcome.err
    values = tomllib.loads(outcome.out)
    assert values["optim"]["steps"] == 7 and values["run"]["directory"] == "here"
    lines = {line.partition(" = ")[0]: line for line in outcome.out.splitlines()}
    assert lines["steps"].endswith("# command line")
    assert lines["goal"].endswith("# plugin default of toy-game")
    assert lines["model"].endswith("# mine.toml")
    Path("again.toml").write_text(outcome.out)
    overrides = {"optim.steps": 7}
    assert load_config(["again.toml"]).hash == load_config(["mine.toml"], overrides).hash


def test_a_local_module_works_at_once(run, install):
    install("toy-game-dist", toy_game_plugin=GAME)
    Path("local_weight.py").write_text(
        "from agentdistill import hookimpl\n@hookimpl\n"
        "def agentdistill_register_step_weights(register): register('recency', 'local_weight:f')\n"
        "def f(steps, config): return steps.mask.float()\n"
    )
    Path("mine.toml").write_text(RECIPE.replace("toy_loss:Loss", "opd"))
    outcome = run("train", "mine.toml", "-p", "local_weight", "--step_weight.type", "recency", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert tomllib.loads(outcome.out)["run"]["plugins"] == ["local_weight"]
    outcome = run("train", "mine.toml", "-p", "absent_weight", "--dry-run")
    assert outcome.code == 2 and "Cannot load the plugin `absent_weight`" in outcome.err
