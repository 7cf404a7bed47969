"""A resolved configuration: the validated config, every value it stands for, and where each came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agentdistill.config.schema import RunConfig
from agentdistill.config.toml import dump
from agentdistill.errors import ConfigError
from agentdistill.hashing import digest, neutral

_ASIDE = re.compile(
    r"run\.(name|directory|resume|self_test)"  # where a run lies, and what is checked before it
    r"|teacher\.(.+\.)?(cache|cache_folder)"  # where its scores lie, those of a teacher inside another one too
    r"|(teacher|reward)\.(.+\.)?budget"  # what may be spent: a run that has spent it goes on with more
)
"""Paths of values that do not say what a run is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        kind: the sort of place.
        where: file name, or which plugin; "" when the kind says it all.
    """

    kind: Literal["default", "plugin default", "file", "command line", "given"]
    where: str = ""

    def __str__(self) -> str:
        if self.kind == "file":
            return self.where
        return f"{self.kind} of {self.where}" if self.where else self.kind


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """What a run is made of.

    Attributes:
        config: the validated recipe; plugin sections hold only the options that somebody wrote.
        provenance: where the value at every dotted path came from.
        values: every value, nested, with plugins' defaults filled in; None where a key is not set.
    """

    config: RunConfig
    provenance: Mapping[str, Origin]
    values: Mapping[str, Any]

    def get(self, path: str) -> Any:
        """The value at a dotted path.

        Raises:
            KeyError: there is none.
        """
        value: Any = self.values
        for part in path.split("."):
            value = value[part]
        return value

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Yields (dotted path, value) of every value."""
        yield from leaves(self.values)

    @property
    def hash(self) -> str:
        """Sixteen hex digits over every value that can change the result, the same wherever models and data lie."""
        return identity(self.values)

    def to_toml(self, provenance: bool = False) -> str:
        """The configuration as one recipe that resolves to the same values.

        Args:
            provenance: put behind each value where it came from.
        """
        unset = [path for path, value in self.leaves() if value is None and self._written(path)]
        comment = (lambda path: str(self.provenance.get(path, ""))) if provenance else None
        return dump(self.values, comment, unset)

    def _written(self, path: str) -> bool:
        """Somebody wrote this value: it is not a default."""
        origin = self.provenance.get(path)
        return origin is not None and "default" not in origin.kind

    def require(self, *sections: str) -> None:
        """Checks that optional sections are there.

        Raises:
            ConfigError: one is not.
        """
        absent = [name for name in sections if getattr(self.config, name) is None]
        if absent:
            names = " and ".join(f"[{name}]" for name in absent)
            key = "model" if absent[0] == "student" else "type"
            raise ConfigError(
                f"The configuration has no {names}.",
                "This command needs it.",
                f"Add it to a recipe, or give it on the command line: --{absent[0]}.{key} ...",
            )

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Dotted paths at which another configuration's values differ, names and directories aside.

        Args:
            other: its `values`.
        """
        mine, theirs = _deciding(self.values), _deciding(other)
        return [p for p in [*mine, *(p for p in theirs if p not in mine)] if mine.get(p) != theirs.get(p)]


def identity(values: Mapping[str, Any]) -> str:
    """The hash of a resolved configuration as plain data, which may be `neutral` already."""
    return digest(_deciding(neutral(values)))[:16]


def _deciding(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values that can change the result, by path; of a list of sections, what of each can."""
    found = {}
    for path, value in leaves(values, prefix):
        if _ASIDE.fullmatch(path) is None:
            sections = isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)
            found[path] = [_deciding(one, f"{path}.") for one in value] if sections else value
    return found


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted path, value); an empty mapping is a value."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value
