"""PDDL to the planner's input, once per game and machine: half the cost of loading and nearly all of a reset.

Fast Downward's translator sets `sys.argv`, swaps `sys.stdout` and keeps its options in module globals, so it runs
under one lock and everything it touched is put back.
"""

from __future__ import annotations

import gc
import importlib.metadata
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from agentdistill.errors import DataError, import_extra
from agentdistill.hashing import digest
from agentdistill_alfworld import cache

PARSER_LOCK = threading.RLock()
"""Held while a global parser or translator of TextWorld or Fast Downward runs: none of them may run twice at once."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Translation:
    """What the engine needs of a translated game.

    Attributes:
        sas: the planning task in Fast Downward's SAS format, nothing pruned.
        actions: per action name its parameters (name with "?", type).
        types: (type, its supertypes), in the translator's order.
        objects: (object, type).
        facts: (predicate, arguments) true at the start, among them those that never change.
    """

    sas: str
    actions: dict[str, list[list[str]]]
    types: list[list[Any]]
    objects: list[list[str]]
    facts: list[list[Any]]


def translate(domain: str, problem: str) -> Translation:
    """Translates a game, or reads its translation from the user's cache.

    Args:
        domain: PDDL domain.
        problem: PDDL problem.

    Returns:
        The translation.

    Raises:
        MissingExtraError: Fast Downward is not installed.
        DataError: the PDDL is not valid.
    """
    key = digest([_FORMAT, _versions(), domain, problem])
    stored = cache.load("sas", key)
    if isinstance(stored, dict) and set(stored) == set(Translation.__slots__):
        return Translation(**stored)
    fresh = _translate(domain, problem)
    cache.store("sas", key, asdict(fresh))
    return fresh


@lru_cache(maxsize=1)
def _versions() -> list[str]:
    return [importlib.metadata.version(name) for name in ("textworld", "fast-downward-textworld")]


@contextmanager
def _contained() -> Iterator[None]:
    """Puts back what the translator changes. Its millions of small objects never form cycles worth collecting."""
    argv, stdout, collecting = sys.argv, sys.stdout, gc.isenabled()
    with PARSER_LOCK:
        gc.disable()
        try:
            yield
        finally:
            sys.argv, sys.stdout = argv, stdout
            if collecting:
                gc.enable()


def _translate(domain: str, problem: str) -> Translation:
    downward = import_extra("fast_downward", "alfworld", "The real ALFWorld engine")
    with _contained():
        try:
            task, sas = downward.pddl2sas(domain, problem)
        # The translator's errors: parse errors, failed assertions, KeyErrors, and sys.exit().
        except (Exception, SystemExit) as error:
            raise DataError(
                "A game's PDDL cannot be translated.",
                f"Fast Downward says: {type(error).__name__}: {error}.",
                "Restore the game file.",
            ) from error
        conditions = sys.modules["fast_downward.translate.pddl.conditions"]
        numeric = sys.modules["fast_downward.translate.pddl.f_expression"]
        types = {item.name: item.type_name for item in task.objects}
        facts: list[list[Any]] = []
        for atom in task.init:
            if isinstance(atom, conditions.Atom) and atom.predicate != "=":
                facts.append([atom.predicate, list(atom.args)])
            # Symbolic values of numeric functions are facts to TextWorld; distances and costs are not.
            elif isinstance(atom, numeric.Assign) and atom.fluent.symbol != "total-cost":
                name = str(atom.expression.value)
                if not name.isdigit():
                    facts.append([name, list(atom.fluent.args)])
        return Translation(
            sas=sas,
            actions={a.name: [[p.name, p.type_name] for p in a.parameters] for a in task.actions},
            types=[[t.name, list(t.supertype_names)] for t in task.types],
            objects=[[name, kind] for name, kind in types.items()],
            facts=facts,
        )
