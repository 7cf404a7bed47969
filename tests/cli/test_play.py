"""A person at a pipe, and the expert."""

from __future__ import annotations

import pytest

from tests.cli.toy_game import GAME


@pytest.fixture(autouse=True)
def game(install):
    install("toy-game-dist", toy_game_plugin=GAME)


def test_a_person_plays_asks_and_wins(run):
    outcome = run("play", "toy-game", stdin="?\n:goal\nup\n:hint\njump\n:what\nup\nup\n")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert {"You are at 0.", "wait", "reach 2", "> up", "What?", "You are at 2."} <= set(lines)
    assert lines[-1] == "won after 3 turns"
    # The hint came from the state after one `up`, and the state is kept.
    assert lines[lines.index("> :hint") + 1] == "up" and "You are at 3." not in lines


def test_end_of_input_and_quit_end_the_game(run):
    assert run("play", "toy-game", stdin="wait\n").out.splitlines()[-1] == "not won after 1 turns"
    assert run("play", "toy-game", stdin=":quit\nup\n").out.splitlines()[-1] == "not won after 0 turns"


def test_an_answer_that_changes_nothing_is_not_printed_again(run):
    lines = run("play", "toy-game", stdin="jump\njump\nwait\n").out.splitlines()
    assert lines.count("What?") == 1 and lines[-1] == "not won after 3 turns"
    assert "(not understood, and nothing changed: ? shows what can be done)" in lines


def test_the_expert_plays(run):
    out = run("play", "toy-game", "--agent", "expert", "--env.goal", "3").out
    assert out.count("> up") == 3 and out.splitlines()[-1] == "won after 3 turns"
    out = run("play", "toy-game", "--agent", "expert", "--env.goal", "3", "--env.max_steps", "2").out
    assert out.splitlines()[-1] == "not won after 2 turns, score 2"
    outcome = run("play", "toy-game", "--agent", "expert", "--env.goal", "9")
    assert outcome.code == 2 and "The expert has no action here." in outcome.err


def test_the_task_is_chosen_by_key_or_seed(run):
    assert "game-1 (count)" in run("play", "toy-game", "--task", "game-1").out
    assert run("play", "toy-game", "--seed", "4").out == run("play", "toy-game", "--seed", "4").out
    outcome = run("play", "toy-game", "--task", "game-9")
    assert outcome.code == 2 and "no task `game-9`" in outcome.err
    assert "has no tasks" in run("play", "toy-game", "--env.split", "none").err
    assert run("play", "toy-game", "--env.split", "other").err == "error: There is no split other.\n"


def test_an_unknown_environment_or_option_is_told(run):
    assert "Did you mean `toy-game`?" in run("play", "toy-gme").err
    assert (
        "[env] gaol (from command line): unknown key. Did you mean `goal`?"
        in run("play", "toy-game", "--env.gaol", "1").err
    )
