"""`agentdistill eval`."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import click

from agentdistill.cli.agents import Agent, engine_overrides
from agentdistill.cli.recipe import (
    OVERRIDES,
    RecipeCommand,
    load_registry,
    plugin_option,
    show_resolved,
    split_plugins,
)


@click.command("eval", cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
@click.option(
    "--agent",
    type=Agent(["student", "expert"]),
    default="student",
    show_default=True,
    help="Who plays: the student, the environment's expert, or an OpenAI-compatible chat endpoint by its address.",
)
@click.option("--panel", metavar="ENV/PANEL", help="The panel to play (see `agentdistill envs list`), or a panel file.")
@click.option("--limit", type=click.IntRange(min=1), help="Play a fixed subset of that many tasks.")
@click.option("--output", metavar="DIR", help="Where results.json goes (default: runs/eval-PANEL-HASH).")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and where each value came from.")
def evaluate(
    recipe: tuple[str, ...],
    plugins: tuple[str, ...],
    agent: str,
    panel: str | None,
    limit: int | None,
    output: str | None,
    dry_run: bool,
) -> None:
    """Evaluate a student, or the environment's expert, over a panel: alone, full depth, success with its interval.

    The model is --student.model NAME. A student that a run wrote (runs/NAME/student) is asked as in that run's
    recipe; for other models give RECIPEs, or the defaults hold. With --agent expert the panel is enough; so it is
    with an address, unless that endpoint serves several models (--engine.model) or wants a key (--engine.key_variable).
    """
    from agentdistill.training.evaluation import resolve_evaluation

    expert, student = agent == "expert", agent == "student"
    registry = load_registry(plugins)
    more = {"eval.panel": panel, "eval.limit": limit}
    overrides = {**click.get_current_context().meta[OVERRIDES], **{k: v for k, v in more.items() if v is not None}}
    overrides |= engine_overrides(agent, overrides)
    resolved = resolve_evaluation(recipe, overrides, registry, split_plugins(plugins)[0], needs_student=student)
    if dry_run:
        show_resolved(resolved)
        return
    from agentdistill.atomic import write_text
    from agentdistill.cli.progress import Progress
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.errors import ConfigError
    from agentdistill.evaluate.result import save_result
    from agentdistill.evaluate.table import result_table
    from agentdistill.training.assembly import Parts
    from agentdistill.training.evaluation import (
        evaluate_agent,
        evaluate_environments_expert,
        evaluate_parts,
        panel_of,
    )

    name = re.sub(r"[^\w.-]+", "-", str(resolved.config.eval.panel))
    who = "" if student else "-expert" if expert else "-endpoint"
    directory = Path(output) if output else Path("runs") / f"eval-{name}{who}-{resolved.hash[:8]}"
    if (directory / "results.json").exists():
        raise ConfigError(
            f"There is a result in {directory} already.",
            "An evaluation never overwrites another one's results.",
            "Choose another directory with --output, or delete it.",
        )
    parts = Parts(resolved, registry)
    tasks = panel_of(parts)
    if student:
        quiet_loading()
    with Progress() as progress, closing(parts):
        evaluated = evaluate_parts if student else evaluate_environments_expert if expert else evaluate_agent
        result = evaluated(parts, progress.episodes(len(tasks.tasks)), panel=tasks)
    progress.show(result_table(result))
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "config.toml", resolved.to_toml())
    save_result(result, directory / "results.json")
    progress.note(f"saved    {directory / 'results.json'}")
