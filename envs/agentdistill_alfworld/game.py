"""One ALFWorld game as plain facts: what its PDDL problem says, with nothing of the engine that plays it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from agentdistill.errors import DataError

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""The six ALFRED task types, in the order in which ALFWorld numbers them (1 to 6)."""

_PLACED = {"objecttype", "receptacletype", "inreceptacle"}
_GOAL_PREDICATES = {
    frozenset(_PLACED): "pick_and_place_simple",
    frozenset(
        {"objecttype", "toggleable", "istoggled", "receptacleatlocation", "atlocation", "inreceptacle", "holds"}
    ): ("look_at_obj_in_light"),
    frozenset(_PLACED | {"cleanable", "isclean"}): "pick_clean_then_place_in_recep",
    frozenset(_PLACED | {"heatable", "ishot"}): "pick_heat_then_place_in_recep",
    frozenset(_PLACED | {"coolable", "iscool"}): "pick_cool_then_place_in_recep",
    frozenset(_PLACED | {"="}): "pick_two_obj_and_place",
}
"""The predicates a goal speaks of decide its task type: file names are not needed for it."""

_ABOUT_ONE = frozenset(
    {"openable", "pickupable", "toggleable", "cleanable", "heatable", "coolable", "sliceable", "isreceptacleobject"}
    | {"opened", "isclean", "ishot", "iscool", "issliced", "istoggled"}
)
_ABOUT_TWO = frozenset(
    {"receptacletype", "objecttype", "cancontain", "receptacleatlocation", "objectatlocation", "atlocation"}
    | {"inreceptacle", "inreceptacleobject"}
)
_UNSEEN_BY_TEXT = frozenset(
    {"checked", "examined", "full", "ison", "isreceptacleobjectfull", "moveable", "wasinreceptacle"}
)
"""Facts that no command needs and no text shows: in no precondition of `alfred.pddl`, in no rule of `alfred.twl2`."""

_FACT = re.compile(r"\(\s*([\w=-]+)\s+([^()]*)\)")
_NUMBER_FACT = re.compile(r"\(=\s*\([^()]*\)[^()]*\)")
_COMMENT = re.compile(r";[^\n]*")
_GOAL_WORD = re.compile(r"\(\s*([\w=-]+)")
_GOAL_STRUCTURE = {"goal", "and", "exists", "not"}


@dataclass(frozen=True)
class Receptacle:
    """A place that can hold objects.

    Attributes:
        type: its type, lower case without the suffix "type", e.g. "cabinet".
        location: id of the location from which the agent reaches it.
        openable: it can be opened and closed, and hides its content while closed.
    """

    type: str
    location: str
    openable: bool


@dataclass(frozen=True)
class Game:
    """The initial state and the goal of one game.

    Ids and types are lower case, as the engine sees them ("apple_bar__plus_00_dot_47..."); types have no "type" suffix.

    Attributes:
        key: what callers call this game, e.g. its folder inside the split.
        task_type: one of `TASK_TYPES`.
        goal_object: type of the object the task is about.
        goal_receptacle: type of the receptacle it must reach; for `look_at_obj_in_light` the type of the lamp.
        goal_text: the sentence after "Your task is to: ", without the final dot.
        receptacles: every receptacle by id.
        objects: type of every object by id.
        placement: sorted (object id, receptacle id); an object may be in no receptacle, or in two.
        pickupable: ids of objects that can be taken; the five sets after it are read the same way.
        toggleable: objects that can be used (lamps).
        cleanable: objects that can be cleaned.
        heatable: objects that can be heated.
        coolable: objects that can be cooled.
        sliceable: objects that can be sliced.
        can_contain: (receptacle type, object type) pairs that fit.
        agent_location: id of the location where the agent starts.
        object_locations: sorted (object id, location id); need not agree with `placement`.
        receptacle_objects: objects described by what lies in them (bowls, boxes, ...).
        inside_objects: sorted (inner object id, outer object id); never changes.
        opened: receptacles open at the start; the five sets after it are object ids.
        clean: objects clean at the start.
        hot: objects hot at the start.
        cool: objects cool at the start.
        sliced: objects sliced at the start.
        toggled: objects switched on at the start.
    """

    key: str
    task_type: str
    goal_object: str
    goal_receptacle: str
    goal_text: str
    receptacles: dict[str, Receptacle]
    objects: dict[str, str]
    placement: tuple[tuple[str, str], ...]
    pickupable: frozenset[str]
    toggleable: frozenset[str]
    cleanable: frozenset[str]
    heatable: frozenset[str]
    coolable: frozenset[str]
    sliceable: frozenset[str]
    can_contain: frozenset[tuple[str, str]]
    agent_location: str
    object_locations: tuple[tuple[str, str], ...] = ()
    receptacle_objects: frozenset[str] = frozenset()
    inside_objects: tuple[tuple[str, str], ...] = ()
    opened: frozenset[str] = frozenset()
    clean: frozenset[str] = frozenset()
    hot: frozenset[str] = frozenset()
    cool: frozenset[str] = frozenset()
    sliced: frozenset[str] = frozenset()
    toggled: frozenset[str] = frozenset()

    @cached_property
    def names(self) -> dict[str, str]:
        """The name a player reads for every id, e.g. "cabinet 3", receptacles and objects together.

        As ALFWorld numbers them: within one name the ids, sorted, count down to 1.
        """
        ids = sorted([*self.receptacles, *self.objects])
        bases = [_base_name(identifier) for identifier in ids]
        left = Counter(bases)
        names = {}
        for identifier, base in zip(ids, bases, strict=True):
            names[identifier] = f"{base} {left[base]}"
            left[base] -= 1
        return names


