"""The rules of `alfred.pddl` over plain facts, to check plans without any engine.

This is a second reading of the domain, apart from the fast engine: a state is a set of ground facts, a command is
one ground action, and an action changes the state exactly by its PDDL effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentdistill_alfworld.game import Game

Fact = tuple[str, ...]
"""A predicate and its arguments, lower case, e.g. ("inreceptacle", "apple_bar_...", "fridge_bar_...")."""

_TREATMENTS = {
    "clean": ("cleanable", "sinkbasin", "isclean", ""),
    "heat": ("heatable", "microwave", "ishot", "iscool"),
    "cool": ("coolable", "fridge", "iscool", "ishot"),
}
_QUALITY = {
    "pick_clean_then_place_in_recep": ("cleanable", "isclean"),
    "pick_heat_then_place_in_recep": ("heatable", "ishot"),
    "pick_cool_then_place_in_recep": ("coolable", "iscool"),
}
AGENT = "agent1"


def initial_facts(game: Game) -> list[Fact]:
    """The facts of the `(:init ...)` section of a game's problem, in a fixed order."""
    facts: list[Fact] = [("receptacletype", r, f"{place.type}type") for r, place in game.receptacles.items()]
    facts += [("objecttype", o, f"{kind}type") for o, kind in game.objects.items()]
    facts += [("cancontain", f"{place}type", f"{thing}type") for place, thing in sorted(game.can_contain)]
    facts += [("pickupable", o) for o in sorted(game.pickupable)]
    facts += [("isreceptacleobject", o) for o in sorted(game.receptacle_objects)]
    facts += [("openable", r) for r, place in game.receptacles.items() if place.openable]
    facts += [("opened", r) for r in sorted(game.opened)]
    facts.append(("atlocation", AGENT, game.agent_location))
    for predicate, things in (
        ("cleanable", game.cleanable),
        ("heatable", game.heatable),
        ("coolable", game.coolable),
        ("toggleable", game.toggleable),
        ("sliceable", game.sliceable),
        ("isclean", game.clean),
        ("ishot", game.hot),
        ("iscool", game.cool),
        ("issliced", game.sliced),
        ("istoggled", game.toggled),
    ):
        facts += [(predicate, o) for o in sorted(things)]
    facts += [("inreceptacle", o, r) for o, r in game.placement]
    facts += [("inreceptacleobject", inner, outer) for inner, outer in game.inside_objects]
    facts += [("receptacleatlocation", r, place.location) for r, place in game.receptacles.items()]
    facts += [("objectatlocation", o, location) for o, location in game.object_locations]
    return facts


