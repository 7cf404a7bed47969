"""What an agent may believe about an ALFWorld room from the text it has read so far."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agentdistill_alfworld.fast_text import NOTHING_HAPPENS

_ENTITY = re.compile(r"\ban? ([a-z]+ \d+)")
_NAME = re.compile(r"[a-z]+ \d+")
_CONTENTS = re.compile(r"(?:On the ([a-z]+ \d+), you see|The ([a-z]+ \d+) is open\. In it, you see) ([^.]*)\.")
_TAKEN = re.compile(r"You pick up the ([a-z]+ \d+) from the ([a-z]+ \d+)\.")
_PLACED = re.compile(r"You (?:move|put) the ([a-z]+ \d+) (?:to|in/on) the ([a-z]+ \d+)\.")
_TREATED = re.compile(r"You (clean|heat|cool) the ([a-z]+ \d+) using the ([a-z]+ \d+)\.")
_OPENED = re.compile(r"You open the ([a-z]+ \d+)\.")
_SHUT = re.compile(r"The ([a-z]+ \d+) is closed\.|You close the ([a-z]+ \d+)\.")
_CARRIED = re.compile(r"You are carrying: an? ([a-z]+ \d+)")
_PLACE_COMMAND = re.compile(r"(?:move|put) ([a-z]+ \d+) (?:to|in/on) ([a-z]+ \d+)")
_TAKE_COMMAND = re.compile(r"take ([a-z]+ \d+) from ([a-z]+ \d+)")


def type_of(name: str) -> str:
    """The type in an entity's name: "apple 3" is an "apple"."""
    return name.split(" ", 1)[0]


@dataclass(slots=True)
class Belief:
    """A room, as far as its text has told.

    Attributes:
        receptacles: names of all receptacles, by type and number.
        here: receptacles known to be where the agent stands (several can share one spot).
        contents: what was last seen in a receptacle; only receptacles that were looked into are keys.
        closed: receptacles last seen closed.
        held: the object in hand.
        origin: the receptacle that the object in hand was taken from.
        done: treatments each object has had and not lost: "clean", "heat" or "cool".
        refused: commands the engine refused since the last thing that changed anything.
        unfit: (object type, receptacle type) pairs that proved impossible to place.
    """

    receptacles: tuple[str, ...]
    here: frozenset[str] = frozenset()
    contents: dict[str, list[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    held: str | None = None
    origin: str | None = None
    done: dict[str, set[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    unfit: set[tuple[str, str]] = field(default_factory=set)
    _spots: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, observation: str) -> Belief:
        """The belief after the first observation of an episode."""
        room = observation.partition("you see")[2].partition("Your task is to:")[0]
        names = sorted(set(_ENTITY.findall(room)), key=lambda name: (type_of(name), int(name.split(" ")[1])))
        return cls(receptacles=tuple(names))

    def record(self, action: str, observation: str) -> None:
        """Takes in what an action, anybody's, brought about.

        Args:
            action: the command that was sent.
            observation: the engine's answer to it.
        """
        action, observation = action.strip(), observation.strip()
        if observation == NOTHING_HAPPENS:
            self._refusal(action)
            return
        before = (self.here, self.held, len(self.closed))
        self._read_place(action, observation)
        self._read_contents(observation)
        self._read_hands(observation)
        if (self.here, self.held, len(self.closed)) != before:
            self.refused.clear()

    def _read_place(self, action: str, observation: str) -> None:
        """Where the agent stands now."""
        if observation.startswith("You arrive at "):
            self._stand_at(frozenset([action.removeprefix("go to ")]))
        elif observation.startswith("You are facing the "):
            listed = observation.removeprefix("You are facing the ").partition(". Next to it")[0]
            self._stand_at(frozenset(_NAME.findall(listed)))

    def _read_contents(self, observation: str) -> None:
        """What receptacles show, and whether they are closed."""
        for match in _CONTENTS.finditer(observation):
            name = match[1] or match[2]
            self.contents[name] = _ENTITY.findall(match[3])
            self.closed.discard(name)
        if opened := _OPENED.match(observation):
            self.closed.discard(opened[1])
        elif shut := _SHUT.search(observation):
            self.closed.add(shut[1] or shut[2])

    def _read_hands(self, observation: str) -> None:
        """What the agent holds, and what it did to it."""
        if match := _TAKEN.match(observation):
            self.held, self.origin = match[1], match[2]
            self._forget(match[1], match[2])
        elif match := _PLACED.match(observation):
            self.held = self.origin = None
            self.contents.setdefault(match[2], []).append(match[1])
        elif match := _TREATED.match(observation):
            had = self.done.setdefault(match[2], set())
            had.difference_update({"heat": {"cool"}, "cool": {"heat"}}.get(match[1], ()))
            had.add(match[1])
        elif match := _CARRIED.match(observation):
            self.held = match[1]
        elif observation.startswith("You are not carrying anything"):
            self.held = self.origin = None

    def _refusal(self, action: str) -> None:
        """Learns from "Nothing happens."."""
        self.refused.add(action)
        name = action.removeprefix("go to ")
        place, take = _PLACE_COMMAND.fullmatch(action), _TAKE_COMMAND.fullmatch(action)
        if name != action and name in self.receptacles:
            # An existing receptacle that one cannot go to is where one stands already.
            self._stand_at(self.here | {name})
        elif place and place[1] == self.held and self._open_before(place[2]):
            self.unfit.add((type_of(place[1]), type_of(place[2])))
        elif take and self.held is None and self._open_before(take[2]):
            self._forget(take[1], take[2])  # it is not there after all

    def _open_before(self, receptacle: str) -> bool:
        """The agent stands before this receptacle and sees into it."""
        return receptacle in self.here and receptacle in self.contents and receptacle not in self.closed

    def _stand_at(self, names: frozenset[str]) -> None:
        """The agent stands at these receptacles and at all known to share their spot."""
        spot = names.union(*(self._spots.get(name, frozenset()) for name in sorted(names)))
        for name in spot:
            self._spots[name] = spot
        self.here = spot

    def _forget(self, item: str, receptacle: str) -> None:
        if item in self.contents.get(receptacle, ()):
            self.contents[receptacle].remove(item)
