"""Short plans with a purpose, made with full information, for players that compare engines."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.fast_world import APPLIANCES

_CHANGES = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}


class _Draft:
    """A plan in the making: every command is tried on a copy of the game, so that the next can build on it."""

    def __init__(self, game: FastGame, rng: random.Random) -> None:
        self.game, self.rng = game.copy(), rng
        self.names, self.commands = game.names, list[str]()

    def do(self, command: str) -> bool:
        self.commands.append(command)
        self.game.step(command)
        return self.game.valid

    def reach(self, receptacle: str) -> None:
        """Goes there and opens it."""
        place = self.game.game.receptacles[receptacle]
        if place.location != self.game.location:
            self.do(f"go to {self.names[receptacle]}")
        if place.openable and receptacle not in self.game.opened:
            self.do(f"open {self.names[receptacle]}")

    def put_down(self) -> None:
        """Frees the hand, in a random receptacle that takes the object."""
        held = self.game.held
        fitting = self.fitting(held) if held is not None else []
        if held is not None and fitting:
            self.put(held, self.rng.choice(fitting))

    def put(self, thing: str, receptacle: str) -> bool:
        self.reach(receptacle)
        return self.do(f"move {self.names[thing]} to {self.names[receptacle]}")

    def fitting(self, thing: str) -> list[str]:
        game = self.game.game
        kind = game.objects[thing]
        return [r for r, place in game.receptacles.items() if (place.type, kind) in game.can_contain]

    def fetch(self, thing: str, avoid: Iterable[str] = ()) -> bool:
        """Takes an object into the hand, from a receptacle that is not to be avoided."""
        if self.game.held == thing:
            return True
        self.put_down()
        found = [r for r in self.game.receptacles_of(thing) if r not in set(avoid)]
        if not found or thing not in self.game.game.pickupable:
            return False
        receptacle = self.rng.choice(found)
        self.reach(receptacle)
        return self.do(f"take {self.names[thing]} from {self.names[receptacle]}")

    def change(self, verb: str) -> bool:
        """Cleans, heats or cools what is held."""
        found = [r for r, place in self.game.game.receptacles.items() if place.type == APPLIANCES[verb]]
        if not found or self.game.held is None:
            return False
        receptacle = self.rng.choice(found)
        if self.rng.random() < 0.5:
            self.reach(receptacle)
        elif self.game.game.receptacles[receptacle].location != self.game.location:
            self.do(f"go to {self.names[receptacle]}")
        return self.do(f"{verb} {self.names[self.game.held]} with {self.names[receptacle]}")

    def examine(self) -> None:
        if self.game.held is not None:
            self.do(f"examine {self.names[self.game.held]}")

    def choice(self, things: Iterable[str]) -> str | None:
        found = sorted(things)
        return self.rng.choice(found) if found else None


def win(game: FastGame, rng: random.Random) -> list[str]:
    """Commands that reach the goal; possibly too few where an object is out of reach."""
    draft = _Draft(game, rng)
    facts = game.game
    wanted = sorted(o for o, kind in facts.objects.items() if kind == facts.goal_object and o in facts.pickupable)
    rng.shuffle(wanted)
    if facts.task_type == "look_at_obj_in_light":
        for thing in wanted:
            if draft.fetch(thing):
                break
        _lamp(draft, facts.goal_receptacle)
        return draft.commands
    targets = [r for r, place in facts.receptacles.items() if place.type == facts.goal_receptacle]
    target = rng.choice(targets)
    for thing in wanted:
        if draft.game.won:
            break
        change = _CHANGES.get(facts.task_type)
        avoid = () if change else (target,)
        if not draft.fetch(thing, avoid) or (change and not draft.change(change)):
            continue
        if rng.random() < 0.3:
            draft.examine()
        draft.put(thing, target)
    return draft.commands


def undo(game: FastGame, rng: random.Random) -> list[str]:
    """Commands after which a reached goal no longer holds."""
    draft = _Draft(game, rng)
    facts = game.game
    if facts.task_type == "look_at_obj_in_light":
        draft.put_down()
        return draft.commands
    for receptacle, place in facts.receptacles.items():
        for thing in game.contents[receptacle]:
            if place.type == facts.goal_receptacle and facts.objects[thing] == facts.goal_object and draft.game.won:
                draft.put_down()
                draft.reach(receptacle)
                draft.do(f"take {draft.names[thing]} from {draft.names[receptacle]}")
    return draft.commands


def _lamp(draft: _Draft, kind: str | None = None) -> None:
    facts = draft.game.game
    lamps = [o for o in facts.toggleable if kind in (None, facts.objects[o]) and draft.game.receptacles_of(o)]
    lamp = draft.choice(lamps)
    if lamp is None:
        return
    receptacle = draft.rng.choice(draft.game.receptacles_of(lamp))
    if facts.receptacles[receptacle].location != draft.game.location:
        draft.do(f"go to {draft.names[receptacle]}")
    draft.do(f"use {draft.names[lamp]}")


def _use_lamp(game: FastGame, rng: random.Random) -> list[str]:
    draft = _Draft(game, rng)
    _lamp(draft)
    return draft.commands * 2 if rng.random() < 0.5 else draft.commands


def _slice(game: FastGame, rng: random.Random) -> list[str]:
    """Slices something that has a location of its own, then looks at it, changed in other ways too or not."""
    draft = _Draft(game, rng)
    facts = game.game
    knife = draft.choice(o for o, kind in facts.objects.items() if kind in ("knife", "butterknife"))
    spots = [(o, at) for o, at in facts.object_locations if o in facts.sliceable]
    if knife is None or not spots:
        return []
    thing, location = rng.choice(spots)
    there = [r for r, place in facts.receptacles.items() if place.location == location]
    if not there or not draft.fetch(knife):
        return draft.commands
    draft.reach(rng.choice(there))
    draft.do(f"slice {draft.names[thing]} with {draft.names[knife]}")
    draft.fetch(thing)
    draft.examine()
    _change_held(draft)
    return draft.commands


def _change_held(draft: _Draft) -> None:
    for verb in draft.rng.sample(sorted(APPLIANCES), draft.rng.randint(1, 3)):
        draft.change(verb)
        draft.examine()


def _wash(game: FastGame, rng: random.Random) -> list[str]:
    """Cleans, heats and cools something in random order, examining it in between."""
    draft = _Draft(game, rng)
    thing = draft.choice((game.game.cleanable | game.game.heatable | game.game.coolable) & game.game.pickupable)
    if thing is not None and draft.fetch(thing):
        _change_held(draft)
    return draft.commands


def _shuffle(game: FastGame, rng: random.Random) -> list[str]:
    """Moves something between receptacles at one location, and looks: the engine then sees it beside them."""
    draft = _Draft(game, rng)
    facts = game.game
    spots: dict[str, list[str]] = {}
    for r, place in facts.receptacles.items():
        spots.setdefault(place.location, []).append(r)
    shared = [found for found in spots.values() if len(found) > 1]
    if not shared:
        return []
    neighbours = rng.choice(shared)
    inside = {o for r in neighbours for o in game.contents[r]}
    thing = draft.choice(inside & facts.pickupable) or draft.choice(facts.pickupable)
    if thing is None or not draft.fetch(thing):
        return draft.commands
    for _ in range(rng.randint(1, 3)):
        target = draft.choice(r for r in draft.fitting(thing) if r in neighbours)
        if target is None or not draft.put(thing, target):
            break
        draft.do("look")
        if rng.random() < 0.7:
            draft.do(f"take {draft.names[thing]} from {draft.names[target]}")
            draft.do("look")
    return draft.commands


def _hold(game: FastGame, rng: random.Random) -> list[str]:
    """Takes and examines something, by preference what can hold other things or lies in two places."""
    draft = _Draft(game, rng)
    facts = game.game
    doubled = {o for o in facts.objects if len(game.receptacles_of(o)) > 1}
    things = (facts.receptacle_objects | doubled) & facts.pickupable
    thing = draft.choice(things if rng.random() < 0.7 else facts.pickupable)
    if thing is not None and draft.fetch(thing):
        draft.examine()
        draft.do("inventory")
        draft.do("look")
        draft.put_down()
        if rng.random() < 0.5:
            draft.fetch(thing)
    return draft.commands


ERRANDS: tuple[Callable[[FastGame, random.Random], list[str]], ...] = (
    win,
    undo,
    _use_lamp,
    _slice,
    _wash,
    _shuffle,
    _hold,
)
"""Every errand: makes a list of commands for the state of a game, maybe an empty one."""