def _base_name(identifier: str) -> str:
    """What an id names: the part before its coordinates, and "basin" for the basin of a sink or bathtub."""
    base = identifier.partition("_bar_")[0]
    return base + "basin" if "basin" in identifier else base


def _untyped(name: str) -> str:
    return name.removesuffix("type")


def parse_problem(pddl_problem: str, goal_text: str, key: str) -> Game:
    """Reads a game from its PDDL problem, of any ALFWorld data version.

    Args:
        pddl_problem: text of the problem, upper or lower case.
        goal_text: the sentence after "Your task is to: ", without the final dot.
        key: what to call the game; named in errors.

    Raises:
        DataError: the problem has no initial state or goal, or says something that ALFWorld's text rules cannot
            play (a fact of an unknown kind, a receptacle without a place, a goal that is none of the six).
    """
    text = pddl_problem.lower()
    if ";" in text:
        text = _COMMENT.sub("", text)
    start, end = text.find("(:init"), text.find("(:goal")
    if not 0 <= start < end:
        raise DataError(
            f"The PDDL problem of game {key!r} has no (:init ...) before a (:goal ...).",
            "The file is cut short or is not an ALFWorld problem.",
            "Download or generate the game again.",
        )
    facts = _read_facts(text[start + len("(:init") : end], key)
    task_type, goal_object, goal_receptacle = _read_goal(text[end:], key)
    located = dict(facts.pairs("receptacleatlocation"))
    openable = facts.ids("openable")
    receptacle_types = dict(facts.pairs("receptacletype"))
    objects = {identifier: _untyped(kind) for identifier, kind in facts.pairs("objecttype")}
    agent = facts.pairs("atlocation")
    _check_facts(facts, key, receptacle_types, objects, located)
    return Game(
        key=key,
        task_type=task_type,
        goal_object=goal_object,
        goal_receptacle=goal_receptacle,
        goal_text=goal_text,
        receptacles={
            identifier: Receptacle(_untyped(kind), located[identifier], identifier in openable)
            for identifier, kind in sorted(receptacle_types.items())
        },
        objects=dict(sorted(objects.items())),
        placement=facts.sorted_pairs("inreceptacle"),
        pickupable=facts.ids("pickupable"),
        toggleable=facts.ids("toggleable"),
        cleanable=facts.ids("cleanable"),
        heatable=facts.ids("heatable"),
        coolable=facts.ids("coolable"),
        sliceable=facts.ids("sliceable"),
        can_contain=frozenset((_untyped(place), _untyped(thing)) for place, thing in facts.pairs("cancontain")),
        agent_location=agent[0][1],
        object_locations=facts.sorted_pairs("objectatlocation"),
        receptacle_objects=facts.ids("isreceptacleobject"),
        inside_objects=facts.sorted_pairs("inreceptacleobject"),
        opened=facts.ids("opened"),
        clean=facts.ids("isclean"),
        hot=facts.ids("ishot"),
        cool=facts.ids("iscool"),
        sliced=facts.ids("issliced"),
        toggled=facts.ids("istoggled"),
    )


