"""`agentdistill play`: a person, the environment's expert, or an endpoint, in an environment."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from agentdistill.cli.agents import Agent, engine_overrides, is_address
from agentdistill.cli.recipe import OVERRIDES, RecipeCommand, load_registry, plugin_option, resolve
from agentdistill.errors import ConfigError, EnvironmentFailure

if TYPE_CHECKING:
    from agentdistill.config.resolved import ResolvedConfig
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.plugins.registry import PluginRegistry
    from agentdistill.records import Task

HELP = "?  what can be done now    :hint  the expert's advice    :goal  the task    :quit  leave"
"""What a person may type besides commands of the environment."""


@click.command(cls=RecipeCommand)
@click.argument("environment")
@plugin_option
@click.option(
    "--agent",
    type=Agent(["person", "expert"]),
    default="person",
    show_default=True,
    help="Who plays: you, the environment's expert, or an OpenAI-compatible chat endpoint by its address.",
)
@click.option("--task", "key", metavar="KEY", help="Play this task (default: one drawn with --seed).")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the task.")
def play(environment: str, plugins: tuple[str, ...], agent: str, key: str | None, seed: int) -> None:
    """Play one episode of ENVIRONMENT in the terminal.

    ENVIRONMENT is a name from `agentdistill envs list`; its options are --env.KEY VALUE, for example --env.split.
    Commands are read from the terminal or from a pipe, one a line. An endpoint is asked as --env.context.KEY and
    --eval.temperature say, and is told more about with --engine.KEY, for example --engine.model.
    """
    registry = load_registry(plugins)
    given = click.get_current_context().meta[OVERRIDES]
    resolved = resolve((), plugins, registry, {"env.type": environment, **engine_overrides(agent, given)})
    section = resolved.config.env
    assert section is not None
    source: EnvironmentSource = registry.build("environment", section, "env")
    task = choose_task(source, section.split, key, seed)
    info: Mapping[str, Any]
    env = source.make()
    try:
        if is_address(agent):
            info, turns = _endpoint(env, task, resolved, registry, seed)
        else:
            observation, info = env.reset(seed=task.seed, options={"task": task, "expert": agent == "expert"})
            _begin(task, observation)
            if agent == "expert":
                info, turns = _expert(env, info, section.max_steps)
            else:
                info, turns = _person(env, task, info, observation)
    finally:
        env.close()
    won, score = bool(info.get("won")), float(info.get("score", 0.0))
    part = f", score {score:g}" if score and not won else ""
    click.secho(f"{'won' if won else 'not won'} after {turns} turns{part}", bold=True, fg="green" if won else "yellow")


def _begin(task: Task, observation: str) -> None:
    click.secho(f"{task.env}/{task.split} {task.key}" + (f" ({task.type})" if task.type else ""), dim=True)
    click.echo(observation)


def choose_task(source: EnvironmentSource, split: str, key: str | None, seed: int) -> Task:
    """The task with a key, or one drawn with a seed.

    Raises:
        ConfigError: the split has no such task.
    """
    tasks = source.tasks(split)
    if key is None:
        if not tasks:
            raise ConfigError(f"The split `{split}` of `{source.name}` has no tasks.", do="Choose another --env.split.")
        return tasks[random.Random(f"play/{seed}").randrange(len(tasks))]
    found = next((task for task in tasks if task.key == key), None)
    if found is None:
        from agentdistill.plugins.suggest import hint

        near = hint(key, [task.key for task in tasks[:5000]])
        raise ConfigError(f"The split `{split}` of `{source.name}` has no task `{key}`.{near}")
    return found


def _expert(env: Any, info: dict[str, Any], max_steps: int) -> tuple[dict[str, Any], int]:
    for turn in range(max_steps):
        action = info.get("expert_action")
        if action is None:
            raise EnvironmentFailure("The expert has no action here.", "The environment has none, or it is stuck.")
        click.secho(f"\n> {action}", fg="cyan")
        observation, _, terminated, truncated, info = env.step(action)
        click.echo(observation)
        if terminated or truncated:
            return info, turn + 1
    return info, max_steps


def _endpoint(
    env: Any, task: Task, resolved: ResolvedConfig, registry: PluginRegistry, seed: int
) -> tuple[Mapping[str, Any], int]:
    """An endpoint plays; what it says besides its action is shown too."""
    from agentdistill.engines.base import GenerationRequest, Sampling
    from agentdistill.rollout.episode import Episode, EpisodeRequest, turn_seed
    from agentdistill.training.assembly import Parts
    from agentdistill.training.evaluation import lone_agent

    parts = Parts(resolved, registry)
    engine, renderer = lone_agent(parts)
    settings = parts.eval_settings
    sampling = Sampling(settings.max_new_tokens, renderer.stop_ids, settings.temperature, settings.top_p)
    episode = Episode(EpisodeRequest(task, seed=seed), env, parts.context, settings)
    episode.begin()
    _begin(task, episode.situation.observation)
    while episode.stop is None:
        turn = turn_seed(seed, len(episode.steps))
        (answer,) = engine.generate([GenerationRequest("play", (), turn, situation=episode.situation)], sampling)
        if answer.finish == "context":
            raise ConfigError("The episode no longer fits the endpoint's context.", do="Choose a windowed env.context.")
        text = answer.text if answer.text is not None else renderer.decode(answer.token_ids)
        parsed = parts.context.parse(text)
        if text.strip() != parsed.action:
            click.secho(f"\n{text.strip()}", dim=True)
        click.secho(f"\n> {parsed.action or '(no action: the whole answer is sent)'}", fg="cyan")
        episode.act(text, parsed.action, well_formed=parsed.well_formed)
        click.echo(episode.situation.observation)
    if error := episode.trajectory([]).meta.get("error"):
        raise EnvironmentFailure("The environment died.", str(error))
    return episode.info, len(episode.steps)


def _person(env: Any, task: Task, info: dict[str, Any], shown: str) -> tuple[dict[str, Any], int]:
    click.secho(HELP, dim=True)
    actions: list[str] = []
    for line in _lines():
        if line in (":quit", ":q"):
            break
        if line in ("?", ":actions"):
            click.echo("\n".join(info.get("admissible_actions") or ["(the environment does not say)"]))
        elif line in (":goal", ":task"):
            click.echo(info["task"])
        elif line == ":hint":
            click.echo(_advice(env, task, actions) or "(the expert has no advice)")
        elif line.startswith(":"):
            click.secho(HELP, dim=True)
        elif line:
            actions.append(line)
            observation, _, terminated, truncated, info = env.step(line)
            if observation == shown and not info.get("valid", True):
                click.secho("(not understood, and nothing changed: ? shows what can be done)", dim=True)
            else:
                click.echo(observation)
            shown = observation
            if terminated or truncated:
                return info, len(actions)
    return info, len(actions)


def _lines() -> Iterable[str]:
    """Lines of input, with a prompt; from a pipe they are echoed, so that the transcript reads the same."""
    piped = not sys.stdin.isatty()
    while True:
        click.secho("\n> ", fg="cyan", nl=False)
        line = sys.stdin.readline()
        if not line:
            click.echo()
            return
        if piped:
            click.echo(line.strip())
        yield line.strip()


def _advice(env: Any, task: Task, actions: Sequence[str]) -> str | None:
    """The expert's action in the current state, found by playing the same actions again with the expert watching.

    The expert is often the slow part of an environment, so a person's episode runs without it until they ask.
    """
    _, info = env.reset(seed=task.seed, options={"task": task, "expert": True})
    for action in actions:
        _, _, _, _, info = env.step(action)
    advice: str | None = info.get("expert_action")
    return advice
