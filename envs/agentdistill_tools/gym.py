"""Questions of reasoning-gym: made from a seed, and their answers verified by the package's own scorers."""

from __future__ import annotations

import ast
import decimal
import json
import re
from functools import lru_cache
from typing import Any

from agentdistill.errors import ConfigError, import_extra
from agentdistill.plugins.suggest import hint
from agentdistill_tools.remote import Helper
from agentdistill_tools.tool import ToolError

SPLIT_SEEDS = {"train": 0, "eval": 1, "test": 2}
_BLOCK = 10_000_000
"""Item i of a dataset is drawn from seed + i, so every split gets a block of seeds of its own."""

LITERALS = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
"""Families whose scorers give the agent's answer to `eval`. Only literals get there."""

FORMULAS = frozenset(
    {"countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"}
)
"""Families whose scorers give it to SymPy's `parse_expr`, which is `eval`, too. Only formulas get there."""

_FORMULA = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+|[A-Za-z]{1,5}|[-+*/^()=,\s])*")
_PREPARE = "reasoning_gym:create_dataset"
_SCORING_SECONDS = 10.0
_SCORING_MEMORY_MB = 4096


def split_seed(seed: int, split: str) -> int:
    """First seed of a split's block."""
    return (seed * len(SPLIT_SEEDS) + SPLIT_SEEDS[split]) * _BLOCK


def dataset(family: str, options: str, first_seed: int) -> Any:
    """A family's dataset.

    Args:
        family: its name.
        options: its options as JSON.
        first_seed: seed of item 0.

    Raises:
        ConfigError: there is no such family, or it rejects its options.
        MissingExtraError: reasoning-gym is not installed.
    """
    # Errors are not cached.
    return _dataset(family, options, first_seed)


@lru_cache(maxsize=512)
def _dataset(family: str, options: str, first_seed: int) -> Any:
    package = import_extra("reasoning_gym", "tools", "The environment `tools` with questions of reasoning-gym")
    known = import_extra("reasoning_gym.factory", "tools", "The environment `tools`").DATASETS
    if family not in known:
        raise ConfigError(
            f"reasoning-gym has no family `{family}`.{hint(family, sorted(known))}",
            f"It has {len(known)}, for example basic_arithmetic, gcd and letter_counting.",
            "Correct `env.families`.",
        )
    try:
        return package.create_dataset(family, seed=first_seed, size=_BLOCK, **json.loads(options))
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"The reasoning-gym family `{family}` rejects its options.",
            f"{type(error).__name__}: {error}.",
            f"Correct `env.family_options.{family}`.",
        ) from error


@lru_cache(maxsize=4096)
def item(family: str, options: str, first_seed: int, index: int) -> dict[str, Any]:
    """One question: {"question", "answer", "metadata"}."""
    with _own_precision():
        found: dict[str, Any] = dataset(family, options, first_seed)[index]
    return found


def score(family: str, options: str, first_seed: int, index: int, answer: str) -> float:
    """The family's own verdict on an answer, in [0, 1]. Called in a helper process."""
    question = item(family, options, first_seed, index)
    with _own_precision():
        return float(dataset(family, options, first_seed).score_answer(answer, question))


def _own_precision() -> Any:
    """Some families change the precision of all decimals of the process, and with it the answers of others."""
    return decimal.localcontext(decimal.Context(prec=28))


class Scorer:
    """Scores answers in a helper process: a model may answer with a number that takes for ever to be parsed."""

    def __init__(self) -> None:
        self._helper = Helper(_SCORING_MEMORY_MB)

    def __call__(self, family: str, options: str, first_seed: int, index: int, answer: str) -> float:
        """The score, 0 for an answer that the scorer cannot take in."""
        expected = item(family, options, first_seed, index)["answer"]
        if not harmless(family, answer):
            return 0.0
        if isinstance(expected, str) and answer == expected:
            return 1.0
        arguments = {"family": family, "options": options, "first_seed": first_seed, "index": index, "answer": answer}
        try:
            text = self._helper.call("agentdistill_tools.gym:score", arguments, _SCORING_SECONDS, prepare=_PREPARE)
            return float(text)
        except ToolError:
            return 0.0

    def close(self) -> None:
        """Ends the helper process."""
        self._helper.close()


def harmless(family: str, answer: str) -> bool:
    """Whether a family's scorer may see an answer: for those that evaluate it, only what cannot be a program."""
    if family in FORMULAS:
        return _FORMULA.fullmatch(answer) is not None
    if family in LITERALS:
        try:
            ast.literal_eval(answer)
        except (ValueError, SyntaxError):
            return re.fullmatch(r"[\w\s]*", answer) is not None  # words and numbers, as most answers are
        except (MemoryError, RecursionError):
            return False
    return True
