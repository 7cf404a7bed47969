"""The full-information expert: the shortest plan it can find from any state, without search in the state space.

Each of the six task types is a fixed recipe (fetch, treat, place); what is left to choose is which object, from
where, with which appliance and into which receptacle. The planner writes out the sensible choices as sequences of
errands, counts their commands and takes the cheapest. A plan from a fresh game takes well under a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from agentdistill.errors import EnvironmentFailure
from agentdistill_alfworld.game import Game

_TREATMENTS = {
    "pick_clean_then_place_in_recep": ("clean", "sinkbasin"),
    "pick_heat_then_place_in_recep": ("heat", "microwave"),
    "pick_cool_then_place_in_recep": ("cool", "fridge"),
}
_LOOK = "look_at_obj_in_light"
_TWO = "pick_two_obj_and_place"

_Errand = tuple[str, bool, str, str]
"""Receptacle id, whether it must be open, verb ("take", "move", "clean", ..., "" for just going), object id."""


class State(Protocol):
    """What the planner reads of a running game; `FastGame` offers it. All ids, no names."""

    @property
    def location(self) -> str:
        """Location of the agent."""
        ...

    @property
    def held(self) -> str | None:
        """Object in the agent's hand."""
        ...

    @property
    def contents(self) -> Mapping[str, tuple[str, ...]]:
        """Objects in every receptacle."""
        ...

    @property
    def opened(self) -> frozenset[str]:
        """Open receptacles."""
        ...

    @property
    def clean(self) -> frozenset[str]:
        """Clean objects."""
        ...

    @property
    def hot(self) -> frozenset[str]:
        """Hot objects."""
        ...

    @property
    def cool(self) -> frozenset[str]:
        """Cool objects."""
        ...

    @property
    def toggled(self) -> frozenset[str]:
        """Lamps that were used."""
        ...

    @property
    def won(self) -> bool:
        """The goal holds."""
        ...


