"""Samples games: a real room, objects as many and as placed as in real rooms, a goal, and a plan that solves it.

Game `index` of a split and seed is a pure function of these (and of the task types asked for): it does not depend
on how many games are made, on the process, or on the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count as counting

from agentdistill.errors import ConfigError
from agentdistill_alfworld.experts.planner import Planner
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import TASK_TYPES, Game, Receptacle
from agentdistill_alfworld.generate.goals import LOOK, SPLITS, TWO, UNTREATED, Goal, draw_goal, lamp_places, scenes_of
from agentdistill_alfworld.generate.tables import Place, Scene, Statistics, load_statistics, mangle
from agentdistill_alfworld.generate.verify import check_plan

_JITTER = 0.4
"""How far from a receptacle's own coordinates an object's may lie, in metres."""


@dataclass(frozen=True)
class GeneratedGame:
    """A game with what is known about it.

    Attributes:
        game: the game.
        plan: commands that solve it, as few as the planner finds; checked against the PDDL rules.
        scene: number of the room.
        split: ALFWorld's name of the split.
        seed: seed of the stream of games.
        index: place in that stream.
    """

    game: Game
    plan: tuple[str, ...]
    scene: int
    split: str
    seed: int
    index: int


def generate(
    split: str, count: int, seed: int, task_types: Sequence[str] | None = None, *, start: int = 0
) -> Iterator[Game]:
    """Generates games, the task types in turn.

    Args:
        split: "train", "valid_seen" or "valid_unseen", also as "generated-train", "generated-seen",
            "generated-unseen". The unseen split uses the scenes 10, 219, 308 and 424, the others never do.
        count: how many games.
        seed: another seed gives other games.
        task_types: the task types to make; all six when None.
        start: index of the first game, to share one stream between processes.

    Raises:
        ConfigError: the split or a task type is unknown.
    """
    for index in range(start, start + count):
        yield generate_one(split, seed, index, task_types).game


def game(split: str, seed: int, index: int, task_types: Sequence[str] | None = None) -> Game:
    """Game number `index` of the stream that `generate` yields."""
    return generate_one(split, seed, index, task_types).game


def generate_one(split: str, seed: int, index: int, task_types: Sequence[str] | None = None) -> GeneratedGame:
    """Game number `index` of the stream that `generate` yields, with its plan and scene."""
    scenes_of(split)
    types = tuple(task_types) if task_types is not None else TASK_TYPES
    unknown = [name for name in types if name not in TASK_TYPES]
    if unknown or not types:
        raise ConfigError(
            f"There is no ALFWorld task type {unknown[0]!r}." if unknown else "No task type was asked for.",
            f"The task types are {', '.join(TASK_TYPES)}.",
            "Choose among them.",
        )
    task_type, folder = types[index % len(types)], SPLITS[split]
    for attempt in counting():
        rng = random.Random(f"alfworld/{folder}/{seed}/{index}/{task_type}/{attempt}")
        goal = draw_goal(rng, folder, task_type)
        drawn = _Drawing(rng, goal).finish(f"trial_S{seed}_{index:06d}", folder)
        state = FastGame(drawn)
        if state.won:
            continue
        plan = tuple(Planner(drawn).plan(state))
        if not check_plan(drawn, plan):
            return GeneratedGame(drawn, plan, goal.scene.number, folder, seed, index)
    raise AssertionError("unreachable: attempts never run out")


class _Drawing:
    """One attempt at a game."""

    def __init__(self, rng: random.Random, goal: Goal) -> None:
        self.rng, self.goal = rng, goal
        self.scene: Scene = goal.scene
        self.statistics: Statistics = load_statistics()
        self.objects: dict[str, str] = {}
        self.placement: list[tuple[str, str]] = []
        self.locations: list[tuple[str, str]] = []
        self.cool: set[str] = set()

    def finish(self, trial: str, folder: str) -> Game:
        for kind in self.scene.types:
            self._add_all(kind)
        goal, statistics = self.goal, self.statistics
        spelling = statistics.spelling
        receptacle = spelling[goal.receptacle_type]
        sentence = self.rng.choice(statistics.templates[goal.task_type]).format(
            obj=goal.object_type, recep=goal.receptacle_type, toggle=goal.receptacle_type, mrecep=""
        )
        present = set(self.objects.values())
        name = f"{goal.task_type}-{spelling[goal.object_type]}-None-{receptacle}-{self.scene.number}"
        return Game(
            key=f"{folder}/{name}/{trial}",
            task_type=goal.task_type,
            goal_object=goal.object_type,
            goal_receptacle=goal.receptacle_type,
            goal_text=sentence,
            receptacles={p.id: Receptacle(p.type, p.location, p.openable) for p in self.scene.places},
            objects=dict(sorted(self.objects.items())),
            placement=tuple(sorted(self.placement)),
            pickupable=self._with("pickupable"),
            toggleable=self._with("toggleable"),
            cleanable=self._with("cleanable"),
            heatable=self._with("heatable"),
            coolable=self._with("coolable"),
            sliceable=self._with("sliceable"),
            can_contain=frozenset(
                (place, thing)
                for place in self.scene.by_type
                for thing in statistics.can_contain.get(place, ())
                if thing in present
            ),
            agent_location=self._free_location(),
            object_locations=tuple(sorted(self.locations)),
            receptacle_objects=self._with("holds_things"),
            cool=frozenset(self.cool),
        )

    def _with(self, quality: str) -> frozenset[str]:
        kinds = self.statistics.affordances[quality]
        return frozenset(o for o, kind in self.objects.items() if kind in kinds)

    def _add_all(self, kind: str) -> None:
        goal, rng, statistics = self.goal, self.rng, self.statistics
        if kind == goal.object_type:
            number = max(rng.choice(statistics.goal_counts[goal.task_type]), 2 if goal.task_type == TWO else 1)
            choice = self.scene.choice(kind, goal.receptacle_type if goal.task_type in UNTREATED else "")
            for _ in range(number):
                self._put(kind, self._pick(choice.places, choice.cumulative))
            return
        histogram = statistics.counts[self.scene.kind].get(kind)
        number = rng.choice(histogram) if histogram else 1
        if goal.task_type == LOOK and kind == goal.receptacle_type:
            places = lamp_places(self.scene, kind)
            cumulative = self.scene.choice(kind).cumulative if kind == "desklamp" else None
            for _ in range(max(number, 1)):
                self._put(kind, self._pick(places, cumulative))
            return
        choice = self.scene.choice(kind)
        for _ in range(number):
            lost = rng.random() < choice.nowhere
            self._put(kind, None if lost else self._pick(choice.places, choice.cumulative))

    def _pick(self, places: Sequence[Place], cumulative: Sequence[float] | None) -> Place:
        return self.rng.choices(places, cum_weights=cumulative)[0]

    def _put(self, kind: str, place: Place | None) -> None:
        """Adds one object, in a receptacle or somewhere in the room."""
        name = self._new_id(kind, place)
        self.objects[name] = kind
        if place is None:
            self.locations.append((name, self._free_location()))
            return
        self.placement.append((name, place.id))
        self.locations.append((name, place.location))
        if place.type == "fridge" and self.rng.random() < self.statistics.cool_in_fridge:
            self.cool.add(name)
        for other, chance in self.statistics.second_places.get(place.type, ()):
            if self.rng.random() < chance:
                self._put_also(name, kind, place, other)
                return

    def _put_also(self, name: str, kind: str, place: Place, other: str) -> None:
        """Lets an object lie in a second receptacle as well, the nearest of a type: real problems have such pairs."""
        goal = self.goal
        if goal.task_type in UNTREATED and kind == goal.object_type and other == goal.receptacle_type:
            return
        near = [p for p in self.scene.by_type.get(other, ()) if p is not place]
        if near and kind in self.statistics.affordances["pickupable"]:
            second = min(near, key=lambda p: (_distance(p, place), p.id))
            self.placement.append((name, second.id))

    def _new_id(self, kind: str, place: Place | None) -> str:
        rng, spelling = self.rng, self.statistics.spelling[kind]
        while True:
            if place is None:
                values = (rng.uniform(-4, 4), rng.uniform(0, 2), rng.uniform(-4, 4))
            else:
                x, y, z = place.position
                values = (
                    x + rng.uniform(-_JITTER, _JITTER),
                    y + rng.uniform(0, _JITTER),
                    z + rng.uniform(-_JITTER, _JITTER),
                )
            name = mangle("|".join([spelling, *(f"{'-' if v < 0 else '+'}{abs(v):05.2f}" for v in values)]))
            if name not in self.objects:
                return name

    def _free_location(self) -> str:
        """A location from which no receptacle is reached."""
        rng = self.rng
        while True:
            spot = mangle(
                f"loc|{rng.randint(-12, 12)}|{rng.randint(-12, 12)}|{rng.randint(0, 3)}|{rng.choice((30, 45, 60))}"
            )
            if spot not in self.scene.locations:
                return spot


def _distance(one: Place, other: Place) -> float:
    return sum((a - b) ** 2 for a, b in zip(one.position, other.position, strict=True))
