"""Dotted overrides on the command line."""

from __future__ import annotations

import click
import pytest

from agentdistill.cli.recipe import split_overrides, split_plugins


def test_overrides_are_taken_out_in_both_spellings():
    arguments = ["a.toml", "--optim.lr", "1e-5", "-p", "m", "--step-weight.type=x", "--env.context.steps", "-1", "b"]
    overrides, rest = split_overrides(arguments)
    assert overrides == {"optim.lr": "1e-5", "step_weight.type": "x", "env.context.steps": "-1"}
    assert rest == ["a.toml", "-p", "m", "b"]


def test_the_last_value_wins_and_two_dashes_end_overrides():
    assert split_overrides(["--a.b", "1", "--a.b", "2", "--", "--c.d", "3"]) == (
        {"a.b": "2"},
        ["--", "--c.d", "3"],
    )
    assert split_overrides(["--a.b="])[0] == {"a.b": ""}


@pytest.mark.parametrize("arguments", [["--a.b"], ["--a.b", "--dry-run"], ["--a.b", "--c.d", "1"]])
def test_a_missing_value_is_an_error(arguments):
    with pytest.raises(click.UsageError, match=r"--a\.b needs a value"):
        split_overrides(arguments)


def test_p_loads_and_turns_off():
    assert split_plugins(["one", "no:two", "three.py"]) == (["one", "three.py"], ["two"])
