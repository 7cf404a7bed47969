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

from agentdistill.errors import DataError, MissingExtraError, PluginError
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.registration import Registration
from agentdistill.plugins.registry import PluginRegistry

if TYPE_CHECKING:
    from agentdistill.plugins.options import PluginConfig
    from agentdistill.records import Task, Trajectory


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
    checks: dict[str, Callable[[Any, Any], str]] = {
        "step-weight": _step_weight,
        "token-weight": _token_weight,
        "reward": _reward,
        "curriculum": _curriculum,
        "context": _context,
        "environment": _environment,
        "loss": _loss,
        "tracker": _tracker,
        "command": _command,
    }
    if entry.kind in checks:
        return checks[entry.kind](entry.load(), config)
    return signature(entry)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PluginError(message)


def _weights(function: Callable[[Any, Any], Any], statistics: Any, config: Any, shape: tuple[int, ...]) -> str:
    """A weight is finite, of the right shape and dtype, the same when asked again, and leaves its input alone."""
    import copy

    import torch

    before = copy.deepcopy(statistics)
    weights = function(statistics, config)
    _require(isinstance(weights, torch.Tensor), f"it returned a {type(weights).__name__}, not a tensor")
    _require(tuple(weights.shape) == shape, f"it returned shape {list(weights.shape)} for input of {list(shape)}")
    _require(weights.dtype == torch.float32, f"it returned {weights.dtype}, not float32")
    mask = getattr(statistics, "mask", torch.ones(shape, dtype=torch.bool))
    _require(bool(torch.isfinite(weights[mask]).all()), "it returned a weight that is not finite")
    _require(bool((weights[mask] >= 0).all()), "it returned a negative weight")
    _require(torch.equal(function(statistics, config)[mask], weights[mask]), "it gives other weights when asked again")
    for name in statistics.__dataclass_fields__:
        now, then = getattr(statistics, name), getattr(before, name)
        _require(torch.allclose(now, then, rtol=0, atol=0, equal_nan=True), f"it changed its input `{name}`")
    return f"finite float32 {list(shape)}, pure"


def _step_weight(function: Callable[[Any, Any], Any], config: Any) -> str:
    from agentdistill.learner.statistics import step_statistics

    tokens = toy_tokens()
    return _weights(function, step_statistics(tokens, 3), config, (3, 4))


def _token_weight(function: Callable[[Any, Any], Any], config: Any) -> str:
    tokens = toy_tokens()
    return _weights(function, tokens, config, (len(tokens),))


def toy_tokens() -> Any:
    """`TokenStatistics` of three trajectories with four, two and one turns of two tokens."""
    import torch

    from agentdistill.learner.statistics import TokenStatistics, turn_columns

    turns = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 5), (2, 0)]
    owner = torch.tensor([trajectory for trajectory, _ in turns for _ in range(2)])
    turn = torch.tensor([turn for _, turn in turns for _ in range(2)])
    count = len(owner)
    ramp = torch.arange(count, dtype=torch.float32)
    return TokenStatistics(
        trajectory=owner,
        turn=turn,
        column=turn_columns(owner, turn),
        position=torch.arange(count) % 2,
        token_id=torch.arange(count) + 5,
        old_logprob=-0.1 * (ramp % 5) - 0.05,
        teacher_logprob=-0.3 * (ramp % 3) - 0.01,
        teacher_entropy=torch.full((count,), float("nan")),
    )


def toy_task(index: int = 0) -> Task:
    """A task of no environment."""
    from agentdistill.records import Task

    return Task(env="toy", split="train", key=f"task-{index}", type="toy", seed=index)


def _toy_trajectory() -> Trajectory:
    from agentdistill.records import EpisodePlan, Step, StopReason, Trajectory

    steps = [Step(index, f"observation {index}", "look", "look", reward=float(index == 2)) for index in range(3)]
    return Trajectory(toy_task(), EpisodePlan(), steps, [], StopReason.SUCCESS, score=1.0, success=True)


