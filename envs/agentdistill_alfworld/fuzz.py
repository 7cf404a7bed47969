"""Play that reaches the corners of the text world: what engines are compared on.

Two players, both with full information and both seeded: `Winner` plays the task to its goal, past it and back;
`Fuzzer` mixes errands (slicing, washing, shuffling things between neighbouring receptacles, ...), random admissible
commands with every verb equally likely, and text that no engine should accept.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agentdistill_alfworld.engine import TextGame
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.fast_text import NOTHING_HAPPENS
from agentdistill_alfworld.fuzz_errands import ERRANDS, undo, win


class Player(Protocol):
    """Chooses the next command."""

    def command(self, game: FastGame, admissible: list[str]) -> str:
        """A command for the state of `game`; `admissible` are the commands accepted in it."""
        ...


class Winner:
    """Wins the task, plays on after the end, undoes the goal, and wins again.

    Args:
        rng: its only source of chance.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._queue: list[str] = []
        self._after = 0

    def command(self, game: FastGame, admissible: list[str]) -> str:
        """The next command of the plan, or a random one right after the goal and where no plan is left."""
        if game.won and self._after < 3:
            self._after += 1
            return self._rng.choice(["look", "inventory", "go to nowhere 1", self._rng.choice(admissible)])
        if not self._queue:
            self._queue = undo(game, self._rng) if game.won else win(game, self._rng)
        return self._queue.pop(0) if self._queue else self._rng.choice(admissible)


class Fuzzer:
    """Errands, random admissible commands and garbage, mixed.

    Args:
        rng: its only source of chance.
        garbage: probability of a command that is probably not admissible.
    """

    def __init__(self, rng: random.Random, garbage: float = 0.25) -> None:
        self._rng, self._garbage = rng, garbage
        self._queue: list[str] = []

    def command(self, game: FastGame, admissible: list[str]) -> str:
        """A command of the errand under way, a random one, or garbage."""
        rng = self._rng
        if rng.random() < self._garbage:
            return rng.choice(_GARBAGE)(rng, game, admissible)
        if not self._queue and rng.random() < 0.4:
            self._queue = rng.choice(ERRANDS)(game, rng)
        if self._queue:
            return self._queue.pop(0)
        verbs: dict[str, list[str]] = {}
        for command in admissible:
            verbs.setdefault(command.split()[0], []).append(command)
        return rng.choice(verbs[rng.choice(sorted(verbs))])


def _template(rng: random.Random, game: FastGame, admissible: list[str]) -> str:
    """A well-formed command about anything in the room: sometimes admissible, mostly not."""
    things = [game.names[o] for o in game.game.objects]
    places = [game.names[r] for r in game.game.receptacles]
    near = [game.names[r] for r in game.reachable] or places
    if game.held is not None and rng.random() < 0.5:
        things = [game.names[game.held]]
    if rng.random() < 0.5:
        places = near
    thing, place, any_name = rng.choice(things), rng.choice(places), rng.choice(things + places)
    forms = (
        f"take {thing} from {place}",
        f"move {thing} to {place}",
        f"put {thing} in/on {place}",
        f"open {any_name}",
        f"close {any_name}",
        f"go to {any_name}",
        f"examine {any_name}",
        f"use {any_name}",
        f"clean {thing} with {place}",
        f"heat {thing} with {place}",
        f"cool {thing} with {place}",
        f"slice {thing} with {any_name}",
        f"toggle {thing}",
        f"move {place} to {place}",
        f"take {place} from {place}",
    )
    return rng.choice(forms)


def _damaged(rng: random.Random, game: FastGame, admissible: list[str]) -> str:
    """An admissible command with something wrong, or only blanks around it (which the engine forgives)."""
    command = rng.choice(admissible)
    words = command.split(" ")
    forms: tuple[Callable[[], str], ...] = (
        command.upper,
        command.title,
        lambda: f"  {command}\n",
        lambda: f"\t{command} \u00a0",
        lambda: command.replace(" ", "  "),
        lambda: command.replace(" ", "\t"),
        lambda: command + ".",
        lambda: f"> {command}",
        lambda: " ".join(words[:-1]),
        lambda: " ".join(words[1:]),
        lambda: " ".join([*words, words[-1]]),
        lambda: command[: rng.randrange(len(command) + 1)],
        lambda: command + "0",
    )
    return rng.choice(forms)()


def _noise(rng: random.Random, game: FastGame, admissible: list[str]) -> str:
    """Text that means nothing to the engine."""
    return rng.choice(
        (
            "",
            " ",
            "go",
            "go to",
            "go to ",
            "go to loc 1",
            "go to nowhere 1",
            "take",
            "take  from ",
            "move to",
            "examine",
            "examine agent1",
            "examine agent1 ",
            "use",
            "look around",
            "Look",
            "inventory 1",
            "help me",
            "#look.feedback#",
            "{r.name}",
            "[{r.name}]",
            "examine {o}",
            "take {o} from {r}",
            "看",
            "Açtion: \u2028 look\u2029 now",
            "look\nlook",
            "nothing happens.",
            "x" * 2000,
            "".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(1, 40))),
        )
    )


_GARBAGE = (_template, _template, _template, _damaged, _noise)


@dataclass
class Comparison:
    """What comparing two engines over one play found.

    Attributes:
        steps: steps after which everything was equal.
        accepted: commands that did something, by verb.
        rejected: commands that did nothing.
        won: the goal was reached at some step.
        mismatch: the first difference in words, or None. Play stops there.
    """

    steps: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    won: bool = False
    mismatch: str | None = None


def compare(reference: TextGame, game: FastGame, player: Player, steps: int) -> Comparison:
    """Plays the same commands in both and compares everything that a caller can see, until they differ.

    Args:
        reference: the engine to be matched.
        game: the fast engine, playing the same game; the player sees its state.
        player: chooses the commands.
        steps: how many to play; play goes on when the game is won.

    Returns:
        What was compared. Observations, admissible lists, `won`, `done`, and whether the command counted as valid.
    """
    found = Comparison()
    first, second = reference.reset(), game.reset()
    if first != second:
        found.mismatch = f"first observation: {first!r} against {second!r}"
        return found
    history: list[str] = []
    for _ in range(steps):
        wanted, admissible = reference.admissible(), game.admissible()
        if wanted != admissible:
            missing, surplus = sorted(set(wanted) - set(admissible)), sorted(set(admissible) - set(wanted))
            found.mismatch = f"admissible after {history}: missing {missing}, surplus {surplus}"
            return found
        if reference.won != game.won:
            found.mismatch = f"won after {history}: {reference.won} against {game.won}"
            return found
        command = player.command(game, admissible)
        history.append(command)
        first, second = reference.step(command), game.step(command)
        if first != second:
            found.mismatch = f"observation after {history}: {first!r} against {second!r}"
            return found
        valid = reference.valid
        if game.valid != valid or (command.strip() in wanted) != valid or (first != NOTHING_HAPPENS) != valid:
            found.mismatch = f"valid after {history}: {valid} against {game.valid}"
            return found
        if (reference.won, reference.done) != (game.won, game.done):
            found.mismatch = f"won and done after {history}: {reference.won}, {reference.done} against {game.won}"
            return found
        found.steps += 1
        found.won = found.won or game.won
        if valid:
            found.accepted[command.split()[0]] += 1
        else:
            found.rejected += 1
    return found
