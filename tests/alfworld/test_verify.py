"""The plan checker: the rules of the domain read a second time, and in agreement with the fast engine."""

from __future__ import annotations

import dataclasses
import random

from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.generate import check_plan, game, generate_one
from agentdistill_alfworld.generate.verify import PddlState

CHANGING = ("go", "open", "close", "take", "move", "clean", "heat", "cool", "use")


def candidates(state: FastGame, rng: random.Random) -> list[str]:
    """Commands that apply now, and as many made of names of the game that mostly do not."""
    names = list(state.names.values())
    one, other = rng.choice(names), rng.choice(names)
    apply = [command for command in state.admissible() if command.startswith(CHANGING)]
    useful = [command for command in apply if not command.startswith("go")]
    return [
        rng.choice(useful or apply),
        rng.choice(apply),
        f"go to {one}",
        f"{rng.choice(('open', 'close', 'use'))} {one}",
        f"{rng.choice(('clean', 'heat', 'cool'))} {other} with {one}",
        f"take {one} from {other}",
        f"move {one} to {other}",
    ]


def test_both_readings_agree_under_random_play() -> None:
    rng = random.Random(3)
    accepted = refused = 0
    for index in range(60):
        made = game("train", 17, index)
        fast, rules = FastGame(made), PddlState(made)
        for _ in range(60):
            command = rng.choice(candidates(fast, rng))
            fast.step(command)
            assert rules.apply(command) == fast.valid, (made.key, command)
            assert rules.goal_holds() == fast.won, (made.key, command)
            accepted, refused = accepted + fast.valid, refused + (not fast.valid)
        lies = {(fact[1], fact[2]) for fact in rules.facts if fact[0] == "inreceptacle"}
        assert lies == {(o, r) for r, inside in fast.contents.items() for o in inside}
        for predicate, ours in (("isclean", fast.clean), ("ishot", fast.hot), ("iscool", fast.cool)):
            assert {fact[1] for fact in rules.facts if fact[0] == predicate} == ours
        assert {fact[1] for fact in rules.facts if fact[0] == "opened"} == fast.opened
    assert accepted > 1000
    assert refused > 1000


def test_a_wrong_plan_is_named() -> None:
    made = generate_one("train", 0, 2)
    plan = list(made.plan)
    assert check_plan(made.game, plan) == ""
    assert check_plan(made.game, plan[:-1]) == "the goal does not hold at the end"
    assert check_plan(made.game, plan[1:]).startswith("command 1, ")
    assert check_plan(made.game, ["dance", *plan]) == "command 1, 'dance', does not apply"
    assert check_plan(made.game, [*plan, plan[0]]) == f"the goal already holds before command {len(plan) + 1}"


def test_a_game_that_is_solved_at_the_start_is_named() -> None:
    made = generate_one("train", 0, 0).game
    target = next(r for r, place in made.receptacles.items() if place.type == made.goal_receptacle)
    thing = next(o for o, kind in made.objects.items() if kind == made.goal_object)
    solved = dataclasses.replace(made, placement=tuple(sorted([*made.placement, (thing, target)])))
    assert check_plan(solved, ["look"]) == "the goal holds at the start"
