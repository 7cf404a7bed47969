"""The shipped tables, read once and put in the shape the generator samples from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from itertools import accumulate
from typing import Any

_MANGLE = (("-", "_minus_"), ("|", "_bar_"), ("+", "_plus_"), (".", "_dot_"), (",", "_comma_"))
_ALLOWED_RATE = 5e-4
"""Weight of a place that the rules allow but where no real problem put such an object."""


def mangle(name: str) -> str:
    """An AI2-THOR id as PDDL spells it, lower case: "Apple|+00.10|..." becomes "apple_bar__plus_00_dot_10_bar_..."."""
    name = name.lower()
    for character, mangled in _MANGLE:
        name = name.replace(character, mangled)
    return name


@dataclass(frozen=True)
class Place:
    """A receptacle of a scene.

    Attributes:
        id: its id as the engine sees it.
        type: its type, lower case.
        location: id of the location it is reached from.
        openable: it can be opened.
        position: x, y, z in metres.
    """

    id: str
    type: str
    location: str
    openable: bool
    position: tuple[float, float, float]


@dataclass(frozen=True)
class Choice:
    """Where an object of one type may lie in one scene: places with cumulative weights, and the chance of nowhere."""

    places: tuple[Place, ...]
    cumulative: tuple[float, ...]
    nowhere: float


@dataclass(frozen=True)
class Statistics:
    """What was learned from the real problems, all types lower case.

    Attributes:
        counts: room kind -> object type -> one entry per real room that could have it: how many it had.
        placements: room kind -> object type -> receptacle type -> [seen, chances]; "" is nowhere.
        second_places: receptacle type -> [(other type, chance that an object in the first is in that one as well)].
        cool_in_fridge: chance that an object in a fridge is cool at the start.
        goals: task type -> (room kind, object type, receptacle or lamp type), one entry per real goal.
        goal_counts: task type -> how many objects of the goal's type the room had, one entry per real goal.
        templates: task type -> sentences with {obj}, {recep}, {toggle}.
        goal_pddl: task type -> the PDDL goal with {obj}, {recep}, {toggle} (AI2-THOR's spelling).
        can_contain: receptacle type -> object types that fit.
        affordances: "pickupable", "cleanable", ... -> object types.
        beside_floor_lamp: receptacle types at which a floor lamp may stand.
        spelling: lower-case type -> AI2-THOR's spelling.
        object_types: all object types in AI2-THOR's spelling.
        receptacle_types: all receptacle types in AI2-THOR's spelling.
    """

    counts: Mapping[str, Mapping[str, tuple[int, ...]]]
    placements: Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]]
    second_places: Mapping[str, tuple[tuple[str, float], ...]]
    cool_in_fridge: float
    goals: Mapping[str, tuple[tuple[str, str, str], ...]]
    goal_counts: Mapping[str, tuple[int, ...]]
    templates: Mapping[str, tuple[str, ...]]
    goal_pddl: Mapping[str, str]
    can_contain: Mapping[str, frozenset[str]]
    affordances: Mapping[str, frozenset[str]]
    beside_floor_lamp: tuple[str, ...]
    spelling: Mapping[str, str]
    object_types: tuple[str, ...]
    receptacle_types: tuple[str, ...]

    def rate(self, kind: str, object_type: str, receptacle_type: str) -> float:
        """How likely an object of a type lies in one given receptacle of a type, in a room of this kind."""
        rows = [self.placements[kind].get(object_type)]
        if rows[0] is None:
            rows = [self.placements[other].get(object_type) for other in sorted(self.placements)]
        pairs = [row[receptacle_type] for row in rows if row is not None and receptacle_type in row]
        seen = sum(n for n, chances in pairs if chances) / max(1, sum(chances for _, chances in pairs))
        return seen + (_ALLOWED_RATE if object_type in self.can_contain.get(receptacle_type, ()) else 0.0)


@dataclass(frozen=True)
class Scene:
    """One of the 120 ALFRED rooms.

    Attributes:
        number: AI2-THOR's FloorPlan number.
        kind: "kitchen", "livingroom", "bedroom" or "bathroom".
        types: object types that the room may have.
        places: its receptacles, sorted by id.
        statistics: where objects of this kind of room lie.
    """

    number: int
    kind: str
    types: tuple[str, ...]
    places: tuple[Place, ...]
    statistics: Statistics
    _choices: dict[tuple[str, str], Choice] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def by_type(self) -> dict[str, tuple[Place, ...]]:
        """Receptacles of every type present."""
        found: dict[str, list[Place]] = {}
        for place in self.places:
            found.setdefault(place.type, []).append(place)
        return {name: tuple(found[name]) for name in sorted(found)}

    @cached_property
    def locations(self) -> frozenset[str]:
        """Locations from which a receptacle is reached."""
        return frozenset(place.location for place in self.places)

    def fits_somewhere(self, object_type: str) -> bool:
        """Whether an object of this type, once taken, can be put down anywhere in the room."""
        return any(object_type in self.statistics.can_contain.get(name, ()) for name in self.by_type)

    def choice(self, object_type: str, avoid: str = "") -> Choice:
        """Where an object of a type may lie, leaving out receptacles of the type `avoid`."""
        key = (object_type, avoid)
        if key not in self._choices:
            self._choices[key] = self._weigh(object_type, avoid)
        return self._choices[key]

    def _weigh(self, object_type: str, avoid: str) -> Choice:
        statistics = self.statistics
        if object_type in statistics.affordances["pickupable"] and not self.fits_somewhere(object_type):
            return Choice((), (), 1.0)
        rates = {name: statistics.rate(self.kind, object_type, name) for name in self.by_type if name != avoid}
        places = tuple(place for place in self.places if rates.get(place.type))
        cumulative = tuple(accumulate(rates[place.type] for place in places))
        seen, of = statistics.placements[self.kind].get(object_type, {}).get("", (0, 1))
        return Choice(places, cumulative, seen / of if places else 1.0)


@cache
def load_statistics() -> Statistics:
    """Reads `statistics.json`."""
    raw = _read("statistics.json")
    spelling = {name.lower(): name for name in [*raw["object_types"], *raw["receptacle_types"]]}
    second: dict[str, list[tuple[str, float]]] = {}
    for first, other, seen, chances in raw["second_places"]:
        second.setdefault(first.lower(), []).append((other.lower(), seen / chances))
    cool, in_fridge = raw["cool_in_fridge"]
    return Statistics(
        counts={
            kind: {name.lower(): _expand(histogram) for name, histogram in table.items()}
            for kind, table in raw["counts"].items()
        },
        placements={
            kind: {
                name.lower(): {place.lower(): (seen, of) for place, (seen, of) in row.items()}
                for name, row in table.items()
            }
            for kind, table in raw["placements"].items()
        },
        second_places={name: tuple(others) for name, others in second.items()},
        cool_in_fridge=cool / in_fridge,
        goals={
            task: tuple((kind, thing.lower(), place.lower()) for kind, thing, place, n in rows for _ in range(n))
            for task, rows in raw["goals"].items()
        },
        goal_counts={task: _expand(histogram) for task, histogram in raw["goal_counts"].items()},
        templates={task: tuple(sentences) for task, sentences in raw["templates"].items()},
        goal_pddl=raw["goal_pddl"],
        can_contain={
            place.lower(): frozenset(name.lower() for name in names) for place, names in raw["can_contain"].items()
        },
        affordances={name: frozenset(thing.lower() for thing in things) for name, things in raw["affordances"].items()},
        beside_floor_lamp=tuple(name.lower() for name in raw["beside_floor_lamp"]),
        spelling=spelling,
        object_types=tuple(raw["object_types"]),
        receptacle_types=tuple(raw["receptacle_types"]),
    )


@cache
def load_scenes() -> Mapping[int, Scene]:
    """Reads `scenes.json`: the 120 scenes by number."""
    scenes = {}
    for number, raw in _read("scenes.json")["scenes"].items():
        places = []
        for name, kind, location, openable in raw["receptacles"]:
            x, y, z = (float(part) for part in name.split("|")[1:4])
            places.append(Place(mangle(name), kind.lower(), mangle(location), openable, (x, y, z)))
        places.sort(key=lambda place: place.id)
        types = tuple(name.lower() for name in raw["types"])
        scenes[int(number)] = Scene(int(number), raw["kind"], types, tuple(places), load_statistics())
    return scenes


@cache
def unseen_scenes() -> frozenset[int]:
    """Numbers of the four scenes that belong to the unseen split alone."""
    return frozenset(_read("scenes.json")["unseen"])


def _read(name: str) -> dict[str, Any]:
    return json.loads(files("agentdistill_alfworld").joinpath(f"tables/{name}").read_text("utf-8"))


def _expand(histogram: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(int(value) for value, times in histogram.items() for _ in range(times))