class Planner:
    """Plans one game. It sees everything and assumes that nothing changes but by the commands it is told of.

    Args:
        game: the game that will be played.
    """

    def __init__(self, game: Game) -> None:
        self._game = game
        self._location = {r: place.location for r, place in game.receptacles.items()}
        self._openable = frozenset(r for r, place in game.receptacles.items() if place.openable)
        self._targets = self._of_type(game.goal_receptacle)
        self._goal_objects = frozenset(o for o, kind in game.objects.items() if kind == game.goal_object)
        self._lamps = tuple(
            o for o, kind in sorted(game.objects.items()) if kind == game.goal_receptacle and o in game.toggleable
        )
        self._verb, appliance = _TREATMENTS.get(game.task_type, ("", ""))
        self._appliances = self._of_type(appliance)
        self._treatable = {"clean": game.cleanable, "heat": game.heatable, "cool": game.coolable}.get(
            self._verb, self._goal_objects
        )

    def plan(self, state: State) -> list[str]:
        """Commands of the "move" dialect that lead from a state to the goal; none when it is already reached.

        Raises:
            EnvironmentFailure: no plan exists, for instance because the agent holds an object that fits nowhere.
        """
        if state.won:
            return []
        location, opened = state.location, state.opened
        best: tuple[_Errand, ...] | None = None
        fewest = 1 << 30
        for errands in self._recipes(state):
            cost = self._cost(errands, location, opened, fewest)
            if cost < fewest:
                best, fewest = errands, cost
        if best is None:
            raise EnvironmentFailure(
                f"Game {self._game.key!r} cannot be won any more.",
                "No object of the wanted kind can be brought to where the goal wants it.",
                "Start the game again.",
            )
        return self._spell(best, location, opened)

    def action(self, state: State) -> str | None:
        """The first command of `plan`, or None when the goal is reached or out of reach."""
        try:
            plan = self.plan(state)
        except EnvironmentFailure:
            return None
        return plan[0] if plan else None

    def _of_type(self, kind: str) -> tuple[str, ...]:
        return tuple(r for r, place in sorted(self._game.receptacles.items()) if place.type == kind)

    def _cost(self, errands: Iterable[_Errand], location: str, opened: frozenset[str], limit: int) -> int:
        """Number of commands of a sequence of errands; it may stop counting at `limit`."""
        cost = 0
        also_open: list[str] = []
        for receptacle, inside, verb, _ in errands:
            place = self._location[receptacle]
            if place != location:
                cost += 1
                location = place
            if inside and receptacle in self._openable and receptacle not in opened and receptacle not in also_open:
                cost += 1
                also_open.append(receptacle)
            if verb:
                cost += 1
            if cost >= limit:
                break
        return cost

    def _spell(self, errands: Iterable[_Errand], location: str, opened: frozenset[str]) -> list[str]:
        names = self._game.names
        commands = []
        for receptacle, inside, verb, thing in errands:
            if self._location[receptacle] != location:
                location = self._location[receptacle]
                commands.append(f"go to {names[receptacle]}")
            if inside and receptacle in self._openable and receptacle not in opened:
                opened = opened | {receptacle}
                commands.append(f"open {names[receptacle]}")
            if verb == "use":
                commands.append(f"use {names[thing]}")
            elif verb:
                link = {"take": "from", "move": "to"}.get(verb, "with")
                commands.append(f"{verb} {names[thing]} {link} {names[receptacle]}")
        return commands

    def _recipes(self, state: State) -> Iterator[tuple[_Errand, ...]]:
        """Every sensible way to the goal."""
        if self._game.task_type == _LOOK:
            yield from self._look_recipes(state)
        elif self._game.task_type == _TWO:
            yield from self._two_recipes(state)
        else:
            yield from self._place_recipes(state)

    def _look_recipes(self, state: State) -> Iterator[tuple[_Errand, ...]]:
        lights: list[_Errand] = [
            (r, False, "" if lamp in state.toggled else "use", lamp)
            for lamp in self._lamps
            for r, inside in state.contents.items()
            if lamp in inside
        ]
        for start in self._in_hand(state, self._goal_objects):
            for light in lights:
                yield (*start, light)

    def _place_recipes(self, state: State) -> Iterator[tuple[_Errand, ...]]:
        """One object, perhaps treated, into one target."""
        done = self._treated(state)
        for start in self._in_hand(state, self._goal_objects & self._treatable):
            taken_from, thing = (start[-1][0], start[-1][3]) if start else ("", state.held or "")
            treatments: list[tuple[_Errand, ...]] = [()]
            if self._verb and thing not in done:
                treatments = [((tool, False, self._verb, thing),) for tool in self._appliances]
            # An object can lie in two receptacles; taking it from one leaves it in the other.
            if any(thing in state.contents[r] for r in self._targets if r != taken_from):
                for treatment in treatments:
                    yield (*start, *treatment)
            for treatment in treatments:
                way = (*start, *treatment)
                for target in self._near(self._targets, state, [errand[0] for errand in way]):
                    if self._fits(thing, target):
                        yield (*way, (target, True, "move", thing))

    def _two_recipes(self, state: State) -> Iterator[tuple[_Errand, ...]]:
        """As many objects as one target still lacks, one after the other."""
        held = state.held
        for target in self._targets:
            inside = set(state.contents[target])
            if not any(self._fits(thing, target) for thing in self._goal_objects):
                continue
            missing = 2 - len(self._goal_objects & inside)
            start: tuple[_Errand, ...] = ()
            if held in self._goal_objects and held not in inside:
                start, missing = ((target, True, "move", held),), missing - 1
            starts: list[tuple[_Errand, ...]] = [start]
            if held is not None and not start:
                starts = list(self._drops(state, held, [target]))
            if missing == 0:
                yield from starts
                continue
            sources = [pair for pair in self._sources(state, self._goal_objects) if pair[0] not in inside | {held}]
            for way in starts:
                for thing, source in sources:
                    first = (*way, (source, True, "take", thing), (target, True, "move", thing))
                    if missing == 1:
                        yield first
                        continue
                    for other, its_source in sources:
                        if other != thing:
                            yield (*first, (its_source, True, "take", other), (target, True, "move", other))

    def _in_hand(self, state: State, wanted: frozenset[str]) -> Iterator[tuple[_Errand, ...]]:
        """Ways to hold an object out of `wanted`: nothing to do, or (put down what is held and) take one."""
        if state.held in wanted:
            yield ()
            return
        for thing, source in self._sources(state, wanted):
            take: _Errand = (source, True, "take", thing)
            if state.held is None:
                yield (take,)
            else:
                for drop in self._drops(state, state.held, [source]):
                    yield (*drop, take)

    def _sources(self, state: State, wanted: frozenset[str]) -> list[tuple[str, str]]:
        """(object, receptacle) pairs from which a wanted object can be taken."""
        pickupable = self._game.pickupable
        return [(o, r) for r, inside in state.contents.items() for o in inside if o in wanted and o in pickupable]

    def _drops(self, state: State, thing: str, along: list[str]) -> Iterator[tuple[_Errand, ...]]:
        """Ways to put down what is held: here, on the way, or at the cheapest other place."""
        for r in self._near(tuple(r for r in self._location if self._fits(thing, r)), state, along):
            yield ((r, True, "move", thing),)

    def _near(self, receptacles: tuple[str, ...], state: State, along: list[str]) -> list[str]:
        """Those of the receptacles that can be cheapest: at the agent, at a stop of the way, and one elsewhere.

        All others cost as much as that one or more.
        """
        stops = {state.location, *(self._location[r] for r in along)}
        found, spare = [], None
        for r in receptacles:
            if self._location[r] in stops:
                found.append(r)
            elif spare is None or (self._closed(spare, state) and not self._closed(r, state)):
                spare = r
        return found if spare is None else [*found, spare]

    def _closed(self, receptacle: str, state: State) -> bool:
        return receptacle in self._openable and receptacle not in state.opened

    def _fits(self, thing: str, receptacle: str) -> bool:
        game = self._game
        return (game.receptacles[receptacle].type, game.objects[thing]) in game.can_contain

    def _treated(self, state: State) -> frozenset[str]:
        return {"clean": state.clean, "heat": state.hot, "cool": state.cool}.get(self._verb, frozenset())
