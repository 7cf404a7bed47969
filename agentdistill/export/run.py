"""The export itself: load, merge, write, check, describe; and only then does the directory appear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.atomic import atomic_directory
from agentdistill.config.toml import dump
from agentdistill.errors import MissingExtraError
from agentdistill.export.card import model_card
from agentdistill.export.check import check_in_engine, check_in_transformers, engines_here, reference_of
from agentdistill.export.source import Source, license_of, of_directory, of_run
from agentdistill.models import generation_stop_ids
from agentdistill.provenance import versions

if TYPE_CHECKING:
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.plugins.registry import PluginRegistry

AUTO, NONE = "auto", "none"
"""Checks in other engines: in all that are here, or in none."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        directory: where.
        checks: a sentence for each comparison that was made, or was not.
        license: the licence in its card, "" when unknown.
    """

    directory: Path
    checks: tuple[str, ...]
    license: str


def export_run(run: str | Path, output: str | Path, *, registry: PluginRegistry, **options: Any) -> Exported:
    """Exports the finished student of a run; see `export_student` for the options.

    Raises:
        DataError: there is no such run, or it has not finished.
    """
    return _export(of_run(Path(run), registry), Path(output), registry, **options)


def export_student(student: str | Path, output: str | Path, *, registry: PluginRegistry, **options: Any) -> Exported:
    """Exports a student's directory: one that a run wrote, a checkpoint's, or any model directory.

    Args:
        student: the directory.
        output: directory to make.
        registry: the loaded plugins.
        **options: `check`, where else to check it: "auto", "none" or the name of an engine; `engine`, options of that
            engine; `license`, identifier of the licence in place of what the base model's card says.

    Returns:
        What was written and compared.

    Raises:
        DataError: the output exists, or what was written does not play as the student does.
        AgentDistillError: the student cannot be loaded, or the engine of the check cannot be started.
    """
    return _export(of_directory(Path(student), registry), Path(output), registry, **options)


def _export(
    source: Source,
    output: Path,
    registry: PluginRegistry,
    *,
    check: str = AUTO,
    engine: Mapping[str, Any] | None = None,
    license: str = "",
) -> Exported:
    with atomic_directory(output) as partial:  # first of all, so that an existing one costs no time
        renderer = _renderer(source, registry)
        dtype = str(source.student.model.dtype).removeprefix("torch.")
        reference = reference_of(source.student, renderer)
        _write(source, partial, renderer.stop_ids)
        loaded, first = check_in_transformers(partial, reference, dtype)
        checks = [first]
        for name in engines_here(registry) if check == AUTO else [] if check == NONE else [check]:
            try:
                checks.append(check_in_engine(name, engine or {}, loaded, reference, registry))
            except MissingExtraError as error:
                if check != AUTO:
                    raise
                checks.append(f"{name}: not checked. {error.what}")
        if len(checks) == 1:
            checks.append("no other engine: " + ("none is available here" if check == AUTO else "not asked for"))
        stated = license or license_of(source.base_directory)
        asked = asked_like(source)
        card = model_card(
            name=source.name,
            base=source.base,
            adapter=source.adapter,
            license=stated,
            config=source.recipe.values if source.recipe is not None else {},
            results=source.results,
            asked=asked,
            checks=checks,
            versions=versions(registry),
        )
        (partial / "README.md").write_text(card, encoding="utf-8")
        if asked:
            (partial / "config.toml").write_text(dump(asked), encoding="utf-8")
    return Exported(output, tuple(checks), stated)


def asked_like(source: Source) -> dict[str, Any]:
    """The part of a recipe that says how its student is asked, without anything that only one machine has."""
    if source.recipe is None:
        return {}
    values = source.recipe.values
    env, rollout, section = (values.get(name) or {} for name in ("env", "rollout", "eval"))
    wanted: dict[str, Any] = {
        "env": {key: env[key] for key in ("type", "max_steps", "context") if env.get(key) is not None},
        "rollout": {key: rollout[key] for key in ("max_new_tokens", "constrained") if rollout.get(key) is not None},
        "eval": {
            key: section[key]
            for key in ("max_steps", "max_new_tokens", "temperature", "top_p", "constrained")
            if section.get(key) is not None
        },
    }
    return {name: table for name, table in wanted.items() if table}


def _renderer(source: Source, registry: PluginRegistry) -> ChatRenderer:
    from agentdistill.conversation.template import ChatRenderer, renderer_for

    stops = generation_stop_ids(source.student.model)
    section = source.recipe.config.env if source.recipe is not None else None
    if section is None:
        return ChatRenderer(source.student.tokenizer, per_turn=True, extra_stop_ids=stops)
    context = registry.build("context", section.context, "env.context", registry=registry)
    return renderer_for(source.student.tokenizer, context, extra_stop_ids=stops)


def _write(source: Source, directory: Path, stop_ids: Sequence[int]) -> None:
    """Writes weights, configs, tokenizer and chat template."""
    model: Any = source.student.model
    if source.adapter:
        model = model.merge_and_unload()
    config, tokenizer = model.generation_config, source.student.tokenizer
    config.eos_token_id = list(stop_ids) if len(stop_ids) > 1 else stop_ids[0]
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop_ids[0]
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
