"""Tools: typed Python functions with JSON schemas made from their signatures and docstrings."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from agentdistill.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_ARGUMENT = re.compile(r"\s+(\w+)(?:\s*\([^)]*\))?:\s*(.*)")


class ToolError(Exception):
    """A call failed; the agent sees the message."""


class WrongArguments(ToolError):
    """The arguments do not fit the schema."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something an agent can call.

    Attributes:
        name: what the agent writes.
        description: what it does.
        parameters: JSON schema of its arguments, an object.
        call: (arguments) -> result as text. Raises `ToolError` for what the agent did wrong.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[Mapping[str, Any]], str]

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in the form that chat templates show."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


def function_tool(function: Callable[..., Any], call: Callable[[Mapping[str, Any]], str] | None = None) -> Tool:
    """Makes a tool of a function.

    Every parameter needs a type, and the docstring says what it does: its first paragraph describes the tool, its
    "Args:" section (Google style) the arguments.

    Args:
        function: the function.
        call: calls it instead of calling it here, e.g. in another process.

    Raises:
        ConfigError: the function cannot be a tool: no types, no docstring, or parameters without names.
    """
    name = getattr(function, "__name__", "")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"A tool needs a plain function with a name; {function!r} has none.")
    model = _arguments_model(function, name)
    summary, _ = _docstring(function)
    if not summary:
        raise ConfigError(
            f"The tool `{name}` has no docstring.",
            "It is all that an agent knows about a tool.",
            "Say what it does, and describe its arguments in a section `Args:`.",
        )

    def run(arguments: Mapping[str, Any]) -> str:
        try:
            valid = model.model_validate(dict(arguments))
        except ValidationError as error:
            raise WrongArguments(_complaint(error)) from error
        return as_text(function(**{field: getattr(valid, field) for field in model.model_fields}))

    return Tool(name, summary, _plain(model.model_json_schema()), call or run)


def as_text(value: Any) -> str:
    """A tool's result as the agent sees it: text as it is, anything else as JSON where that is possible."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def call_by_name(target: str, arguments: Mapping[str, Any]) -> str:
    """Calls a function as a tool, by "module:function"; for a helper process."""
    return _named(target).call(arguments)


@functools.cache
def _named(target: str) -> Tool:
    module, _, name = target.partition(":")
    return function_tool(getattr(importlib.import_module(module), name))


def _arguments_model(function: Callable[..., Any], name: str) -> type[BaseModel]:
    _, described = _docstring(function)
    try:
        types = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(f"The types of the tool `{name}` cannot be resolved: {error}.") from error
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"The parameter `{parameter.name}` of the tool `{name}` cannot be given by name.")
        if parameter.name not in types:
            raise ConfigError(
                f"The parameter `{parameter.name}` of the tool `{name}` has no type.", do="Annotate it, e.g. `: int`."
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        description = described.get(parameter.name)
        fields[parameter.name] = (types[parameter.name], Field(default, description=description))
    return create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """First paragraph, and the description of each argument of a Google-style docstring."""
    text = inspect.getdoc(function) or ""
    summary = " ".join(text.partition("\n\n")[0].split())
    described: dict[str, str] = {}
    inside, last = False, ""
    for line in text.splitlines():
        if re.fullmatch(r"Args:\s*", line):
            inside = True
        elif inside and line and not line[0].isspace():
            inside = False
        elif inside and line.strip():
            found = _ARGUMENT.fullmatch(line)
            indent = len(line) - len(line.lstrip())
            if found and indent <= 4:
                last = found[1]
                described[last] = found[2].strip()
            elif last:
                described[last] = f"{described[last]} {line.strip()}".strip()
    return summary, described


def _plain(schema: Any) -> Any:
    """A schema without the titles pydantic makes up."""
    if isinstance(schema, dict):
        return {
            key: {name: _plain(value) for name, value in item.items()}
            if key in ("properties", "$defs")
            else _plain(item)
            for key, item in schema.items()
            if not (key in ("title", "additionalProperties") and isinstance(item, str | bool))
        }
    return [_plain(item) for item in schema] if isinstance(schema, list) else schema


def _complaint(error: ValidationError) -> str:
    problems = [f"`{'.'.join(map(str, e['loc'])) or 'arguments'}`: {e['msg']}" for e in error.errors()[:5]]
    return f"wrong arguments: {'; '.join(problems)}"