class _Facts:
    """The facts of an initial state by predicate: arguments as one string each, order kept, duplicates dropped."""

    def __init__(self, found: Iterable[tuple[str, str]]) -> None:
        self.by_predicate: dict[str, dict[str, None]] = defaultdict(dict)
        for predicate, arguments in found:
            self.by_predicate[predicate][arguments] = None

    def ids(self, predicate: str) -> frozenset[str]:
        return frozenset(arguments.strip() for arguments in self.by_predicate.get(predicate, ()))

    def pairs(self, predicate: str) -> list[tuple[str, str]]:
        found = []
        for arguments in self.by_predicate.get(predicate, ()):
            first, second = arguments.split()
            found.append((first, second))
        return found

    def sorted_pairs(self, predicate: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(set(self.pairs(predicate))))


def _read_facts(section: str, key: str) -> _Facts:
    if "(=" in section:
        section = _NUMBER_FACT.sub("", section)
    found = _FACT.findall(section)
    facts = _Facts(found)
    if len(found) != section.count("("):
        _refuse(key, "holds facts that are not of the form (predicate argument ...)")
    unknown = sorted(set(facts.by_predicate) - _ABOUT_ONE - _ABOUT_TWO - _UNSEEN_BY_TEXT)
    if unknown:
        _refuse(key, f"starts with facts that the text rules give no meaning at the start: {', '.join(unknown)}")
    for predicate, arguments in facts.by_predicate.items():
        wanted = 1 if predicate in _ABOUT_ONE else 2 if predicate in _ABOUT_TWO else None
        wrong = next((a for a in arguments if wanted is not None and len(a.split()) != wanted), None)
        if wrong is not None:
            _refuse(key, f"has the fact ({predicate} {wrong}), which needs {wanted} argument(s)")
    return facts


def _read_goal(section: str, key: str) -> tuple[str, str, str]:
    """Task type, object type and receptacle (or lamp) type of a goal."""
    words = frozenset(_GOAL_WORD.findall(section)) - _GOAL_STRUCTURE
    task_type = _GOAL_PREDICATES.get(words)
    facts = _Facts(_FACT.findall(section))
    things, places = dict(facts.pairs("objecttype")), set(dict(facts.pairs("receptacletype")).values())
    if task_type == "look_at_obj_in_light":
        lamps = {things.get(lamp) for lamp in facts.ids("istoggled")}
        held = {things.get(thing) for _, thing in facts.pairs("holds")}
    else:
        lamps, held = set(), set(things.values())
    wanted, target = held, lamps or places
    if task_type is None or len(wanted) != 1 or len(target) != 1 or None in wanted | target:
        _refuse(key, f"has a goal that is none of the six ALFWorld tasks (it speaks of {', '.join(sorted(words))})")
    return task_type, _untyped(str(wanted.pop())), _untyped(str(target.pop()))


def _check_facts(
    facts: _Facts, key: str, receptacles: dict[str, str], objects: dict[str, str], located: dict[str, str]
) -> None:
    """Refuses what the simulator could not play as the engine does."""
    placeless = sorted(set(receptacles) ^ set(located))
    if placeless:
        _refuse(key, f"has a receptacle without a type or a place: {placeless[0]}")
    for predicate, what in (("receptacleatlocation", "place"), ("receptacletype", "type"), ("objecttype", "type")):
        counts = Counter(thing for thing, _ in set(facts.pairs(predicate)))
        if counts and max(counts.values()) > 1:
            _refuse(key, f"gives {min(name for name, count in counts.items() if count > 1)} more than one {what}")
    if len(facts.pairs("atlocation")) != 1:
        _refuse(key, "does not put the agent at exactly one location")
    both = sorted(set(receptacles) & set(objects))
    if both:
        _refuse(key, f"has {both[0]} both as a receptacle and as an object")
    inside, here, within = (facts.pairs(p) for p in ("inreceptacle", "objectatlocation", "inreceptacleobject"))
    used = {thing for thing, _ in [*inside, *here]} | {thing for pair in within for thing in pair}
    used = used.union(*(facts.ids(p) for p in _ABOUT_ONE - {"openable", "opened"})) - set(objects)
    used |= ({r for _, r in inside} | facts.ids("openable") | facts.ids("opened")) - set(receptacles)
    if used:
        _refuse(key, f"has an object or receptacle without a type: {min(used)}")
    nameless = [identifier for identifier in [*receptacles, *objects] if "_bar_" not in identifier]
    if nameless:
        _refuse(key, f"has an id that ALFWorld cannot turn into a name, lacking coordinates: {min(nameless)}")


def _refuse(key: str, why: str) -> NoReturn:
    raise DataError(
        f"Game {key!r} cannot be read.",
        f"Its PDDL problem {why}.",
        "Leave it out, or check that it is an ALFWorld game (one object, one receptacle, not movable, not sliced).",
    )
