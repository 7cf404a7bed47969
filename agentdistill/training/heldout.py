"""Tells a context policy that knows other episodes which tasks are evaluated, before it shows anything to anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentdistill.evaluate.panel import resolve_panel

if TYPE_CHECKING:
    from agentdistill.config.schema import EvalSection
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.plugins.registry import PluginRegistry


def hold_out_panel(
    context: Any, section: EvalSection, source: Callable[[], EnvironmentSource], registry: PluginRegistry
) -> None:
    """Holds the configured panel's tasks out of what a policy shows, in training as in evaluation.

    Evaluations tell their policy themselves; but a run must not train on demonstrations of tasks that it is evaluated
    on later either, nor do so differently when it is resumed.

    Args:
        context: the context policy; one without `hold_out` knows no other episodes.
        section: which panel the run is evaluated on; without any there is nothing to hold out.
        source: makes the environment as evaluation sees it.
        registry: where benchmarks are looked up.

    Raises:
        DataError: the panel's data is missing, or nothing would be left to show.
    """
    if section.panel is None or not hasattr(context, "hold_out"):
        return
    context.hold_out(resolve_panel(section.panel, source=source(), registry=registry, limit=section.limit).tasks)
