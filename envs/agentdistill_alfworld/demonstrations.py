"""Recovery demonstrations: expert episodes with injected mistakes that the expert then recovers from.

A model that only ever saw flawless play does not know what to do after "Nothing happens.": it repeats itself. So
some turns are mistakes of the kinds a young agent makes; they are played, they are never trained on
(`LossRole.NONE`), and what the expert does next is (the idea of noise injection, arXiv:1703.09327).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from agentdistill.records import Actor, EpisodePlan, LossRole, Step, StopReason, Task, Trajectory
from agentdistill_alfworld.engine import TextGame
from agentdistill_alfworld.experts.text import TextExpert, default_prior
from agentdistill_alfworld.experts.text_belief import Belief, type_of
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import Game


@dataclass(frozen=True, slots=True)
class Mistakes:
    """How often the demonstrator errs.

    Attributes:
        rate: probability of a mistake before a turn of the expert, in [0, 1). 0 gives flawless episodes.
        burst: probability that a mistake is followed by another one, in [0, 1).
        limit: most turns of an episode, mistakes included; longer ones are given up.
    """

    rate: float = 0.12
    burst: float = 0.36
    limit: int = 40


_Mistake = Callable[[TextExpert, Random], str | None]


def _go_nowhere(expert: TextExpert, rng: Random) -> str | None:
    """To a receptacle that this room does not have."""
    kind = rng.choice(_receptacle_types())
    numbers = [int(name.split(" ")[1]) for name in expert.belief.receptacles if type_of(name) == kind]
    return f"go to {kind} {max(numbers, default=0) + rng.choice((1, 1, 2))}"


def _go_here(expert: TextExpert, rng: Random) -> str | None:
    """To where one stands already."""
    return _some("go to {}", sorted(expert.belief.here), rng)


def _go_back(expert: TextExpert, rng: Random) -> str | None:
    """To a receptacle that was looked into and holds nothing of use, or was left closed."""
    belief, goal = expert.belief, expert.goal
    useless = [
        name
        for name in belief.receptacles
        if name not in belief.here
        and (name in belief.contents or name in belief.closed)
        and not any(type_of(item) in (goal.object, goal.receptacle) for item in belief.contents.get(name, ()))
    ]
    return _some("go to {}", useless, rng)


def _go_astray(expert: TextExpert, rng: Random) -> str | None:
    """To any receptacle but the one advised."""
    advised = expert.action().removeprefix("go to ")
    return _some("go to {}", [n for n in expert.belief.receptacles if n != advised], rng)


def _take_absent(expert: TextExpert, rng: Random) -> str | None:
    """The goal's object, where it is not."""
    kind = expert.goal.object
    here = [name for name in sorted(expert.belief.here) if not _holds(expert.belief, name, kind)]
    return _some(f"take {kind} {rng.randint(1, 4)} from {{}}", here, rng)


def _take_wrong(expert: TextExpert, rng: Random) -> str | None:
    """An object that the goal does not ask for."""
    belief = expert.belief
    if belief.held is not None:
        return None
    wrong = [
        f"take {item} from {name}"
        for name in sorted(belief.here)
        if name not in belief.closed
        for item in belief.contents.get(name, ())
        if type_of(item) != expert.goal.object
    ]
    return rng.choice(wrong) if wrong else None


def _put_too_soon(expert: TextExpert, rng: Random) -> str | None:
    """The object in hand, where one stands, although the expert would not."""
    belief = expert.belief
    here = [name for name in sorted(belief.here) if f" to {name}" not in expert.action()]
    return _some(f"move {belief.held} to {{}}", here, rng) if belief.held else None


def _treat_wrongly(expert: TextExpert, rng: Random) -> str | None:
    """A treatment with a receptacle that cannot do it."""
    verb = expert.goal.treatment or rng.choice(("clean", "heat", "cool"))
    held = expert.belief.held or f"{expert.goal.object} {rng.randint(1, 3)}"
    here = [name for name in sorted(expert.belief.here) if expert.action() != f"{verb} {held} with {name}"]
    return _some(f"{verb} {held} with {{}}", here, rng)


def _open_needlessly(expert: TextExpert, rng: Random) -> str | None:
    """Something that is open or cannot be opened."""
    return _some("open {}", sorted(expert.belief.here - expert.belief.closed), rng)


def _close(expert: TextExpert, rng: Random) -> str | None:
    """Whatever one stands before."""
    return _some("close {}", sorted(expert.belief.here - expert.belief.closed), rng)


