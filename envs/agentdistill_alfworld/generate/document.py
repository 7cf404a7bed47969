"""Generated games as genuine ALFWorld files: what `alfworld` downloads, byte for byte in the same format.

A game is a folder `json_2.1.1/<split>/<task>-<Object>-None-<Receptacle>-<scene>/<trial>/` with `game.tw-pddl`,
`initial_state.pddl` and `traj_data.json`; the unmodified `AlfredTWEnv` reads it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError
from agentdistill_alfworld.dialect import UNKNOWN_GOAL, GameText, shipped
from agentdistill_alfworld.experts.planner import Planner
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import Game
from agentdistill_alfworld.generate.goals import LOOK
from agentdistill_alfworld.generate.tables import load_statistics
from agentdistill_alfworld.generate.verify import AGENT, initial_facts

DATA_FOLDER = "json_2.1.1"
_KEY = re.compile(r"(?P<split>[\w.-]+)/(?P<task>\w+)-(?P<object>\w+)-None-(?P<place>\w+)-(?P<scene>\d+)/(?P<trial>\w+)")
_INDENT = "\n        "
_PREDICATES = {
    name.lower(): name
    for name in [
        "receptacleType",
        "objectType",
        "canContain",
        "pickupable",
        "isReceptacleObject",
        "openable",
        "opened",
        "atLocation",
        "cleanable",
        "heatable",
        "coolable",
        "toggleable",
        "sliceable",
        "isClean",
        "isHot",
        "isCool",
        "isSliced",
        "isToggled",
        "inReceptacle",
        "inReceptacleObject",
        "receptacleAtLocation",
        "objectAtLocation",
    ]
}


def problem_text(game: Game) -> str:
    """The game's PDDL problem, laid out and spelled as ALFWorld's own."""
    statistics = load_statistics()
    objects, places = statistics.object_types, statistics.receptacle_types
    locations = {place.location for place in game.receptacles.values()} | {game.agent_location}
    locations |= {location for _, location in game.object_locations}
    sections = (
        _INDENT.join(f"{name} - object" for name in objects),
        _INDENT.join(f"{name}Type - otype" for name in objects),
        _INDENT.join(f"{name}Type - rtype" for name in places),
    )
    things = (
        *(f"{_spell(name)} - object" for name in game.objects),
        *(f"{_spell(name)} - receptacle" for name in game.receptacles),
        *(f"{name} - location" for name in sorted(locations)),
    )
    facts = (
        f"({_PREDICATES[fact[0]]} {' '.join(part if part == AGENT else _spell(part) for part in fact[1:])})"
        for fact in initial_facts(game)
    )
    body = "\n".join(sections)
    trial = game.key.rpartition("/")[2]
    return (
        f"\n(define (problem plan_{trial})\n(:domain alfred)\n(:objects\n{AGENT} - agent\n{body}\n\n{_INDENT}"
        f"{_INDENT.join(things)}{_INDENT})\n    \n\n(:init\n\n{_INDENT}{_INDENT.join(facts)}{_INDENT})\n    "
        f"{_goal(game)}"
    )


def game_text(game: Game) -> GameText:
    """Domain, grammar and problem of a game, as the real engine loads them. "move" dialect.

    Raises:
        MissingExtraError: `alfworld`, which ships domain and grammar, is not installed.
    """
    domain, grammar = shipped()
    return GameText(domain, grammar.replace(UNKNOWN_GOAL, game.goal_text), problem_text(game))


def game_document(game: Game, plan: Sequence[str] | None = None) -> dict[str, Any]:
    """The content of `game.tw-pddl`.

    Args:
        game: the game; it is solvable, or the planner says that it is not.
        plan: commands that solve it, stored as its walkthrough; planned when None.

    Raises:
        MissingExtraError: `alfworld` is not installed.
        EnvironmentFailure: no plan was given and none exists.
    """
    text = game_text(game)
    return {
        "pddl_domain": text.domain,
        "grammar": text.grammar,
        "pddl_problem": text.problem,
        "solvable": True,
        "walkthrough": list(Planner(game).plan(FastGame(game)) if plan is None else plan),
    }


def write_game(game: Game, directory: Path, plan: Sequence[str] | None = None) -> Path:
    """Writes a game's three files.

    Args:
        game: a generated game; its key says where it belongs.
        directory: what $ALFWORLD_DATA shall name.
        plan: the walkthrough; planned when None.

    Returns:
        The game's folder. `game.tw-pddl` is written last and in one move: a folder without it is not a game.

    Raises:
        DataError: the game's key does not have ALFWorld's form.
        MissingExtraError: `alfworld` is not installed.
    """
    match = _KEY.fullmatch(game.key)
    if match is None:
        raise DataError(
            f"The game {game.key!r} cannot be written.",
            "ALFWorld's folders are named <split>/<task>-<Object>-None-<Receptacle>-<scene>/<trial>.",
            "Give the game such a key.",
        )
    document = game_document(game, plan)
    folder = directory / DATA_FOLDER / game.key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "initial_state.pddl").write_text(document["pddl_problem"], encoding="utf-8")
    (folder / "traj_data.json").write_text(json.dumps(_trajectory(game, match), indent=1), encoding="utf-8")
    unfinished = folder / "game.tw-pddl.part"
    unfinished.write_text(json.dumps(document), encoding="utf-8")
    os.replace(unfinished, folder / "game.tw-pddl")  # noqa: PTH105 - the atomic one
    return folder


def write_games(games: Iterable[Game], directory: Path) -> list[Path]:
    """Writes games and ALFWorld's `logic` folder beside them; returns the games' folders."""
    domain, grammar = shipped()
    (directory / "logic").mkdir(parents=True, exist_ok=True)
    (directory / "logic" / "alfred.pddl").write_text(domain, encoding="utf-8")
    (directory / "logic" / "alfred.twl2").write_text(grammar, encoding="utf-8")
    return [write_game(game, directory) for game in games]


def _spell(name: str) -> str:
    """An id or type in AI2-THOR's upper and lower case; the engine reads either."""
    spelling = load_statistics().spelling
    if name.endswith("type"):
        return spelling.get(name[:-4], name[:-4]) + "Type"
    head, bar, rest = name.partition("_bar_")
    before, last_bar, tail = rest.rpartition("_bar_")
    return f"{spelling.get(head, head)}{bar}{before}{last_bar}{spelling.get(tail, tail)}"


def _goal(game: Game) -> str:
    statistics = load_statistics()
    place = statistics.spelling.get(game.goal_receptacle, game.goal_receptacle)
    thing = statistics.spelling.get(game.goal_object, game.goal_object)
    return statistics.goal_pddl[game.task_type].format(obj=thing, recep=place, toggle=place, mrecep="")


def _trajectory(game: Game, parts: re.Match[str]) -> dict[str, Any]:
    look = game.task_type == LOOK
    scene = int(parts["scene"])
    return {
        "images": [],
        "pddl_params": {
            "mrecep_target": "",
            "object_sliced": False,
            "object_target": parts["object"],
            "parent_target": "" if look else parts["place"],
            "toggle_target": parts["place"] if look else "",
        },
        "plan": {"high_pddl": [], "low_actions": []},
        "scene": {"floor_plan": f"FloorPlan{scene}", "scene_num": scene},
        "task_id": parts["trial"],
        "task_type": game.task_type,
        "turk_annotations": {
            "anns": [{"assignment_id": "generated", "high_descs": [], "task_desc": game.goal_text, "votes": [1]}]
        },
    }
