"""Two results over the same panel, paired task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentdistill.errors import DataError
from agentdistill.evaluate.published import STEPS
from agentdistill.evaluate.result import EvalResult
from agentdistill.evaluate.statistics import Paired, pair


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired comparison.

    Attributes:
        panel: name of the panel.
        overall: all tasks that aborted on neither side.
        by_type: the same for each task type, sorted by type.
        left_out: tasks left out because the environment died on one side.
        differences: differences of the protocol that were allowed, as "key: before -> after".
    """

    panel: str
    overall: Paired
    by_type: Mapping[str, Paired]
    left_out: int
    differences: tuple[str, ...] = ()


def compare(before: EvalResult, after: EvalResult, allow: Sequence[str] = ()) -> Comparison:
    """Compares two results of one panel.

    Args:
        before: the reference.
        after: what it is compared with.
        allow: dotted protocol keys that may differ, e.g. "temperature" or "environment.version".

    Raises:
        DataError: the panels differ, or the protocols or the panels' data ("panel.…") differ in a key that is not
            allowed; the message names them.
    """
    if before.panel_hash != after.panel_hash:
        raise DataError(
            "The two results cannot be compared: they are over different panels.",
            f"`{before.panel}` has the hash {before.panel_hash} and {len(before.outcomes)} tasks, "
            f"`{after.panel}` has {after.panel_hash} and {len(after.outcomes)}.",
            "Evaluate both over one panel.",
        )
    left, right = _conditions(before), _conditions(after)
    keys = [key for key in {**left, **right} if left.get(key, _ABSENT) != right.get(key, _ABSENT)]
    described = {key: f"{key}: {left.get(key, _ABSENT)} -> {right.get(key, _ABSENT)}" for key in keys}
    refused = [key for key in keys if not any(key == name or key.startswith(f"{name}.") for name in allow)]
    if refused:
        raise DataError(
            "The two results cannot be compared: they were not measured under the same protocol.",
            "; ".join(described[key] for key in refused) + ".",
            f"Evaluate both the same way, or allow the difference by name: {', '.join(refused)}.",
        )
    pairs = [
        (one.task.type, one.success, two.success)
        for one, two in zip(before.outcomes, after.outcomes, strict=True)
        if not (one.aborted or two.aborted)
    ]
    types = sorted({kind for kind, _, _ in pairs})
    return Comparison(
        panel=after.panel,
        overall=pair((b, a) for _, b, a in pairs),
        by_type={name: pair((b, a) for kind, b, a in pairs if kind == name) for name in types},
        left_out=len(before.outcomes) - len(pairs),
        differences=tuple(described.values()),
    )


_ABSENT = "(not stated)"


def _conditions(result: EvalResult) -> dict[str, Any]:
    """The protocol, and what the panel's data is: the same task keys may stand for other games.

    What publications did besides is the same for both, whether the older of the two knew it or not.
    """
    panel = {key: value for key, value in result.provenance.get("panel", {}).items() if key != STEPS}
    return _flat({**result.protocol, "panel": panel})


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat.update(_flat(item, f"{prefix}{key}."))
        else:
            # A protocol read from disk has lists where the one just measured may have tuples.
            flat[f"{prefix}{key}"] = list(item) if isinstance(item, tuple) else item
    return flat
