"""Evaluation outside a run: a model, a panel, and the recipe that says how the model is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.config.load import load_config
from agentdistill.config.resolved import ResolvedConfig
from agentdistill.errors import ConfigError
from agentdistill.evaluate.expert import evaluate_expert
from agentdistill.evaluate.panel import resolve_panel
from agentdistill.evaluate.result import EvalResult
from agentdistill.evaluate.run import evaluate as evaluate_panel
from agentdistill.models import LoadedModel, fingerprint
from agentdistill.plugins.gymnasium_ids import is_gymnasium_id
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.provenance import collect
from agentdistill.records import Panel, Trajectory
from agentdistill.training.assembly import Parts

if TYPE_CHECKING:
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.engines.base import Engine
    from agentdistill.training.run import Run


def recipe_of(model: str) -> str | None:
    """The recipe a student was trained with: `config.toml` beside or above its directory, as runs write it.

    Args:
        model: what the user called the model.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    found = [place / "config.toml" for place in (folder, folder.parent) if (place / "config.toml").is_file()]
    return str(found[0]) if found else None


def resolve_evaluation(
    recipes: Sequence[str | Mapping[str, Any]],
    overrides: Mapping[str, Any],
    registry: PluginRegistry,
    plugins: Sequence[str] = (),
    *,
    needs_student: bool = True,
) -> ResolvedConfig:
    """Resolves the configuration of an evaluation.

    Without a recipe, a student that a run wrote is asked as in its own recipe; and without an environment, the
    panel's name says which.

    Args:
        recipes: names, paths or mappings.
        overrides: values by dotted path.
        registry: the loaded plugins.
        plugins: modules given with `-p`.
        needs_student: False when the environment's expert or an agent elsewhere is evaluated.

    Raises:
        ConfigError: a value is wrong, or there is no panel, environment or student.
    """
    student = overrides.get("student.model")
    if not recipes and student and (own := recipe_of(str(student))):
        recipes = (own,)
    panel = str(overrides.get("eval.panel") or "")
    if panel and not panel.endswith(".json"):
        recipes = ({"env": {"type": environment_of(panel)}}, *recipes)
    resolved = load_config(recipes, overrides, registry=registry, plugins=plugins)
    resolved.require("env", *(("student",) if needs_student else ()))
    if resolved.config.eval.panel is None:
        known = ", ".join(registry.names("benchmark")) or "none is registered"
        raise ConfigError(
            "There is no panel to evaluate on.", "eval.panel is not set.", f"Add --panel; known: {known}."
        )
    return resolved


def environment_of(panel: str) -> str:
    """The environment that a panel's name says: what stands before its first slash, or a whole Gymnasium id."""
    head, _, _ = panel.rpartition("/")
    return head if is_gymnasium_id(head) else panel.partition("/")[0]


def panel_of(parts: Parts) -> Panel:
    """The configured panel, limited as configured.

    Raises:
        ConfigError: none is configured, or it does not exist.
    """
    section = parts.config.eval
    if section.panel is None:
        raise ConfigError("There is no panel to evaluate on.", "eval.panel is not set.", "Add --eval.panel ENV/PANEL.")
    return resolve_panel(section.panel, source=parts.eval_source, registry=parts.registry, limit=section.limit)


def evaluate_parts(
    parts: Parts,
    on_episode: Callable[[Trajectory], None] | None = None,
    *,
    panel: Panel | None = None,
    **extra: Any,
) -> EvalResult:
    """Evaluates the student of assembled parts over the configured panel.

    Args:
        parts: environment, student, engine and context of a resolved configuration.
        on_episode: sees each episode as it ends.
        panel: the configured panel, when it was made already.
        **extra: more for the provenance of the result.
    """
    student = parts.student
    return evaluate_panel(
        panel if panel is not None else panel_of(parts),
        source=parts.eval_source,
        engine=parts.engine,
        renderer=parts.renderer,
        context=parts.context,
        settings=parts.eval_settings,
        provenance=parts.provenance(evaluated=fingerprint(student.model, student.tokenizer), **extra),
        seed=parts.config.run.seed,
        on_episode=on_episode,
    )


