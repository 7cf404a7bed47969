"""What never changes while a game is played, looked up once per game and shared by all its copies."""

from __future__ import annotations

from collections import defaultdict

from agentdistill_alfworld import fast_text as say
from agentdistill_alfworld.game import Game

APPLIANCES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""Where a held object is cleaned, heated, cooled: receptacle types by verb."""

_KNIVES = ("knife", "butterknife")


class World:
    """The fixed part of a game: names, what is where, and what the goal asks for.

    Args:
        game: the game to look things up in.
    """

    __slots__ = (
        "articles",
        "changeable",
        "game",
        "goal_objects",
        "goal_receptacles",
        "here",
        "intro",
        "knives",
        "locations",
        "names",
        "object_ids",
        "open_at_start",
        "receptacle_ids",
        "start_contents",
        "start_floor",
        "travel",
    )

    def __init__(self, game: Game) -> None:
        self.game = game
        self.names = game.names
        self.articles = {identifier: f"a {name}" for identifier, name in self.names.items()}
        self.receptacle_ids = {self.names[r]: r for r in game.receptacles}
        self.object_ids = {self.names[o]: o for o in game.objects}
        ordered = sorted(game.receptacles)
        here: dict[str, list[str]] = defaultdict(list)
        for r in ordered:
            here[game.receptacles[r].location].append(r)
        self.here = {location: tuple(found) for location, found in here.items()}
        self.locations = {r: game.receptacles[r].location for r in ordered}
        self.travel: dict[str, list[str]] = {}
        self.changeable = {"clean": game.cleanable, "heat": game.heatable, "cool": game.coolable}
        self.knives = frozenset(o for o, kind in game.objects.items() if kind in _KNIVES)
        self.goal_objects = tuple(o for o, kind in game.objects.items() if kind == game.goal_object)
        self.goal_receptacles = tuple(r for r in ordered if game.receptacles[r].type == game.goal_receptacle)
        contents: dict[str, list[str]] = {r: [] for r in ordered}
        for o, r in game.placement:
            contents[r].append(o)
        self.start_contents = {r: tuple(sorted(found)) for r, found in contents.items()}
        floor: dict[str, list[str]] = defaultdict(list)
        for o, location in game.object_locations:
            floor[location].append(o)
        self.start_floor = {location: tuple(sorted(found)) for location, found in floor.items()}
        facing = self.here.get(game.agent_location, ())
        if facing:
            scene = say.facing([self.names[r] for r in facing], [])
        else:
            scene = say.surroundings([self.articles[r] for r in ordered])
        self.intro = f"{say.WELCOME}\n\n{scene}\n\nYour task is to: {game.goal_text}."

    def trips(self, location: str) -> list[str]:
        """The "go to" commands that do something from a location; going where one stands is no action."""
        found = self.travel.get(location)
        if found is None:
            found = sorted(f"go to {self.names[r]}" for r, place in self.locations.items() if place != location)
            self.travel[location] = found
        return found
