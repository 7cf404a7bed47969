"""The conformance kit: a good environment passes every rule, and each way to be bad is named by its rule."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from agentdistill.envs.check import RULES, check_environment
from agentdistill.testing import assert_environment, environment_contract
from tests.testing import walker
from tests.testing.walker import Walker, WalkerSource

BROKEN = [
    ("tasks", walker.ClashingTasks, "two tasks have the same key"),
    ("api", walker.FourValues, "step must return (observation, reward, terminated, truncated, info)"),
    ("gymnasium", walker.NoDefaultSeed, "seed"),
    ("info", walker.NoScore, "info lacks 'score'"),
    ("spaces", walker.SmallSpace, "observation outside its space"),
    ("seeding", walker.Unseeded, "differs between two environments"),
    ("steps", walker.OwnMood, "two environments differ"),
    ("randomness", walker.GlobalDice, "Python's global `random`"),
    ("randomness", walker.GlobalNumpyDice, "`numpy.random`"),
    ("isolation", walker.SharedLamp, "when another environment plays beside it"),
    ("replay", walker.Forgetful, "Replaying"),
    ("admissible", walker.EmptyOffer, "'fly' was offered and then refused"),
    ("endings", walker.LimitAsEnd, "a step limit is `truncated`"),
    ("endings", walker.WonAndOn, "it must be terminated"),
    ("expert", walker.BadExpert, "the expert did not succeed"),
    ("unicode", walker.OnlyAscii, "raised UnicodeEncodeError"),
    ("long-action", walker.FrailLength, "raised MemoryError"),
    ("provenance", walker.HomeSource, "names a folder of this machine"),
    ("pickling", walker.LambdaSource, "pickle"),
    ("leaks", walker.LeaksProcess, "sleep 60"),
    ("leaks", walker.LeaksOrphan, "sleep 60"),
    ("leaks", walker.LeaksFile, "temporary files"),
    ("leaks", walker.LeaksDescriptor, "open files: /dev/null"),
    ("leaks", walker.LeaksThread, "threads"),
]


@pytest.fixture(autouse=True)
def clean():
    walker.STOP.clear()
    yield
    for child in walker.CHILDREN:
        child.kill()
        child.wait()
    for process in walker.ORPHANS:
        os.kill(process, signal.SIGKILL)
    for file in walker.OPEN:
        file.close()
    walker.STOP.set()
    for left in (walker.CHILDREN, walker.ORPHANS, walker.OPEN):
        left.clear()


def source_of(broken: type) -> WalkerSource:
    return WalkerSource(broken) if issubclass(broken, Walker) else broken()


def test_every_rule_has_an_environment_that_breaks_it():
    assert {rule for rule, *_ in BROKEN} == set(RULES)
    assert all(text.endswith(".") for text in RULES.values())


test_a_good_environment_keeps_every_rule = environment_contract(WalkerSource)


@pytest.mark.parametrize(("rule", "broken", "message"), BROKEN, ids=[broken.__name__ for _, broken, _ in BROKEN])
def test_a_broken_rule_is_named(rule: str, broken: type, message: str, monkeypatch):
    monkeypatch.setattr("agentdistill.envs.leaks.PATIENCE", 0.3)
    (result,) = check_environment(source_of(broken), "train", only=[rule])
    assert not result.passed and message in result.detail, result
    assert result.name == rule and result.rule == RULES[rule]


@pytest.mark.parametrize("broken", [walker.FourValues, walker.NoScore, walker.OwnMood, walker.OnlyAscii])
def test_one_broken_rule_does_not_stop_the_other_checks(broken: type):
    results = check_environment(source_of(broken), "train")
    assert [result.name for result in results] == list(RULES)


def test_an_assertion_names_what_was_seen_and_the_rule():
    with pytest.raises(AssertionError, match=r"(?s)info: info lacks 'score'.*rule: Every info has the agreed keys"):
        assert_environment(WalkerSource(walker.NoScore), only=["info", "steps"])
    assert len(assert_environment(WalkerSource(), only=["info", "steps"])) == 2


def test_an_unknown_check_is_told():
    with pytest.raises(ValueError, match="no check 'unicorn'; checks: tasks, api"):
        check_environment(WalkerSource(), "train", only=["unicorn"])


class NoTasks(WalkerSource):
    def tasks(self, split):
        return []


def test_without_tasks_there_is_one_result():
    (result,) = check_environment(NoTasks(), "train")
    assert (result.name, result.passed, result.detail) == ("tasks", False, "the split train has no tasks")


def test_the_command_line_shows_the_rule_that_is_broken(tmp_path, monkeypatch, capsys):
    from agentdistill.cli import main

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_walker.py").write_text(
        "from tests.testing.walker import NoScore, WalkerSource\ndef make(config): return WalkerSource(NoScore)\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["envs", "check", "broken_walker:make"])
    out = capsys.readouterr().out
    assert ended.value.code == 1
    lines = [line.split() for line in out.splitlines()]
    assert ["fail", "info"] in [line[:2] for line in lines] and ["ok", "replay"] in [line[:2] for line in lines]
    assert f"rule: {RULES['info']}" in out and "18 checks: 1 failed (info)" in out


def test_the_rules_are_documented_as_they_are_checked():
    page = (Path(__file__).resolve().parents[2] / "docs" / "writing-plugins.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 3]
    written = [row for row in rows if row.split("`")[1] in RULES]
    assert written == [f"| `{name}` | {rule} |" for name, rule in RULES.items()]
