"""`agentdistill cache`: look after kept teacher scores."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import click

from agentdistill.cli.columns import columns
from agentdistill.cli.recipe import RecipeCommand, load_registry, plugin_option, resolve

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_PERIODS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

folder_option = click.option(
    "--folder", metavar="DIR", help="The cache folder (default: scores below $AGENTDISTILL_CACHE)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")


class _Size(click.ParamType):
    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes of "500MB", "2 GB" or "1e6"."""
        match = re.fullmatch(r"\s*([\d.]+)\s*([kKMGT]?B)?\s*", str(value))
        if match is None:
            self.fail(f"{value!r} is no size; write 500MB or 2GB", param, ctx)
        return int(float(match[1]) * _UNITS[(match[2] or "B").upper()])


class _Period(click.ParamType):
    name = "period"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of "30d", "12h", "45m" or "2w"."""
        match = re.fullmatch(r"\s*([\d.]+)\s*([mhdw])\s*", str(value))
        if match is None:
            self.fail(f"{value!r} is no period; write 30d, 12h or 45m", param, ctx)
        return float(match[1]) * _PERIODS[match[2]]


def shown_size(size: int) -> str:
    """Bytes as people read them."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f} {unit}"
    return f"{size} B"


@click.group()
def cache() -> None:
    """Look after kept teacher scores (`[teacher] cache = "on"`)."""


@cache.command("fill", cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
def fill(recipe: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Let the teacher of a RECIPE score its stored rollouts (--rollout.source), for training without it.

    What is kept already is not asked for again, so that a fill that was stopped goes on.
    """
    registry = load_registry(plugins)
    resolved = resolve(recipe, plugins, registry, {"teacher.cache": "on"})
    resolved.require("env", "student", "teacher", "loss")
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.errors import ConfigError
    from agentdistill.teachers.optional import teacher_metrics
    from agentdistill.training.assembly import Parts
    from agentdistill.training.offline import score_rollouts

    source = resolved.config.rollout.source
    if source is None:
        raise ConfigError("Nothing says which rollouts to score.", "", "Give --rollout.source DIR.")
    quiet_loading()
    parts = Parts(resolved, registry)
    try:
        for done, total in score_rollouts(parts, Path(source)):
            if done == total or done * 10 // total != (done - 1) * 10 // total:
                click.echo(f"scored   {done:,} of {total:,} episodes", err=True)
        found = teacher_metrics(parts.teacher)
    finally:
        parts.close()
    kept, asked = (int(found[f"teacher/cache_{name}"]) for name in ("hits", "misses"))
    lost = int(found["teacher/cache_unwritten"])
    click.echo(
        f"{asked - lost:,} episodes scored, {kept:,} were kept before"
        + (f"; {lost:,} could not be kept" if lost else "")
        + f": train with --teacher.cache only --rollout.source {source}"
    )
    if lost:
        sys.exit(1)


@cache.command("stats")
@folder_option
@json_option
def stats(folder: str | None, as_json: bool) -> None:
    """Say whose scores are kept, how many, and how much room they take."""
    from agentdistill.scorecache.setup import scores_folder
    from agentdistill.scorecache.upkeep import stats as measure

    home = scores_folder(folder)
    found = measure(home)
    if as_json:
        teachers = [
            {
                "folder": kept.home.name,
                "fingerprint": kept.card.fingerprint if kept.card else None,
                "type": kept.card.type if kept.card else None,
                "name": kept.card.name if kept.card else None,
                "packs": kept.packs,
                "episodes": kept.episodes,
                "tokens": kept.tokens,
                "bytes": kept.size,
                "used": kept.used,
                "unreadable": kept.unreadable,
            }
            for kept in found
        ]
        total = sum(kept.size for kept in found)
        click.echo(json.dumps({"folder": str(home), "bytes": total, "teachers": teachers}, indent=2))
        return
    if not found:
        click.echo(f"No scores are kept in {home}.")
        return
    rows = [
        (
            kept.home.name,
            f"{kept.episodes:,}",
            f"{kept.tokens:,}",
            str(kept.packs),
            shown_size(kept.size),
            time.strftime("%Y-%m-%d", time.localtime(kept.used)),
            (str(kept.card) if kept.card else "unknown")
            + (f"; {kept.unreadable} damaged packs, see `agentdistill cache verify`" if kept.unreadable else ""),
        )
        for kept in found
    ]
    click.echo(columns(("FOLDER", "EPISODES", "TOKENS", "PACKS", "SIZE", "USED", "TEACHER"), rows))
    click.echo(f"{shown_size(sum(kept.size for kept in found))} in {home}")


@cache.command("prune")
@folder_option
@click.option("--unused", type=_Period(), metavar="TIME", help="Remove what nobody needed for so long, e.g. 30d.")
@click.option(
    "--max-size", type=_Size(), metavar="SIZE", help="Then remove the longest unused until it fits, e.g. 5GB."
)
@click.option("--teacher", metavar="FOLDER", help="Of this teacher only (a folder that `stats` names).")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
def prune(
    folder: str | None, unused: float | None, max_size: int | None, teacher: str | None, dry_run: bool, as_json: bool
) -> None:
    """Make room. Without a limit, --teacher removes all of that teacher's scores."""
    from agentdistill.errors import ConfigError
    from agentdistill.scorecache.setup import scores_folder
    from agentdistill.scorecache.upkeep import prune as remove

    if unused is None and max_size is None and teacher is None:
        raise ConfigError("Nothing says what may go.", "", "Give --unused 30d, --max-size 5GB or --teacher FOLDER.")
    home = scores_folder(folder)
    one = None
    if teacher is not None:
        one = home / teacher
        if not one.is_dir():
            raise ConfigError(
                f"There is no folder {teacher!r} in {home}.", "", "See `agentdistill cache stats` for their names."
            )
    pruned = remove(home, unused_seconds=unused, max_bytes=max_size, home=one, dry_run=dry_run)
    if as_json:
        names = [f"{pack.parent.name}/{pack.name}" for pack in pruned.packs]
        click.echo(
            json.dumps({"removed": names, "bytes": pruned.size, "left": pruned.left, "dry_run": dry_run}, indent=2)
        )
        return
    did = "would remove" if dry_run else "removed"
    click.echo(f"{did} {len(pruned.packs)} packs, {shown_size(pruned.size)}; {shown_size(pruned.left)} stay")


@cache.command("verify")
@folder_option
@click.option("--delete", is_flag=True, help="Remove damaged packs; their scores are asked for again.")
@json_option
def verify(folder: str | None, delete: bool, as_json: bool) -> None:
    """Read everything and name what is damaged; the exit code is 1 when something is (and stays)."""
    from agentdistill.scorecache.setup import scores_folder
    from agentdistill.scorecache.upkeep import verify as check

    home = scores_folder(folder)
    checked = check(home, delete=delete)
    damaged = [(f"{pack.parent.name}/{pack.name}", why) for pack, why in checked.damaged]
    if as_json:
        found = {
            "packs": checked.packs,
            "episodes": checked.episodes,
            "damaged": [{"pack": pack, "why": why} for pack, why in damaged],
            "removed": checked.removed,
        }
        click.echo(json.dumps(found, indent=2))
    else:
        for pack, why in damaged:
            click.echo(f"{click.style('damaged', fg='red')}  {pack}  {why}")
        end = f", {checked.removed} removed" if delete else ""
        click.echo(f"{checked.packs} packs, {checked.episodes:,} whole episodes, {len(damaged)} damaged{end}")
    if len(damaged) > checked.removed:
        sys.exit(1)