def evaluate_agent(
    parts: Parts, on_episode: Callable[[Trajectory], None] | None = None, *, panel: Panel | None = None
) -> EvalResult:
    """Evaluates an agent that lives elsewhere over the configured panel: the engine plays, no student is loaded.

    Args:
        parts: environment, context, engine and panel of a resolved configuration.
        on_episode: sees each episode as it ends.
        panel: the configured panel, when it was made already.

    Raises:
        ConfigError: the engine cannot play without a student.
    """
    engine, renderer = lone_agent(parts)
    return evaluate_panel(
        panel if panel is not None else panel_of(parts),
        source=parts.eval_source,
        engine=engine,
        renderer=renderer,
        context=parts.context,
        settings=parts.eval_settings,
        provenance=collect(
            parts.resolved.values, registry=parts.registry, extra={"prompt_hash": parts.context.prompt_hash}
        ),
        seed=parts.config.run.seed,
        on_episode=on_episode,
    )


def lone_agent(parts: Parts) -> tuple[Engine, ChatRenderer]:
    """The configured engine, made without a student, and the renderer that it brings.

    Raises:
        ConfigError: the engine cannot play without a student.
    """
    section = parts.config.engine
    engine: Engine = parts.registry.build("engine", section, "engine", context=parts.context, registry=parts.registry)
    renderer: ChatRenderer | None = getattr(engine, "renderer", None)
    if renderer is None:
        raise ConfigError(
            f"The engine `{section.type}` cannot play without a student.",
            "It brings no renderer, so that somebody's tokenizer is needed.",
            "Leave out --agent and name the model with --student.model.",
        )
    return engine, renderer


def evaluate_environments_expert(
    parts: Parts, on_episode: Callable[[Trajectory], None] | None = None, *, panel: Panel | None = None
) -> EvalResult:
    """Evaluates the expert of the configured environment over the configured panel. No model is loaded.

    Args:
        parts: an environment, a panel and a step limit are enough.
        on_episode: sees each episode as it ends.
        panel: the configured panel, when it was made already.

    Raises:
        EnvironmentFailure: the environment has no expert.
    """
    return evaluate_expert(
        panel if panel is not None else panel_of(parts),
        source=parts.eval_source,
        settings=parts.eval_settings,
        provenance=collect(parts.resolved.values, registry=parts.registry),
        seed=parts.config.run.seed,
        on_episode=on_episode,
    )


def evaluate(
    student: Run | LoadedModel | str,
    panel: str,
    *,
    recipes: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    limit: int | None = None,
    registry: PluginRegistry | None = None,
) -> EvalResult:
    """Evaluates a student: it plays every task of a panel alone, from the start, at full depth.

    Args:
        student: a run (its student as it is now, asked as in its recipe), a loaded model, or a model's name,
            directory or hub id.
        panel: "<environment>/<panel>", or a panel file.
        recipes: recipes that say how the model is asked. Without any, a run and a directory that a run wrote
            bring their own, and other models get the defaults.
        overrides: values by dotted path, e.g. {"eval.temperature": 0.4}.
        limit: play a fixed subset of that many tasks.
        registry: the loaded plugins; None loads the installed ones.

    Returns:
        The result; `result.success` is an estimate with its interval.

    Raises:
        AgentDistillError: the configuration, the data or the model cannot be used.
    """
    run = None if isinstance(student, LoadedModel | str) else student
    registry = registry or (run.registry if run is not None else PluginRegistry.load())
    given: dict[str, Any] = {"eval.panel": panel, **(overrides or {})}
    if limit is not None:
        given["eval.limit"] = limit
    if isinstance(student, str):
        given["student.model"] = student
    elif isinstance(student, LoadedModel):
        given.setdefault("student.model", student.name)
    layers: Sequence[str | Mapping[str, Any]] = recipes
    if run is not None and not recipes:
        layers = [run.resolved.values]
    parts = Parts(resolve_evaluation(layers, given, registry), registry)
    if run is not None:
        parts.student = run.student
    elif isinstance(student, LoadedModel):
        parts.student = student
    try:
        return evaluate_parts(parts)
    finally:
        parts.close()