def _reward(function: Callable[[Any, Any], Any], config: Any) -> str:
    import numpy as np

    trajectory = _toy_trajectory()
    rewards = np.asarray(function(trajectory, config))
    _require(rewards.shape == (3,), f"it returned shape {list(rewards.shape)} for an episode of 3 steps")
    _require(rewards.dtype == np.float32, f"it returned {rewards.dtype}, not float32")
    _require(bool(np.isfinite(rewards).all()), "it returned a reward that is not finite")
    return "finite float32 [steps]"


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
    _require(not unknown, f"it needs {unknown}; what can be given: {', '.join(sorted(NEEDS))}")
    for plan in plans(first, range(10)):
        _require(isinstance(plan, EpisodePlan), f"it planned a {type(plan).__name__}, not an EpisodePlan")
        _require(plan.horizon is None or plan.horizon >= 1, f"it planned a horizon of {plan.horizon}")
        _require(len(plan.prefix) < 6, "it planned a prefix that leaves no turn")
    first.observe({"rollout/success": 0.5, "loss/distill": 0.1})
    state = json.loads(json.dumps(first.state_dict()))
    second = target(config)
    second.load_state_dict(state)
    _require(plans(second, range(5, 10)) == plans(first, range(5, 10)), "a restored copy plans other episodes")
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
        _require(task in text, f"the prompt of turn {turn} does not contain the task")
        _require(situation.observation in text, f"the prompt of turn {turn} does not contain the observation")
        response = policy.render_action(action)
        steps.append(Step(turn, situation.observation, response, action))
    parsed = policy.parse(policy.render_action(action))
    _require(parsed.action == action and parsed.well_formed, f"it reads its own response as {parsed}")
    _require(not policy.parse("").well_formed, "it reads an action in an empty response")
    _require(policy.prompt_hash == target(config).prompt_hash, "its prompt hash changes from one instance to the next")
    return "task and observation in every prompt; reads what it renders"


def _environment(target: Callable[[Any], Any], config: Any) -> str:
    try:
        source = target(config)
    except (DataError, MissingExtraError) as error:
        return f"made no source here ({error.what}) `agentdistill envs check` plays it"
    for name in ("tasks", "make", "provenance"):
        _require(callable(getattr(source, name, None)), f"its source has no method `{name}`")
    _require(isinstance(source.name, str), "its source has no name")
    json.dumps(dict(source.provenance()))
    return "made a source; `agentdistill envs check` plays it"


def _loss(target: Callable[[Any], Any], config: Any) -> str:
    from agentdistill.learner.losses import Loss
    from agentdistill.records import ScoreRequest

    loss = target(config)
    _require(isinstance(loss, Loss), "it is no agentdistill.learner.losses.Loss: it has no `request` and `objective`")
    _require(isinstance(loss.request, ScoreRequest), "its `request` is no ScoreRequest")
    _require(hasattr(loss.objective, "chunk_loss"), "its `objective` has no `chunk_loss`")
    return f"asks for {loss.request}"


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

    _require(isinstance(target, click.Command), "its target is not a click command")
    return "is a click command"


def _recipe(registry: PluginRegistry, entry: Registration) -> str:
    from agentdistill.config.load import load_config

    resolved = load_config([str(entry.path())], registry=registry)
    return f"resolves (configuration {resolved.hash})"


def _model(entry: Registration) -> str:
    found = {path.name for path in entry.path().iterdir()}
    _require("config.json" in found, "its directory has no config.json")
    _require("tokenizer_config.json" in found, "its directory has no tokenizer_config.json")
    _require(any(name.endswith(".safetensors") for name in found), "its directory has no safetensors weights")
    return "has weights, config and tokenizer"


def signature(entry: Registration) -> str:
    """Looks at the arguments of what needs models or data (engines, teachers, advantages, benchmarks).

    Raises:
        PluginError: it does not take what the core passes.
    """
    parameters = list(inspect.signature(entry.load()).parameters.values())
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if entry.kind == "benchmark":  # called as a function, with its source and its config
        return f"takes ({', '.join(parameter.name for parameter in parameters)})"
    for parameter in parameters[1:]:
        offered = parameter.name in KINDS[entry.kind].keywords or parameter.kind in variadic
        _require(
            offered or parameter.default is not parameter.empty,
            f"it asks for `{parameter.name}`, which it is not given",
        )
    return f"takes ({', '.join(parameter.name for parameter in parameters)})"
