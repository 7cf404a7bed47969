"""The text-only expert: it reads what a student reads, looks in likely places first, and recovers from mistakes.

It keeps a belief about the room (`text_belief.Belief`) that is fed with every action and observation, whoever
chose the action, and it derives its advice from the belief alone. It needs no facts from the engine, so a model
that reads the same text can learn to do the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from agentdistill_alfworld.experts.text_belief import Belief, type_of
from agentdistill_alfworld.experts.text_goal import APPLIANCE, Goal, goal_of

SearchPrior = Mapping[str, Mapping[str, float]]
"""Object type -> receptacle type -> probability that one such receptacle holds at least one such object."""

_CLOSABLE = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe"})
"""Receptacle types that start closed: looking into one costs a second step."""


@cache
def default_prior() -> SearchPrior:
    """The search prior that ships with the package, learned from real valid_train problems."""
    table = files("agentdistill_alfworld").joinpath("tables/search_prior.json").read_text("utf-8")
    prior: SearchPrior = json.loads(table)
    return prior


class TextExpert:
    """Advice for any state of any ALFWorld game, from its text alone. Deterministic.

    Call `reset` with the first observation, then `record` every action that was really taken together with the
    observation it brought; `action` gives the advice for the present state. When the advice is what is being
    played, `observe` does both.

    Attributes:
        goal: the goal of the episode.
        belief: what the text has told so far.
    """

    goal: Goal
    belief: Belief

    def __init__(self, prior: SearchPrior | None = None, *, dialect: str = "move") -> None:
        """Makes an expert.

        Args:
            prior: where objects tend to be; the package's own table when None.
            dialect: "move" (`move apple 1 to fridge 1`) or "put" (`put apple 1 in/on fridge 1`), the spelling of
                the command that places an object; both are understood in `record`.
        """
        self._prior = default_prior() if prior is None else prior
        self._place = "move {} to {}" if dialect == "move" else "put {} in/on {}"
        self._orders: dict[str, tuple[str, ...]] = {}

    def reset(self, observation: str) -> str:
        """Starts an episode.

        Args:
            observation: the first observation, with the room and the task.

        Returns:
            The first advice.

        Raises:
            DataError: the observation names no ALFWorld task.
        """
        self.goal = goal_of(observation)
        self.belief = Belief.of(observation)
        self._orders = {}
        return self.action()

    def record(self, action: str, observation: str) -> None:
        """Takes in an action that was taken, the expert's or anybody's, and the observation that followed."""
        self.belief.record(action, observation)

    def observe(self, observation: str) -> str:
        """Takes in the observation that followed the expert's own advice and gives the next advice."""
        self.record(self.action(), observation)
        return self.action()

    def action(self) -> str:
        """The advice in the present state; a pure function of what was recorded."""
        for attempt in range(2):
            for command in self._advice():
                if command not in self.belief.refused:
                    return command
            if attempt == 0 and self.belief.contents:
                # Everything was searched and the goal is still open: somebody moved things. Search again.
                self.belief.contents.clear()
                self.belief.unfit.clear()
        return "look"

    def _advice(self) -> Iterator[str]:
        """Commands worth trying now, best first."""
        belief, goal = self.belief, self.goal
        held = belief.held
        if held is not None and type_of(held) != goal.object:
            yield from self._put_down(held)
        elif held is None:
            yield from self._fetch()
        elif goal.look:
            yield from self._light()
        elif goal.treatment is not None and goal.treatment not in belief.done.get(held, ()):
            appliances = self._of_type(APPLIANCE[goal.treatment])
            for appliance in self._nearest(appliances):
                yield from self._reach(appliance, inside=False)
                if appliance in belief.here:
                    yield f"{goal.treatment} {held} with {appliance}"
        else:
            for target in self._targets():
                yield from self._reach(target, inside=True)
                if target in belief.here and target not in belief.closed:
                    yield self._place.format(held, target)
                    yield f"examine {target}"

    def _fetch(self) -> Iterator[str]:
        """Takes an object of the goal's type, searching for one when none is known."""
        belief, goal = self.belief, self.goal
        kept = self._targets()[:1] if goal.count > 1 else []
        known = [
            (name, item)
            for name in self._order(goal.object)
            if name not in kept
            for item in belief.contents.get(name, ())
            if type_of(item) == goal.object
        ]
        # One that has had its treatment is nearest to the goal, then one within reach.
        known.sort(key=lambda pair: (goal.treatment not in belief.done.get(pair[1], ()), pair[0] not in belief.here))
        for name, item in known:
            yield from self._reach(name, inside=True)
            if name in belief.here and name not in belief.closed:
                yield f"take {item} from {name}"
        yield from self._search(goal.object)

    def _light(self) -> Iterator[str]:
        """Uses a lamp of the goal's type, searching for one when none is known."""
        belief, lamp = self.belief, self.goal.receptacle
        for name in self._nearest(self._order(lamp)):
            for item in belief.contents.get(name, ()):
                if type_of(item) == lamp:
                    yield from self._reach(name, inside=False)
                    if name in belief.here:
                        yield f"use {item}"
        yield from self._search(lamp)

    def _put_down(self, held: str) -> Iterator[str]:
        """Gets rid of an object that is in the way: here if it fits, else where it came from, else anywhere."""
        belief = self.belief
        fits = self._prior.get(type_of(held), {})
        likely = [name for name in self._order(type_of(held)) if fits.get(type_of(name), 0.0) > 0.0]
        places = [name for name in likely if name in belief.here and name not in belief.closed]
        places += [belief.origin] if belief.origin else []
        places += self._nearest(likely)
        places += self._nearest(self._order(type_of(held)))
        for name in places:
            if (type_of(held), type_of(name)) not in belief.unfit:
                yield from self._reach(name, inside=True)
                if name in belief.here and name not in belief.closed:
                    yield self._place.format(held, name)
                    yield f"examine {name}"

    def _search(self, item_type: str) -> Iterator[str]:
        """Looks into receptacles that were never looked into, likely ones first."""
        for name in self._order(item_type):
            if name not in self.belief.contents:
                yield from self._reach(name, inside=True)
                if name in self.belief.here:
                    yield f"open {name}" if name in self.belief.closed else f"examine {name}"

    def _reach(self, name: str, *, inside: bool) -> Iterator[str]:
        """The step towards standing before a receptacle, and seeing into it if `inside`; nothing if one does."""
        belief = self.belief
        if name not in belief.here:
            yield f"go to {name}"
        elif inside and name in belief.closed:
            yield f"open {name}"
        elif inside and name not in belief.contents:
            yield f"examine {name}"

    def _targets(self) -> list[str]:
        """Receptacles that the goal accepts, the one that is nearest to fulfilling it first."""
        belief, goal = self.belief, self.goal
        names = self._of_type(goal.receptacle)
        if goal.count > 1:
            held = {name: sum(type_of(x) == goal.object for x in belief.contents.get(name, ())) for name in names}
            return sorted(names, key=lambda name: -held[name])
        return self._nearest(names)

    def _nearest(self, names: list[str] | tuple[str, ...]) -> list[str]:
        """The same names, those within reach first."""
        return sorted(names, key=lambda name: name not in self.belief.here)

    def _of_type(self, receptacle_type: str) -> list[str]:
        return [name for name in self.belief.receptacles if type_of(name) == receptacle_type]

    def _order(self, item_type: str) -> tuple[str, ...]:
        """All receptacles, most promising for an item type first."""
        if item_type not in self._orders:
            chance = self._prior.get(item_type, {})

            def rank(name: str) -> tuple[bool, float]:
                place = type_of(name)
                # In a simple placement the goal's receptacles hold no such object, or it would be won already.
                useless = (
                    self.goal.task_type == "pick_and_place_simple"
                    and item_type == self.goal.object
                    and place == self.goal.receptacle
                )
                return useless, -chance.get(place, 0.0) / (2.0 if place in _CLOSABLE else 1.0)

            self._orders[item_type] = tuple(sorted(self.belief.receptacles, key=rank))
        return self._orders[item_type]
