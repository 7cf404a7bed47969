"""`agentdistill collect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentdistill.cli.recipe import RecipeCommand, load_registry, plugin_option, resolve

if TYPE_CHECKING:
    from agentdistill.records import Trajectory
    from agentdistill.rollout.episode import EpisodeRequest
    from agentdistill.training.assembly import Parts

_CHUNK = 64


@click.command(cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
@click.option("--output", required=True, metavar="DIR", help="The trajectory store; a new directory.")
@click.option("--agent", type=click.Choice(["expert", "student"]), default="expert", show_default=True)
@click.option("--episodes", type=click.IntRange(min=1), help="How many (default: one for each task of the split).")
@click.option("--failures/--no-failures", default=False, show_default=True, help="Keep episodes that were not won.")
def collect(
    recipe: tuple[str, ...],
    plugins: tuple[str, ...],
    output: str,
    agent: str,
    episodes: int | None,
    failures: bool,
) -> None:
    """Write expert or model episodes to disk, for `sft` and for curricula that replay them.

    Tasks are those of --env.split, in their order, again and again until there are enough episodes. The
    environment is --env.type NAME or a RECIPE's; the model is --student.model.
    """
    registry = load_registry(plugins)
    resolved = resolve(recipe, plugins, registry)
    resolved.require("env", *(("student",) if agent == "student" else ()))
    from agentdistill.cli.progress import Progress
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.errors import ConfigError
    from agentdistill.store import TrajectoryStore
    from agentdistill.training.assembly import Parts
    from agentdistill.training.lineage import AUTHOR, model_author

    directory = Path(output)
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(
            f"The directory {directory} is not empty.",
            "Episodes of two collections are never mixed.",
            "Choose another.",
        )
    parts = Parts(resolved, registry)
    count = episodes or len(parts.tasks)
    outcomes: Counter[str] = Counter()
    kept = 0
    quiet_loading()
    with Progress() as progress, TrajectoryStore(directory) as store:
        seen = progress.episodes(count)
        for trajectory in _play(parts, agent, count):
            seen(trajectory)
            outcomes[trajectory.stop.value] += 1
            if trajectory.success or failures:
                if agent == "student":
                    trajectory.meta[AUTHOR] = model_author(parts.student)
                store.append(trajectory)
                kept += 1
    stops = ", ".join(f"{name} {number}" for name, number in sorted(outcomes.items()))
    progress.note(f"saved    {kept} of {count} episodes in {directory} ({stops})")
    if not kept:
        raise ConfigError("No episode was kept.", f"How they ended: {stops}.", "Look at one with `agentdistill play`.")


def _requests(parts: Parts, count: int) -> list[EpisodeRequest]:
    from agentdistill.records import EpisodePlan
    from agentdistill.rollout.play import EpisodeRequest
    from agentdistill.training.data import episode_seed

    tasks, seed = parts.tasks, parts.config.run.seed
    rounds = [(index // len(tasks), index % len(tasks)) for index in range(count)]
    return [
        EpisodeRequest(
            task=tasks[slot],
            plan=EpisodePlan(),
            sample=sample,
            seed=episode_seed(seed, 0, slot, sample),
            policy_version=0,
        )
        for sample, slot in rounds
    ]


def _play(parts: Parts, agent: str, count: int) -> Iterator[Trajectory]:
    """Plays in chunks, so that a collection that is stopped keeps what it had."""
    from agentdistill.rollout.play import play
    from agentdistill.rollout.scripted import environment_expert, play_actions

    settings = parts.play_settings(want_expert=agent == "expert")
    requests = _requests(parts, count)
    for start in range(0, count, _CHUNK):
        chunk = requests[start : start + _CHUNK]
        if agent == "expert":
            yield from play_actions(
                chunk, source=parts.source, policy=environment_expert, settings=settings, context=parts.context
            )
        else:
            yield from play(
                chunk,
                source=parts.source,
                engine=parts.engine,
                renderer=parts.renderer,
                context=parts.context,
                settings=settings,
            )