class PddlState:
    """A game played by the letter of the domain.

    Args:
        game: the game; only its facts are used, and its names to read commands.
    """

    def __init__(self, game: Game) -> None:
        self.facts = set(initial_facts(game))
        self._game = game
        self._ids = {name: identifier for identifier, name in game.names.items()}
        self._place = {r: place.location for r, place in game.receptacles.items()}
        self._at = game.agent_location

    def apply(self, command: str) -> bool:
        """Applies a command's action.

        Args:
            command: a command of the "move" dialect that changes the world; "slice" is in no plan and not known here.

        Returns:
            False, and nothing changed, when it is no such command or a precondition fails.
        """
        verb, _, rest = command.partition(" ")
        if verb == "go":
            return self._go(self._ids.get(rest.removeprefix("to "), ""))
        if verb == "open":
            return self._open(self._ids.get(rest, ""))
        if verb == "close":
            return self._close(self._ids.get(rest, ""))
        if verb == "use":
            return self._use(self._ids.get(rest, ""))
        link = {"take": " from ", "move": " to ", "clean": " with ", "heat": " with ", "cool": " with "}.get(verb)
        if link is None:
            return False
        first, _, second = rest.partition(link)
        thing, receptacle = self._ids.get(first, ""), self._ids.get(second, "")
        if not self._reaches(receptacle):
            return False
        if verb == "take":
            return self._take(thing, receptacle)
        if verb == "move":
            return self._move(thing, receptacle)
        return self._treat(verb, thing, receptacle)

    def goal_holds(self) -> bool:
        """The `(:goal ...)` of the game's task type."""
        facts, game = self.facts, self._game
        things = [o for o, kind in game.objects.items() if kind == game.goal_object]
        if game.task_type == "look_at_obj_in_light":
            if not any(("holds", AGENT, o) in facts for o in things):
                return False
            lit = [
                o
                for o, kind in game.objects.items()
                if kind == game.goal_receptacle and ("toggleable", o) in facts and ("istoggled", o) in facts
            ]
            return any(self._reaches(r) and ("inreceptacle", o, r) in facts for o in lit for r in game.receptacles)
        needed = _QUALITY.get(game.task_type, ())
        good = [o for o in things if all((predicate, o) in facts for predicate in needed)]
        wanted = 2 if game.task_type == "pick_two_obj_and_place" else 1
        targets = [r for r, place in game.receptacles.items() if place.type == game.goal_receptacle]
        return any(sum(("inreceptacle", o, r) in facts for o in good) >= wanted for r in targets)

    def _reaches(self, receptacle: str) -> bool:
        place = self._place.get(receptacle)
        return place is not None and ("atlocation", AGENT, place) in self.facts

    def _accessible(self, receptacle: str) -> bool:
        return ("openable", receptacle) not in self.facts or ("opened", receptacle) in self.facts

    def _change(self, remove: Iterable[Fact], add: Iterable[Fact]) -> bool:
        self.facts.difference_update(remove)
        self.facts.update(add)
        return True

    def _go(self, receptacle: str) -> bool:
        if receptacle not in self._place or self._reaches(receptacle):
            return False
        before, self._at = self._at, self._place[receptacle]
        return self._change([("atlocation", AGENT, before)], [("atlocation", AGENT, self._at)])

    def _open(self, receptacle: str) -> bool:
        if not self._reaches(receptacle) or self._accessible(receptacle):
            return False
        return self._change([], [("opened", receptacle), ("checked", receptacle)])

    def _close(self, receptacle: str) -> bool:
        if not self._reaches(receptacle) or ("opened", receptacle) not in self.facts:
            return False
        if ("openable", receptacle) not in self.facts:
            return False
        return self._change([("opened", receptacle)], [])

    def _use(self, lamp: str) -> bool:
        within = any(self._reaches(r) and ("inreceptacle", lamp, r) in self.facts for r in self._place)
        if ("toggleable", lamp) not in self.facts or not within:
            return False
        return self._change([], [("istoggled", lamp)])

    def _take(self, thing: str, receptacle: str) -> bool:
        facts = self.facts
        if ("pickupable", thing) not in facts or ("inreceptacle", thing, receptacle) not in facts:
            return False
        if ("holdsany", AGENT) in facts or not self._accessible(receptacle):
            return False
        return self._change(
            [("inreceptacle", thing, receptacle), ("objectatlocation", thing, self._place[receptacle])],
            [("holds", AGENT, thing), ("holdsany", AGENT)],
        )

    def _move(self, thing: str, receptacle: str) -> bool:
        if ("holds", AGENT, thing) not in self.facts or not self._accessible(receptacle):
            return False
        kinds = (f"{self._game.receptacles[receptacle].type}type", f"{self._game.objects[thing]}type")
        if ("cancontain", *kinds) not in self.facts:
            return False
        return self._change(
            [("holds", AGENT, thing), ("holdsany", AGENT)],
            [("inreceptacle", thing, receptacle), ("objectatlocation", thing, self._place[receptacle])],
        )

    def _treat(self, verb: str, thing: str, receptacle: str) -> bool:
        able, appliance, result, opposite = _TREATMENTS[verb]
        facts = self.facts
        if (able, thing) not in facts or ("holds", AGENT, thing) not in facts:
            return False
        if ("receptacletype", receptacle, f"{appliance}type") not in facts:
            return False
        return self._change([(opposite, thing)] if opposite else [], [(result, thing)])


def check_plan(game: Game, plan: Sequence[str]) -> str:
    """Checks that a plan solves a game by the rules of the domain.

    Returns:
        "" when every command applies, the goal holds after the last one and at no moment before; else what is wrong.
    """
    state = PddlState(game)
    for number, command in enumerate(plan):
        if state.goal_holds():
            return f"the goal already holds before command {number + 1}" if number else "the goal holds at the start"
        if not state.apply(command):
            return f"command {number + 1}, {command!r}, does not apply"
    return "" if state.goal_holds() else "the goal does not hold at the end"
