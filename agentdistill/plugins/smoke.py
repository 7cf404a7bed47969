"""Toy input for each kind of plugin: does the answer have the shape that its contract says?

Checks that need a model or real data only look at signatures; `agentdistill doctor` and `agentdistill envs check`
go further.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import DataError, MissingExtraError
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.registration import Registration
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.plugins.require import require

if TYPE_CHECKING:
    from agentdistill.plugins.options import PluginConfig
    from agentdistill.records import Task


def smoke(registry: PluginRegistry, entry: Registration, config: PluginConfig | None) -> str:
    """Tries one registered thing.

    Args:
        registry: where it is registered.
        entry: the thing.
        config: its options at their defaults; None for files.

    Returns:
        What was checked, in a few words.

    Raises:
        PluginError: it does not keep its contract.
    """
    if entry.kind == "recipe":
        return _recipe(registry, entry)
    if entry.kind == "model":
        return _model(entry)
    from agentdistill.plugins import smoke_methods as methods

    checks: dict[str, Callable[[Any, Any], str]] = {
        "step-weight": methods.step_weight,
        "token-weight": methods.token_weight,
        "reward": methods.reward,
        "advantage": methods.advantage,
        "filter": methods.filter_,
        "fusion": methods.fusion,
        "surrogate": methods.surrogate,
        "curriculum": _curriculum,
        "context": _context,
        "environment": _environment,
        "loss": methods.loss,
        "tracker": _tracker,
        "view": methods.view,
        "command": _command,
    }
    if entry.kind in checks:
        return checks[entry.kind](entry.load(), config)
    return signature(entry)


def toy_task(index: int = 0) -> Task:
    """A task of no environment."""
    from agentdistill.records import Task

    return Task(env="toy", split="train", key=f"task-{index}", type="toy", seed=index)


def _curriculum(target: Callable[[Any], Any], config: Any) -> str:
    from agentdistill.records import EpisodePlan
    from agentdistill.training.curriculum import NEEDS, Progress

    def demonstration(task: Task) -> tuple[str, ...] | None:
        return None if task.seed % 2 else ("look", "go", "take", "put")

    def plans(curriculum: Any, steps: range) -> list[EpisodePlan]:
        tasks = [toy_task(index) for index in range(4)]
        return [curriculum.plan(task, Progress(step, 10, 6, demonstration)) for step in steps for task in tasks]

    first = target(config)
    unknown = sorted(set(first.needs) - NEEDS)
    require(not unknown, f"it needs {unknown}; what can be given: {', '.join(sorted(NEEDS))}")
    for plan in plans(first, range(10)):
        require(isinstance(plan, EpisodePlan), f"it planned a {type(plan).__name__}, not an EpisodePlan")
        require(plan.horizon is None or plan.horizon >= 1, f"it planned a horizon of {plan.horizon}")
        require(len(plan.prefix) < 6, "it planned a prefix that leaves no turn")
    first.observe({"rollout/success": 0.5, "loss/distill": 0.1})
    state = json.loads(json.dumps(first.state_dict()))
    second = target(config)
    second.load_state_dict(state)
    require(plans(second, range(5, 10)) == plans(first, range(5, 10)), "a restored copy plans other episodes")
    return "plans 10 steps, with and without demonstrations; its state survives JSON"


def _context(target: Callable[[Any], Any], config: Any) -> str:
    from agentdistill.conversation.base import Situation
    from agentdistill.records import Step

    policy = target(config)
    task, action = "put a toy in the box", "take toy 1 from shelf 2"
    steps: list[Step] = []
    for turn in range(6):
        situation = Situation(task, f"You see shelf {turn}.", ["look", action], list(steps))
        text = "\n".join(message.content for message in policy.messages(situation))
        require(task in text, f"the prompt of turn {turn} does not contain the task")
        require(situation.observation in text, f"the prompt of turn {turn} does not contain the observation")
        response = policy.render_action(action)
        steps.append(Step(turn, situation.observation, response, action))
    parsed = policy.parse(policy.render_action(action))
    require(parsed.action == action and parsed.well_formed, f"it reads its own response as {parsed}")
    require(not policy.parse("").well_formed, "it reads an action in an empty response")
    require(policy.prompt_hash == target(config).prompt_hash, "its prompt hash changes from one instance to the next")
    return "task and observation in every prompt; reads what it renders"


def _environment(target: Callable[[Any], Any], config: Any) -> str:
    try:
        source = target(config)
    except (DataError, MissingExtraError) as error:
        return f"made no source here ({error.what}) `agentdistill envs check` plays it"
    for name in ("tasks", "make", "provenance"):
        require(callable(getattr(source, name, None)), f"its source has no method `{name}`")
    require(isinstance(source.name, str), "its source has no name")
    json.dumps(dict(source.provenance()))
    return "made a source; `agentdistill envs check` plays it"


def _tracker(target: Callable[..., Any], config: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        tracker = target(config, directory=Path(folder))
        tracker.log(1, {"loss": 0.5, "curve": [1.0, 2.0]})
        tracker.log(2, {"loss": 0.25})
        tracker.truncate(1)
        tracker.close()
    return "logs, truncates and closes"


def _command(target: Any, config: Any) -> str:
    import click

    require(isinstance(target, click.Command), "its target is not a click command")
    return "is a click command"


def _recipe(registry: PluginRegistry, entry: Registration) -> str:
    from agentdistill.config.load import load_config

    resolved = load_config([str(entry.path())], registry=registry)
    return f"resolves (configuration {resolved.hash})"


def _model(entry: Registration) -> str:
    found = {path.name for path in entry.path().iterdir()}
    require("config.json" in found, "its directory has no config.json")
    require("tokenizer_config.json" in found, "its directory has no tokenizer_config.json")
    require(any(name.endswith(".safetensors") for name in found), "its directory has no safetensors weights")
    return "has weights, config and tokenizer"


def signature(entry: Registration) -> str:
    """Looks at the arguments of what needs models or data (engines, teachers, benchmarks).

    Raises:
        PluginError: it does not take what the core passes.
    """
    parameters = list(inspect.signature(entry.load()).parameters.values())
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if entry.kind == "benchmark":  # called as a function, with its source and its config
        return f"takes ({', '.join(parameter.name for parameter in parameters)})"
    for parameter in parameters[1:]:
        if parameter.name == "config":  # functions get it last
            continue
        offered = parameter.name in KINDS[entry.kind].keywords or parameter.kind in variadic
        require(
            offered or parameter.default is not parameter.empty,
            f"it asks for `{parameter.name}`, which it is not given",
        )
    return f"takes ({', '.join(parameter.name for parameter in parameters)})"