def _examine(expert: TextExpert, rng: Random) -> str | None:
    """What one stands before."""
    return _some("examine {}", sorted(expert.belief.here), rng)


def _use_absent(expert: TextExpert, rng: Random) -> str | None:
    """A lamp that is not here."""
    lamp = expert.goal.receptacle if expert.goal.look else rng.choice(("desklamp", "floorlamp"))
    return f"use {lamp} 1" if expert.action() != f"use {lamp} 1" else None


def _idle(expert: TextExpert, rng: Random) -> str | None:
    """A look around, at one's hands, or at the manual."""
    return rng.choice(("look", "look", "look", "inventory", "inventory", "help"))


_KINDS: tuple[tuple[_Mistake, int], ...] = (
    (_go_nowhere, 24),
    (_go_here, 8),
    (_go_back, 14),
    (_go_astray, 6),
    (_take_absent, 12),
    (_take_wrong, 9),
    (_put_too_soon, 5),
    (_treat_wrongly, 4),
    (_open_needlessly, 8),
    (_close, 2),
    (_examine, 5),
    (_use_absent, 2),
    (_idle, 3),
)
"""The kinds of mistakes and their weights."""


@cache
def _receptacle_types() -> tuple[str, ...]:
    """Every receptacle type of the world."""
    return tuple(sorted({kind for places in default_prior().values() for kind in places}))


def demonstrate(task: Task, world: TextGame, expert: TextExpert, rng: Random, mistakes: Mistakes) -> Trajectory:
    """Plays one episode with injected mistakes.

    Args:
        task: what to call the episode's task.
        world: the game; it is reset.
        expert: gives the advice; it is reset.
        rng: source of the mistakes.
        mistakes: how often they happen.

    Returns:
        A text episode (no token rows). Turns of the expert have `LossRole.IMITATE`, mistakes `LossRole.NONE` and
        their kind in `info["mistake"]`. `success` is False if the turns ran out.
    """
    observation = world.reset()
    expert.reset(observation)
    steps: list[Step] = []
    erred: tuple[str, str] | None = None
    while not world.won and len(steps) < mistakes.limit:
        erred = _mistake(expert, rng, mistakes, erred)
        action = erred[0] if erred else expert.action()
        step = Step(len(steps), observation, action, action, actor=Actor.EXPERT, loss_role=LossRole.IMITATE)
        if erred:
            step.loss_role = LossRole.NONE
            step.info["mistake"] = erred[1]
        observation = world.step(action)
        expert.record(action, observation)
        step.valid = world.valid
        step.reward = float(world.won)
        steps.append(step)
    stop = StopReason.SUCCESS if world.won else StopReason.ENV_LIMIT
    score = float(world.won)
    return Trajectory(task, EpisodePlan(), steps, [], stop, score=score, success=world.won)


def demonstrations(
    games: Iterable[Game], *, split: str, seed: int, mistakes: Mistakes | None = None, keep_failures: bool = False
) -> Iterator[Trajectory]:
    """Recovery demonstrations over games, in their order.

    The mistakes of a game depend on `seed` and the game's key only, not on the games before it.

    Args:
        games: the games.
        split: split that the games belong to, for the episodes' tasks.
        seed: seed of the mistakes.
        mistakes: how often the expert errs; the defaults of `Mistakes` when None.
        keep_failures: also yield the (rare) episodes that did not reach the goal in time.
    """
    rate = Mistakes() if mistakes is None else mistakes
    expert = TextExpert()
    for game in games:
        rng = Random(f"mistakes:{seed}:{game.key}")
        task = Task("alfworld", split, game.key, game.task_type, seed)
        episode = demonstrate(task, FastGame(game), expert, rng, rate)
        if episode.success or keep_failures:
            yield episode


def _mistake(
    expert: TextExpert, rng: Random, mistakes: Mistakes, previous: tuple[str, str] | None
) -> tuple[str, str] | None:
    """The next mistake and its kind, or None when the expert is to play."""
    if rng.random() >= (mistakes.burst if previous else mistakes.rate):
        return None
    if previous and rng.random() < 0.3 and previous[0] != expert.action():
        return previous  # young agents repeat themselves
    kind = rng.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])[0]
    action = kind(expert, rng)
    if action is None or action == expert.action():
        return None
    return action, kind.__name__.removeprefix("_")


def _some(command: str, names: list[str], rng: Random) -> str | None:
    return command.format(rng.choice(names)) if names else None


def _holds(belief: Belief, name: str, kind: str) -> bool:
    return any(type_of(item) == kind for item in belief.contents.get(name, ()))
