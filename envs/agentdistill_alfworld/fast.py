"""The fast ALFWorld engine: in plain Python the text world that TextWorld plays from `alfred.pddl` and `alfred.twl2`.

It follows alfworld 0.4.2 (the "move" dialect) to the byte, its surprises included; each is named where it is played.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agentdistill_alfworld import fast_text as say
from agentdistill_alfworld.fast_world import APPLIANCES, World
from agentdistill_alfworld.game import Game


class FastGame:
    """One game being played; at its start from construction on, as after `reset`.

    Play goes on after the goal is reached, and `won` can become false again, as in the engine. Objects can be
    pickled and copied; a copy plays on independently.

    Args:
        game: the game to play; never changed.
    """

    __slots__ = (
        "_at",
        "_clean",
        "_contents",
        "_cool",
        "_floor",
        "_held",
        "_hot",
        "_left",
        "_opened",
        "_sliced",
        "_toggled",
        "_valid",
        "_world",
    )

    def __init__(self, game: Game) -> None:
        self._world = World(game)
        self.reset()

    def reset(self) -> str:
        """Starts the game again and returns its first observation."""
        world = self._world
        game = world.game
        self._at = game.agent_location
        self._held: str | None = None
        self._contents = dict(world.start_contents)
        self._floor = dict(world.start_floor)
        # Objects taken from a receptacle, by pair: the engine's `look` shows an object beside the receptacle it
        # was taken from when it lies elsewhere at the same location.
        self._left: frozenset[tuple[str, str]] = frozenset()
        self._opened = game.opened
        self._clean, self._hot, self._cool = game.clean, game.hot, game.cool
        self._sliced, self._toggled = game.sliced, game.toggled
        self._valid = True
        return world.intro

    def copy(self) -> FastGame:
        """An independent game in the same state (a few microseconds)."""
        other = FastGame.__new__(FastGame)
        other._world = self._world
        other._at, other._held = self._at, self._held
        other._contents, other._floor = self._contents.copy(), self._floor.copy()
        other._left, other._opened = self._left, self._opened
        other._clean, other._hot, other._cool = self._clean, self._hot, self._cool
        other._sliced, other._toggled, other._valid = self._sliced, self._toggled, self._valid
        return other

    @property
    def game(self) -> Game:
        """The game being played."""
        return self._world.game

    @property
    def names(self) -> Mapping[str, str]:
        """The name of every id, e.g. "cabinet 3"."""
        return MappingProxyType(self._world.names)

    @property
    def valid(self) -> bool:
        """The last command was accepted (true after `reset`)."""
        return self._valid

    @property
    def location(self) -> str:
        """Id of the agent's location."""
        return self._at

    @property
    def reachable(self) -> tuple[str, ...]:
        """Sorted ids of the receptacles at the agent's location."""
        return self._world.here.get(self._at, ())

    @property
    def held(self) -> str | None:
        """Id of the object in the agent's hand."""
        return self._held

    @property
    def contents(self) -> Mapping[str, tuple[str, ...]]:
        """Sorted object ids in every receptacle, by receptacle id; a live view."""
        return MappingProxyType(self._contents)

    @property
    def opened(self) -> frozenset[str]:
        """Ids of the open receptacles."""
        return self._opened

    @property
    def clean(self) -> frozenset[str]:
        """Ids of the objects that are clean."""
        return self._clean

    @property
    def hot(self) -> frozenset[str]:
        """Ids of the objects that are hot."""
        return self._hot

    @property
    def cool(self) -> frozenset[str]:
        """Ids of the objects that are cool."""
        return self._cool

    @property
    def sliced(self) -> frozenset[str]:
        """Ids of the objects that are sliced."""
        return self._sliced

    @property
    def toggled(self) -> frozenset[str]:
        """Ids of the objects that were used; using one again leaves it on."""
        return self._toggled

    def receptacles_of(self, object_id: str) -> tuple[str, ...]:
        """Sorted ids of the receptacles an object is in: none, one, or several."""
        return tuple(r for r, found in self._contents.items() if object_id in found)

    @property
    def won(self) -> bool:
        """The goal holds now."""
        world = self._world
        game, contents = world.game, self._contents
        task = game.task_type
        if task == "look_at_obj_in_light":
            if self._held is None or game.objects[self._held] != game.goal_object:
                return False
            lit = [o for o in self._toggled if o in game.toggleable and game.objects[o] == game.goal_receptacle]
            return any(o in contents[r] for r in self.reachable for o in lit)
        wanted: set[str] | frozenset[str] | tuple[str, ...] = world.goal_objects
        if task == "pick_clean_then_place_in_recep":
            wanted = self._clean & game.cleanable & frozenset(world.goal_objects)
        elif task == "pick_heat_then_place_in_recep":
            wanted = self._hot & game.heatable & frozenset(world.goal_objects)
        elif task == "pick_cool_then_place_in_recep":
            wanted = self._cool & game.coolable & frozenset(world.goal_objects)
        if not wanted:
            return False
        count = 2 if task == "pick_two_obj_and_place" else 1
        return any(sum(o in contents[r] for o in wanted) >= count for r in world.goal_receptacles)

    @property
    def done(self) -> bool:
        """The engine says the game is over; it never ends one that is not won."""
        return self.won

    def _accessible(self, receptacle: str) -> bool:
        return receptacle in self._opened or not self._world.game.receptacles[receptacle].openable

    def admissible(self) -> list[str]:
        """The commands that do something now, sorted as the engine sorts them."""
        world, held = self._world, self._held
        game, names = world.game, world.names
        found = ["help", "inventory", "look", *world.trips(self._at)]
        for r in self.reachable:
            place, name = game.receptacles[r], names[r]
            found.append(f"examine {name}")
            accessible = not place.openable
            if place.openable:
                accessible = r in self._opened
                found.append(f"close {name}" if accessible else f"open {name}")
            inside = self._contents[r]
            # A lamp in a closed receptacle can be used: the engine does not ask for access.
            found += [f"use {names[o]}" for o in inside if o in game.toggleable]
            if accessible:
                if held is None:
                    found += [f"take {names[o]} from {name}" for o in inside if o in game.pickupable]
                elif (place.type, game.objects[held]) in game.can_contain:
                    found.append(f"move {names[held]} to {name}")
            if held is not None:
                for verb, appliance in APPLIANCES.items():
                    if place.type == appliance and held in world.changeable[verb]:
                        found.append(f"{verb} {names[held]} with {name}")
        if held is not None:
            found.append(f"examine {names[held]}")
            if held in world.knives:
                within = self._floor.get(self._at, ())
                found += [f"slice {names[o]} with {names[held]}" for o in within if o in game.sliceable]
        return sorted(set(found))

    def step(self, command: str) -> str:
        """Plays one command and returns the observation.

        Args:
            command: any text. As in the engine, blanks at its ends are ignored and everything else must match an
                admissible command exactly, upper and lower case included; if not, "Nothing happens.".
        """
        command = command.strip()
        verb, _, rest = command.partition(" ")
        observation = None
        if verb == "go":
            observation = self._go(rest)
        elif verb == "take":
            observation = self._take(rest)
        elif verb == "move":
            observation = self._move(rest)
        elif verb in ("open", "close"):
            observation = self._open_or_close(verb, rest)
        elif verb == "examine":
            observation = self._examine(rest)
        elif verb in APPLIANCES:
            observation = self._change(verb, rest)
        elif verb == "use":
            observation = self._use(rest)
        elif verb == "slice":
            observation = self._slice(rest)
        elif command == "look":
            observation = self._look()
        elif command == "inventory":
            observation = self._inventory()
        elif command == "help":
            observation = say.HELP
        self._valid = observation is not None
        return say.NOTHING_HAPPENS if observation is None else observation

    def _go(self, rest: str) -> str | None:
        world = self._world
        r = world.receptacle_ids.get(rest[3:]) if rest.startswith("to ") else None
        if r is None or world.locations[r] == self._at:
            return None
        self._at = world.locations[r]
        return f"You arrive at {world.names[r]}. {self._view(r)}"

    def _view(self, receptacle: str) -> str:
        world = self._world
        return say.receptacle_view(
            world.names[receptacle],
            [world.articles[o] for o in self._contents[receptacle]],
            world.game.receptacles[receptacle].openable,
            receptacle in self._opened,
        )

    def _nearby(self, name: str) -> str | None:
        """Id of the receptacle of that name if it is at the agent's location."""
        r = self._world.receptacle_ids.get(name)
        return r if r is not None and self._world.locations[r] == self._at else None

    def _open_or_close(self, verb: str, name: str) -> str | None:
        r = self._nearby(name)
        if r is None or not self._world.game.receptacles[r].openable or (r in self._opened) == (verb == "open"):
            return None
        if verb == "close":
            self._opened = self._opened - {r}
            return f"You close the {name}."
        self._opened = self._opened | {r}
        return f"You open the {name}. {self._view(r)}"

    def _take(self, rest: str) -> str | None:
        thing, _, place = rest.partition(" from ")
        o, r = self._world.object_ids.get(thing), self._nearby(place)
        if o is None or r is None or self._held is not None or o not in self._world.game.pickupable:
            return None
        if o not in self._contents[r] or not self._accessible(r):
            return None
        self._contents[r] = tuple(x for x in self._contents[r] if x != o)
        self._floor[self._at] = tuple(x for x in self._floor.get(self._at, ()) if x != o)
        self._left = self._left | {(o, r)}
        self._held = o
        return f"You pick up the {thing} from the {place}."

    def _move(self, rest: str) -> str | None:
        thing, _, place = rest.partition(" to ")
        o, r = self._world.object_ids.get(thing), self._nearby(place)
        game = self._world.game
        if o is None or r is None or self._held != o or not self._accessible(r):
            return None
        if (game.receptacles[r].type, game.objects[o]) not in game.can_contain:
            return None
        self._contents[r] = tuple(sorted({*self._contents[r], o}))
        self._floor[self._at] = tuple(sorted({*self._floor.get(self._at, ()), o}))
        self._left = self._left - {(o, r)}
        self._held = None
        return f"You move the {thing} to the {place}."

    def _change(self, verb: str, rest: str) -> str | None:
        thing, _, place = rest.partition(" with ")
        o, r = self._world.object_ids.get(thing), self._nearby(place)
        if o is None or r is None or self._held != o or o not in self._world.changeable[verb]:
            return None
        if self._world.game.receptacles[r].type != APPLIANCES[verb]:
            return None
        if verb == "clean":
            self._clean = self._clean | {o}
        elif verb == "heat":
            self._hot, self._cool = self._hot | {o}, self._cool - {o}
        else:
            self._hot, self._cool = self._hot - {o}, self._cool | {o}
        return f"You {verb} the {thing} using the {place}."

    def _use(self, thing: str) -> str | None:
        o = self._world.object_ids.get(thing)
        if o is None or o not in self._world.game.toggleable:
            return None
        if not any(o in self._contents[r] for r in self.reachable):
            return None
        self._toggled = self._toggled | {o}
        return f"You turn on the {thing}."

    def _slice(self, rest: str) -> str | None:
        thing, _, tool = rest.partition(" with ")
        o, knife = self._world.object_ids.get(thing), self._world.object_ids.get(tool)
        if o is None or knife is None or self._held != knife or knife not in self._world.knives:
            return None
        # What counts is the object's own location, not an open receptacle around it.
        if o not in self._world.game.sliceable or o not in self._floor.get(self._at, ()):
            return None
        self._sliced = self._sliced | {o}
        return f"You sliced the {thing} with the {tool}."

    def _examine(self, name: str) -> str | None:
        r = self._nearby(name)
        if r is not None:
            return self._view(r)
        world = self._world
        o = world.object_ids.get(name)
        # The domain also means objects in reach, but writes the type "location," with a comma, which nothing has.
        if o is None or o != self._held:
            return None
        game = world.game
        if o in game.receptacle_objects:
            # Some real problems put a pan inside itself; the engine's two variables never mean the same thing.
            inside = [world.articles[inner] for inner, outer in game.inside_objects if outer == o != inner]
            return f"This is a normal {name}. In it, you see {say.enumerate_names(inside)}."
        return say.object_view(
            name,
            clean=o in self._clean,
            hot=o in self._hot,
            cool=o in self._cool,
            sliced=o in self._sliced,
            toggled=o in self._toggled and o in game.toggleable,
        )

    def _look(self) -> str:
        here, world = self.reachable, self._world
        if not here:
            # The engine's rule looks for receptacles at the agent's own location, and so finds none.
            return say.surroundings([])
        astray = [world.articles[o] for o in self._floor.get(self._at, ()) for r in here if (o, r) in self._left]
        return say.facing([world.names[r] for r in here], astray)

    def _inventory(self) -> str:
        if self._held is None:
            return "You are not carrying anything."
        return f"You are carrying: {self._world.articles[self._held]}."
