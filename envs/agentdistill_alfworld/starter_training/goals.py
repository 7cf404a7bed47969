"""Other goals for generated games.

Goals of generated games are as frequent as those of real ones, so a few objects are asked for all the time and others
hardly ever; a model trained on them alone learns to look for the frequent ones. So every room is played a second time
with a goal drawn evenly from all that it allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random

from agentdistill_alfworld.experts.text_goal import APPLIANCE, Treatment
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import Game
from agentdistill_alfworld.generate.tables import load_statistics

_TREATMENTS: dict[str, Treatment] = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}
_ATTEMPTS = 20


def with_second_goals(games: Iterable[Game], task_types: Sequence[str], seed: int) -> Iterator[Game]:
    """Every game, and after it the same room with another goal where one is found.

    Args:
        games: the games.
        task_types: task types of the second goals, drawn evenly; a type given twice comes twice as often.
        seed: seed of the second goals.
    """
    for game in games:
        yield game
        other = with_other_goal(game, task_types, Random(f"goal:{seed}:{game.key}"))
        if other is not None:
            yield other


def with_other_goal(game: Game, task_types: Sequence[str], rng: Random) -> Game | None:
    """The same room with another goal that is not reached at the start; None if none was found in a few attempts."""
    for _ in range(_ATTEMPTS):
        task_type = rng.choice(task_types)
        things = _things(game, task_type)
        if not things:
            continue
        thing = rng.choice(things)
        places = _places(game, task_type, thing)
        if not places:
            continue
        place = rng.choice(places)
        template = rng.choice(load_statistics().templates[task_type])
        changed = replace(
            game,
            key=f"{game.key}/other",
            task_type=task_type,
            goal_object=thing,
            goal_receptacle=place,
            goal_text=template.format(obj=thing, recep=place, toggle=place, mrecep=""),
        )
        if not FastGame(changed).won:
            return changed
    return None


def _things(game: Game, task_type: str) -> list[str]:
    """Object types of which enough lie about to be fetched, and that can be treated as the task asks."""
    able = {"clean": game.cleanable, "heat": game.heatable, "cool": game.coolable}
    treatment = _TREATMENTS.get(task_type)
    if treatment and not any(r.type == APPLIANCE[treatment] for r in game.receptacles.values()):
        return []
    fit = game.pickupable & able[treatment] if treatment else game.pickupable
    found = [game.objects[item] for item in sorted({item for item, _ in game.placement}) if item in fit]
    wanted = 2 if task_type == "pick_two_obj_and_place" else 1
    return sorted({kind for kind in found if found.count(kind) >= wanted})


def _places(game: Game, task_type: str, thing: str) -> list[str]:
    """Receptacle types that take a thing, or the lamp types of the room."""
    if task_type == "look_at_obj_in_light":
        lamps = {game.objects[item] for item, _ in game.placement if item in game.toggleable}
        return sorted(lamps & {"desklamp", "floorlamp"})
    present = {receptacle.type for receptacle in game.receptacles.values()}
    return sorted(place for place, kind in game.can_contain if kind == thing and place in present)
