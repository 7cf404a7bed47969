"""A kitchen of corner cases: small enough for the stock engine to play hundreds of steps in a few seconds."""

from __future__ import annotations

_AT = "_bar__plus_00_dot_{:02d}_bar__plus_01_dot_00_bar__plus_00_dot_50"


def _id(name: str, number: int) -> str:
    return name + _AT.format(number)


_RECEPTACLES = {  # id: (type, location, openable)
    _id("Fridge", 1): ("Fridge", 1, True),
    _id("Microwave", 2): ("Microwave", 2, True),
    _id("Sink", 3) + "_bar_SinkBasin": ("SinkBasin", 3, False),
    _id("CounterTop", 4): ("CounterTop", 4, False),
    _id("CounterTop", 5): ("CounterTop", 4, False),
    _id("Cabinet", 6): ("Cabinet", 4, True),
    _id("Drawer", 7): ("Drawer", 5, True),
    _id("Shelf", 8): ("Shelf", 6, False),
}
_OBJECTS = {  # id: (properties, receptacles, locations)
    _id("Apple", 11): ("pickupable cleanable heatable coolable sliceable isCool", (1,), (1,)),
    _id("Apple", 12): ("pickupable cleanable heatable coolable sliceable", (4, 5), (4,)),
    _id("Bread", 13): ("pickupable heatable sliceable", (), (4,)),
    _id("Knife", 14): ("pickupable cleanable", (4,), (4,)),
    _id("ButterKnife", 15): ("pickupable cleanable", (7,), (5,)),
    _id("Bowl", 16): ("pickupable cleanable isReceptacleObject", (6,), (4,)),
    _id("Cup", 17): ("pickupable coolable isReceptacleObject", (8,), (2,)),
    _id("DeskLamp", 18): ("toggleable", (6,), (4,)),
    _id("Sink", 19): ("", (3,), (3,)),
    _id("Lettuce", 20): ("pickupable cleanable coolable sliceable isCool", (5,), (6,)),
    _id("Window", 21): ("", (), (9,)),
    _id("Laptop", 22): ("pickupable toggleable", (4,), (4,)),
}
_INSIDE = ((12, 16), (16, 16), (20, 16), (15, 16), (17, 17))
_FITS = {
    "Fridge": ("Apple", "Bowl", "Cup", "Lettuce"),
    "Microwave": ("Apple", "Cup", "Bread"),
    "SinkBasin": ("Apple", "Knife", "Bowl", "Lettuce"),
    "CounterTop": ("Apple", "Bread", "Knife", "ButterKnife", "Bowl", "Lettuce", "Laptop"),
    "Cabinet": ("Bowl", "Cup"),
    "Drawer": ("Knife", "ButterKnife"),
    "Shelf": ("Bowl", "Cup", "Apple"),
}
GOALS = {
    "pick_and_place_simple": "(objectType ?o {o}Type) (receptacleType ?r {r}Type) (inReceptacle ?o ?r)",
    "pick_clean_then_place_in_recep": (
        "(cleanable ?o) (objectType ?o {o}Type) (receptacleType ?r {r}Type) (isClean ?o) (inReceptacle ?o ?r)"
    ),
    "pick_heat_then_place_in_recep": (
        "(heatable ?o) (objectType ?o {o}Type) (receptacleType ?r {r}Type) (isHot ?o) (inReceptacle ?o ?r)"
    ),
    "pick_cool_then_place_in_recep": (
        "(coolable ?o) (objectType ?o {o}Type) (receptacleType ?r {r}Type) (isCool ?o) (inReceptacle ?o ?r)"
    ),
    "pick_two_obj_and_place": (
        "(objectType ?o {o}Type) (receptacleType ?r {r}Type) (inReceptacle ?o ?r) (exists (?o2 - object) (and "
        "(not (= ?o ?o2)) (objectType ?o2 {o}Type) (receptacleType ?r {r}Type) (inReceptacle ?o2 ?r)))"
    ),
    "look_at_obj_in_light": (
        "(objectType ?ot {r}Type) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) "
        "(inReceptacle ?ot ?r)"
    ),
}


def _goal(task_type: str, thing: str, target: str) -> str:
    body = GOALS[task_type].format(o=thing, r=target)
    if task_type == "look_at_obj_in_light":
        held = f"(exists (?o - object ?a - agent) (and (objectType ?o {thing}Type) (holds ?a ?o)))"
        return f"(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and {body})) {held}"
    return f"(exists (?r - receptacle) (exists (?o - object) (and {body})))"


def problem(task_type: str, thing: str, target: str, agent: int = 0) -> str:
    """The kitchen's PDDL problem.

    Args:
        task_type: one of ALFRED's six.
        thing: object type of the goal, e.g. "Apple".
        target: receptacle type of the goal, or lamp type.
        agent: number of the location where the agent starts; 0 is away from everything.
    """
    number = {int(i.split("_dot_")[1][:2]): i for i in [*_RECEPTACLES, *_OBJECTS]}
    facts = [f"(atLocation agent1 loc_bar_{agent})"]
    for identifier, (kind, place, openable) in _RECEPTACLES.items():
        facts += [f"(receptacleType {identifier} {kind}Type)", f"(receptacleAtLocation {identifier} loc_bar_{place})"]
        facts += [f"(openable {identifier})"] if openable else []
    for identifier, (properties, places, locations) in _OBJECTS.items():
        facts.append(f"(objectType {identifier} {identifier.split('_bar_')[0]}Type)")
        facts += [f"({word} {identifier})" for word in properties.split()]
        facts += [f"(inReceptacle {identifier} {number[place]})" for place in places]
        facts += [f"(objectAtLocation {identifier} loc_bar_{place})" for place in locations]
    facts += [f"(inReceptacleObject {number[inner]} {number[outer]})" for inner, outer in _INSIDE]
    facts += [f"(canContain {place}Type {kind}Type)" for place, kinds in _FITS.items() for kind in kinds]
    kinds = sorted({i.split("_bar_")[0] for i in _OBJECTS})
    declared = ["agent1 - agent"]
    declared += [f"loc_bar_{place} - location" for place in range(10)]
    declared += [f"{identifier} - receptacle" for identifier in _RECEPTACLES]
    declared += [f"{identifier} - object" for identifier in _OBJECTS]
    declared += [f"{kind}Type - otype" for kind in kinds]
    declared += [f"{kind}Type - rtype" for kind in sorted({kind for kind, _, _ in _RECEPTACLES.values()})]
    lines = "\n    "
    return (
        f"(define (problem kitchen)\n(:domain alfred)\n(:objects\n    {lines.join(declared)})\n"
        f"(:init\n    {lines.join(facts)})\n(:goal (and {_goal(task_type, thing, target)})))\n"
    )
