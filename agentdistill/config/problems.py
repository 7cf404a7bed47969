"""Validation errors told at the user's own path: "[curriculum] evry: unknown key. Did you mean `every`?"."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from agentdistill.errors import ConfigError
from agentdistill.plugins.suggest import hint, listing

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration.

    Attributes:
        path: dotted path, e.g. "curriculum.evry".
        message: what is wrong there, without a final stop when it is short.
        code: pydantic's name of the error, "" for our own.
    """

    path: str
    message: str
    code: str = ""


def user_path(path: str) -> str:
    """A dotted path as it looks in a recipe: "[env.context] steps"."""
    section, dot, key = path.rpartition(".")
    return f"[{section}] {key}" if dot else f"[{path}]"


def find_problems(model: type[Model], values: Mapping[str, Any], path: str = "") -> tuple[Model | None, list[Problem]]:
    """Validates values.

    Args:
        model: pydantic model.
        values: the values.
        path: dotted path of the section they come from.

    Returns:
        The validated model and no problems, or None and the problems.
    """
    try:
        return model.model_validate(dict(values)), []
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            location = [str(part) for part in detail["loc"]]
            where = ".".join([path, *location] if path else location)
            problem = Problem(where, _message(detail, model, location), detail["type"])
            if problem not in problems:
                problems.append(problem)
        return None, problems


def _message(detail: Any, model: type[BaseModel], location: list[str]) -> str:
    if detail["type"] == "extra_forbidden":
        parent = _model_at(model, location[:-1])
        known = list(parent.model_fields) if parent else []
        what = "unknown section" if len(location) == 1 and model.__name__ == "RunConfig" else "unknown key"
        return f"{what}.{hint(location[-1], known) or f' Known: {listing(known)}.'}"
    if detail["type"] == "missing":
        return "is missing"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{message} (got {detail['input']!r})"


def _model_at(model: type[BaseModel], location: Iterable[str]) -> type[BaseModel] | None:
    """The model of a nested section; looks through Optional and other unions."""
    current: type[BaseModel] | None = model
    for name in location:
        if name.isdigit():  # one of a list of sections
            continue
        field = current.model_fields.get(name) if current else None
        if field is None:
            return None
        candidates = [field.annotation, *get_args(field.annotation)]
        current = next((c for c in candidates if inspect.isclass(c) and issubclass(c, BaseModel)), None)
    return current


def raise_problems(problems: Sequence[Problem], origin: Callable[[str], str] | None = None) -> NoReturn:
    """Raises one paragraph with every problem.

    Args:
        problems: at least one.
        origin: says where the value at a dotted path came from, "" for nowhere in particular.

    Raises:
        ConfigError: always.
    """
    told = []
    for problem in problems:
        source = origin(problem.path) if origin else ""
        told.append(f"{user_path(problem.path)}{f' (from {source})' if source else ''}: {problem.message.rstrip('.')}")
    count = "a value that cannot be used" if len(told) == 1 else f"{len(told)} values that cannot be used"
    raise ConfigError(f"The configuration has {count}.", "; ".join(told) + ("" if told[-1].endswith("?") else "."))
