"""How well a starter model plays: success over a list of games, with what is needed to believe the number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from agentdistill.evaluate.statistics import wilson
from agentdistill.hashing import digest
from agentdistill_alfworld.data import GameFile, disk_split
from agentdistill_alfworld.dialect import upgrade
from agentdistill_alfworld.engine import TextGame
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.game import TASK_TYPES
from agentdistill_alfworld.generate import generate
from agentdistill_alfworld.real import RealGame
from agentdistill_alfworld.starter_training.rollout import play_greedy

GENERATED_COUNT, GENERATED_SEED = 300, 1_000_003
"""Size and seed of the generated panel; no training run uses this seed."""

LIMIT, SHORT_LIMIT = 50, 30
"""Steps a game may take; ALFWorld's own limit, and the shorter one that some papers use."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """One game to be measured on.

    Attributes:
        key: identity of the game.
        type: its task type.
        start: makes a world that plays it.
    """

    key: str
    type: str
    start: Callable[[], TextGame]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Success of a model over a panel.

    Attributes:
        panel: name of the panel.
        engine: "real" (ALFWorld's own) or "fast" (this package's, same text).
        limit: most steps a game may take.
        won: games won within the limit.
        games: games in all.
        low: lower end of the 95% Wilson interval of the success rate.
        high: upper end.
        won_short: games won within `SHORT_LIMIT` steps. Greedy play is the same up to there.
        by_type: task type -> [won, games, low, high].
        mean_steps: mean steps of the games won.
        refused: share of the actions that the engine did not accept.
        panel_hash: sixteen hex digits over the keys of the games, in order.
    """

    panel: str
    engine: str
    limit: int
    won: int
    games: int
    low: float
    high: float
    won_short: int
    by_type: dict[str, list[float]]
    mean_steps: float
    refused: float
    panel_hash: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `metrics.json`."""
        return asdict(self)


def generated_unseen() -> list[Entrant]:
    """Generated games in the four rooms that no training game uses, on the fast engine."""
    games = generate("valid_unseen", GENERATED_COUNT, GENERATED_SEED)
    return [Entrant(game.key, game.task_type, partial(FastGame, game)) for game in games]


def real_split(split: str) -> list[Entrant]:
    """A published split from $ALFWORLD_DATA, in the "move" dialect, on the real engine.

    Raises:
        DataError: the data is missing.
        MissingExtraError: the extra `alfworld` is not installed.
    """
    return [Entrant(file.key, file.type, partial(_real_game, file)) for file in disk_split(split).games]


def _real_game(file: GameFile) -> RealGame:
    return RealGame(upgrade(file.text()))


def measure(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    entrants: Sequence[Entrant],
    *,
    panel: str,
    engine: str,
    limit: int = LIMIT,
    together: int = 20,
) -> Measurement:
    """Plays every game greedily and unconstrained.

    Args:
        model: a starter model.
        tokenizer: its tokenizer.
        entrants: the games.
        panel: what to call them.
        engine: what plays them.
        limit: most steps in a game.
        together: games played at the same time; the result does not depend on it.
    """
    outcomes = []
    for first in range(0, len(entrants), together):
        worlds = [entrant.start() for entrant in entrants[first : first + together]]
        outcomes += play_greedy(model, tokenizer, worlds, limit=limit)
    wins = [outcome.won for outcome in outcomes]
    by_type = {}
    for kind in TASK_TYPES:
        mine = [won for won, entrant in zip(wins, entrants, strict=True) if entrant.type == kind]
        interval = wilson(sum(mine), len(mine))
        by_type[kind] = [sum(mine), len(mine), round(interval.low, 4), round(interval.high, 4)]
    lengths = [len(outcome.actions) for outcome in outcomes if outcome.won]
    interval = wilson(sum(wins), len(wins))
    return Measurement(
        panel=panel,
        engine=engine,
        limit=limit,
        won=sum(wins),
        games=len(wins),
        low=round(interval.low, 4),
        high=round(interval.high, 4),
        won_short=sum(length <= SHORT_LIMIT for length in lengths),
        by_type=by_type,
        mean_steps=round(sum(lengths) / max(len(lengths), 1), 2),
        refused=round(sum(o.refused for o in outcomes) / max(sum(len(o.actions) for o in outcomes), 1), 4),
        panel_hash=digest([entrant.key for entrant in entrants])[:16],
    )
