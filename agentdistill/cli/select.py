"""`agentdistill select`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentdistill.cli.recipe import RecipeCommand, load_registry, plugin_option, resolve

if TYPE_CHECKING:
    from agentdistill.records import Trajectory
    from agentdistill.training.selection import Worth


@click.command(cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
@click.option("--data", required=True, metavar="DIR", help="A trajectory store that `agentdistill collect` wrote.")
@click.option("--output", required=True, metavar="DIR", help="The store of what is selected; a new directory.")
@click.option("--by", required=True, metavar="NAME", help="The selection; see `plugins list --kind selection`.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the selection. Repeatable.")
@click.option("--student", metavar="MODEL", help="Who will be trained, as it is now (default: --student.model).")
@click.option("--teacher", metavar="MODEL", help="Who wrote the episodes, or knows better.")
@click.option("--distilled", metavar="MODEL", help="The student after training, for selections that compare all three.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Keep this share of the episodes.")
@click.option("--count", type=click.IntRange(min=1), help="Keep at most so many.")
@click.option("--per-task", type=click.IntRange(min=1), help="Keep at most so many of each task.")
@click.option("--least", type=float, help="Keep none with a lower score.")
@click.option("--failures/--no-failures", default=False, show_default=True, help="Consider episodes that were not won.")
def select(
    recipe: tuple[str, ...],
    plugins: tuple[str, ...],
    data: str,
    output: str,
    by: str,
    settings: tuple[str, ...],
    student: str | None,
    teacher: str | None,
    distilled: str | None,
    failures: bool,
    **limits: Any,
) -> None:
    """Choose episodes that are worth imitating, by what models think of their text.

    The context policy is that of the RECIPE or of --env.type; every model reads the episodes through it, with its own
    tokenizer. Episodes are copied as they are; selection.json beside them holds every score.
    """
    registry = load_registry(plugins)
    resolved = resolve(recipe, plugins, registry, {"student.model": student})
    resolved.require("env", "student")
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.errors import ConfigError, DataError
    from agentdistill.store import TrajectoryStore
    from agentdistill.training.assembly import Parts
    from agentdistill.training.select import select_episodes

    target = Path(output)
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"The directory {target} is not empty.", "Selections are never mixed.", "Choose another.")
    quiet_loading()
    # Checked before any model is loaded.
    judge = registry.function("selection", {"type": by, **_options(settings)}, "selection")
    episodes = [t for t in TrajectoryStore(Path(data)).read() if t.success or failures]
    if not episodes:
        raise DataError(
            f"There is nothing to select from in {data}.",
            "It holds no episode that was won." if not failures else "It holds no episode.",
            "Collect some with `agentdistill collect`.",
        )
    models = {"student": resolved.config.student.model if resolved.config.student else None}
    models |= {"teacher": teacher, "distilled": distilled}
    named = {part: spec for part, spec in models.items() if spec is not None}
    parts = Parts(resolved, registry)
    worths, kept = select_episodes(parts, judge, by, episodes, named, limits, told=click.echo)
    if not kept:
        best = max(worth.score for worth in worths)
        raise ConfigError(
            "No episode was selected.",
            f"The best of {len(worths):,} has the score {best:.4g}.",
            "Lower --least, or loosen the options of the selection.",
        )
    _write(target, data, by, settings, named, episodes, worths, kept)
    click.echo(_summary(target, worths, kept))


def _options(settings: tuple[str, ...]) -> dict[str, Any]:
    """Options of the selection: values as TOML has them, anything else as text."""
    import tomllib

    from agentdistill.errors import ConfigError

    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {setting} cannot be read.", "", "Write --set KEY=VALUE, for example beta=0.2.")
        try:
            found[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value
    return found


def _write(
    target: Path,
    data: str,
    by: str,
    settings: tuple[str, ...],
    models: dict[str, str],
    episodes: list[Trajectory],
    worths: list[Worth],
    kept: list[int],
) -> None:
    from agentdistill.atomic import write_json
    from agentdistill.store import TrajectoryStore

    with TrajectoryStore(target) as store:
        for place in kept:
            store.append(episodes[place])
    chosen = set(kept)
    rows = [
        {
            "task": trajectory.task.key,
            "sample": trajectory.sample,
            "kept": place in chosen,
            "score": worth.score if math.isfinite(worth.score) else None,
            **{name: value if math.isfinite(value) else None for name, value in worth.notes.items()},
        }
        for place, (trajectory, worth) in enumerate(zip(episodes, worths, strict=True))
    ]
    record = {"by": by, "options": list(settings), "data": data, "models": models, "episodes": rows}
    write_json(target / "selection.json", record)


def _summary(target: Path, worths: list[Worth], kept: list[int]) -> str:
    def mean(places: list[int], name: str = "") -> float:
        values = [worths[p].notes.get(name, math.nan) if name else worths[p].score for p in places]
        finite = [value for value in values if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else math.nan

    every = list(range(len(worths)))
    names = list(worths[0].notes)
    lines = [f"{'':10}{'all':>10}{'kept':>10}", f"{'episodes':10}{len(every):>10,}{len(kept):>10,}"]
    lines += [f"{name or 'score':10}{mean(every, name):>10.4g}{mean(kept, name):>10.4g}" for name in ("", *names)]
    return "\n".join([*lines, f"saved     {target}"])
