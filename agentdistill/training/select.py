"""From stored episodes to those that are worth imitating."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from agentdistill.errors import ConfigError
from agentdistill.models import load_model
from agentdistill.records import Trajectory
from agentdistill.training.candidates import scored_candidates
from agentdistill.training.selection import Candidate, Worth, checked_worths, choose

if TYPE_CHECKING:
    from agentdistill.training.assembly import Parts


def select_episodes(
    parts: Parts,
    judge: Callable[[Sequence[Candidate]], Sequence[Worth]],
    name: str,
    episodes: Sequence[Trajectory],
    models: Mapping[str, str],
    limits: Mapping[str, Any],
    told: Callable[[str], None] = lambda line: None,
) -> tuple[list[Worth], list[int]]:
    """Scores episodes with the models that a selection needs, and chooses.

    Args:
        parts: context policy, device and dtype of the recipe.
        judge: the selection, its options bound.
        name: of the selection, for errors.
        episodes: what to choose from.
        models: model name, directory or hub id by part ("student", "teacher", "distilled").
        limits: arguments of `choose`.
        told: called with a line about each model.

    Returns:
        The worth of each episode, and the places of those that are kept, in their order.

    Raises:
        ConfigError: the selection needs a model that is not given.
        PluginError: the selection answered in another shape.
    """
    wanted = frozenset(getattr(judge, "needs", ()))
    missing = sorted(wanted - models.keys())
    if missing:
        raise ConfigError(
            f"The selection `{name}` needs the model of the {' and the '.join(missing)}.",
            "It compares what models think of the same text.",
            f"Add {' and '.join(f'--{part} MODEL' for part in missing)}.",
        )
    optional = frozenset(getattr(judge, "uses", ()))
    section = parts.config.student
    device, dtype = (section.device, section.dtype) if section else ("cpu", "float32")
    loads = {
        part: partial(load_model, spec, registry=parts.registry, device=device, dtype=dtype)
        for part, spec in models.items()
        if part in wanted | optional
    }
    candidates = scored_candidates(episodes, loads, parts.context, told=told) if loads else bare(episodes)
    worths = checked_worths(judge(candidates), len(episodes), name)
    tasks = [f"{t.task.env}/{t.task.split}/{t.task.key}" for t in episodes]
    return worths, choose([worth.score for worth in worths], tasks, **limits)


def bare(episodes: Sequence[Trajectory]) -> list[Candidate]:
    """Candidates for a selection that asks no model."""
    return [Candidate(trajectory, ()) for trajectory in episodes]
