"""The base class of every plugin's options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, model_validator


class Options(BaseModel):
    """Strict, frozen options. TOML has no null: `false` unsets a key that may be None and is no boolean."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _false_unsets(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: None if value is False and cls._may_be_unset(key) else value for key, value in values.items()}

    @classmethod
    def _may_be_unset(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        choices = get_args(field.annotation) if field else ()
        return NoneType in choices and bool not in choices


class PluginConfig(Options):
    """Options of one plugin: subclass it, give every field a type and a default, and document the fields.

    Unknown keys are errors and instances cannot be changed. A plugin registered without a config class gets
    an instance of this class itself, which takes no options.
    """


@dataclass(frozen=True, slots=True)
class SectionOf:
    """Marks a field whose value is the section of another plugin, so that it is checked with the rest of a recipe.

        teacher: Annotated[dict[str, Any], SectionOf("teacher")]

    Attributes:
        kind: kind of the plugin that the section's `type` names.
        several: the field holds several such sections, by name.
    """

    kind: str
    several: bool = False


def nested_sections(config: BaseModel) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (dotted path within the options, kind, section) of every section of another plugin in a plugin's options.

    Args:
        config: validated options; fields that are options themselves are looked through.
    """
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        marked = next((one for one in field.metadata if isinstance(one, SectionOf)), None)
        if isinstance(value, BaseModel):
            yield from ((f"{name}.{path}", kind, section) for path, kind, section in nested_sections(value))
        elif marked is not None and value is not None:
            sections = {f"{name}.{key}": one for key, one in value.items()} if marked.several else {name: value}
            yield from ((path, marked.kind, section) for path, section in sections.items())


def config_of(target: Any) -> type[PluginConfig]:
    """The config class that a target's `config` parameter is annotated with, or `PluginConfig`.

    This is how `type = "package.module:Class"` finds its options without having been registered.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        annotation = get_type_hints(function).get("config")
    except (NameError, TypeError, AttributeError):
        return PluginConfig
    if inspect.isclass(annotation) and issubclass(annotation, PluginConfig):
        return annotation
    return PluginConfig


def field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Descriptions from the "Attributes:" sections of a class's docstring and those of its bases, by field."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        section = re.search(r"^Attributes:\n(.*?)(?:^\S|\Z)", inspect.cleandoc(cls.__doc__ or ""), re.S | re.M)
        if section:
            body = inspect.cleandoc(section[1])
            for name, text in re.findall(r"^(\w+):\s*(.*(?:\n[ \t]+.*)*)", body, re.M):
                found[name] = " ".join(text.split())
    for name, field in model.model_fields.items():
        if field.description:
            found[name] = field.description
    return {name: found[name] for name in model.model_fields if name in found}


def field_rows(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """(key, type, default) of each field as texts; a field without default says "required"."""
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        rows.append((name, type_name(field.annotation), default))
    return rows


def type_name(annotation: Any) -> str:
    """A type as a reader wants it: `int`, `"a" or "b"`, `list of text`; that it may be unset is left to the default."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inner[0])
    if origin is Literal:
        return " or ".join(f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(type_name(choice) for choice in inner if choice is not NoneType)
    if origin in (list, tuple, set, frozenset):
        kinds = list(dict.fromkeys(type_name(choice) for choice in inner if choice is not Ellipsis))
        return f"list of {' and '.join(kinds)}"
    if origin is dict or annotation is dict:
        return "table"
    if not inspect.isclass(annotation):
        return str(annotation).replace("typing.", "")
    if issubclass(annotation, BaseModel):
        return "section"
    return {str: "text", bool: "true or false"}.get(annotation, annotation.__name__)
