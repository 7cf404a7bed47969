"""Which goal a generated game asks for: drawn like the real ones, over every scene where it makes sense."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from agentdistill.errors import ConfigError
from agentdistill_alfworld.generate.tables import Place, Scene, load_scenes, load_statistics, unseen_scenes

APPLIANCE: Mapping[str, tuple[str, str]] = {
    "pick_clean_then_place_in_recep": ("sinkbasin", "cleanable"),
    "pick_heat_then_place_in_recep": ("microwave", "heatable"),
    "pick_cool_then_place_in_recep": ("fridge", "coolable"),
}
"""Task type -> the receptacle type that treats the object, and what the object must be."""

LOOK = "look_at_obj_in_light"
TWO = "pick_two_obj_and_place"
UNTREATED = frozenset({"pick_and_place_simple", TWO})
"""Task types that an object already in its target would solve from the start."""

SPLITS: Mapping[str, str] = {
    "train": "train",
    "valid_seen": "valid_seen",
    "valid_unseen": "valid_unseen",
    "generated-train": "train",
    "generated-seen": "valid_seen",
    "generated-unseen": "valid_unseen",
}
"""Names of the splits that can be generated -> ALFWorld's name of the folder."""

_LIKE_REAL = 0.6
_FLOOR_LAMP = 0.08
_LOUNGES = ("bedroom", "livingroom")
_SMALL = frozenset({"coffeemachine", "stoveburner", "toiletpaperhanger", "handtowelholder", "towelholder", "toaster"})


@dataclass(frozen=True)
class Goal:
    """What a game asks for, and where.

    Attributes:
        task_type: one of the six ALFRED task types.
        scene: the room.
        object_type: type of the object.
        receptacle_type: type of the target receptacle, or of the lamp.
    """

    task_type: str
    scene: Scene
    object_type: str
    receptacle_type: str


def scenes_of(split: str) -> tuple[Scene, ...]:
    """The scenes a split may use: the four unseen ones, or the other 116.

    Raises:
        ConfigError: there is no such split.
    """
    if split not in SPLITS:
        raise ConfigError(
            f"There is no split {split!r} to generate.",
            f"The splits are {', '.join(SPLITS)}.",
            "Choose one of them.",
        )
    unseen = SPLITS[split] == "valid_unseen"
    scenes = load_scenes()
    return tuple(scenes[number] for number in sorted(scenes) if (number in unseen_scenes()) == unseen)


def draw_goal(rng: random.Random, split: str, task_type: str) -> Goal:
    """Draws a goal: a room kind as often as in real goals, any of its scenes, then a pair of types that fits there."""
    real = load_statistics().goals[task_type]
    while True:
        lamp = ("floorlamp" if rng.random() < _FLOOR_LAMP else "desklamp") if task_type == LOOK else ""
        kind = _LOUNGES if lamp == "floorlamp" else (rng.choice(real)[0],)
        rooms = _rooms(SPLITS[split], kind, task_type, lamp)
        if not rooms:
            continue
        scene = rng.choice(rooms)
        fitting = _pairs(scene.number, task_type, lamp)
        if rng.random() < _LIKE_REAL:
            known = [
                (thing, lamp or place)
                for where, thing, place in real
                if where == scene.kind and thing in fitting and (lamp or place in fitting[thing])
            ]
            if not known:
                continue
            thing, place = rng.choice(known)
        else:
            thing = rng.choice(tuple(fitting))
            place = rng.choice(fitting[thing])
        return Goal(task_type, scene, thing, place)


def lamp_places(scene: Scene, lamp: str) -> tuple[Place, ...]:
    """Receptacles at which a lamp may stand in a scene; none when the scene has no such lamp."""
    if lamp not in scene.types:
        return ()
    if lamp == "floorlamp":
        beside = scene.statistics.beside_floor_lamp
        return tuple(place for place in scene.places if place.type in beside)
    return scene.choice(lamp).places


@cache
def _rooms(folder: str, kinds: tuple[str, ...], task_type: str, lamp: str) -> tuple[Scene, ...]:
    return tuple(s for s in scenes_of(folder) if s.kind in kinds and _pairs(s.number, task_type, lamp))


@cache
def _pairs(number: int, task_type: str, lamp: str) -> dict[str, tuple[str, ...]]:
    """Object type -> receptacle (or lamp) types that make a solvable, non-trivial goal in a scene."""
    scene, statistics = load_scenes()[number], load_statistics()
    appliance, quality = APPLIANCE.get(task_type, ("", "pickupable"))
    if (appliance and appliance not in scene.by_type) or (lamp and not lamp_places(scene, lamp)):
        return {}
    pairs = {}
    for thing in scene.types:
        if thing not in statistics.affordances["pickupable"] or thing not in statistics.affordances[quality]:
            continue
        if lamp:
            fits: tuple[str, ...] = (lamp,) if scene.choice(thing).places else ()
        else:
            fits = tuple(
                name
                for name in scene.by_type
                if thing in statistics.can_contain.get(name, ())
                and name != appliance
                and not (task_type == TWO and name in _SMALL)
                and scene.choice(thing, name if task_type in UNTREATED else "").places
            )
        if fits:
            pairs[thing] = fits
    return pairs
