"""Toy batches for what judges and weighs them: weights, losses, rewards, advantages, fusions, surrogates, filters."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from agentdistill.learner.fusion import Fusion, Scales
from agentdistill.learner.losses import Loss, ScheduledLoss, objective_at
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import (
    BRANCHES,
    STATISTICS,
    EpisodeFacts,
    StepStatistics,
    TokenStatistics,
    step_statistics,
    turn_columns,
)
from agentdistill.learner.surrogates import Surrogate
from agentdistill.plugins.require import require
from agentdistill.records import (
    CONTEXT,
    EpisodePlan,
    ScoreRequest,
    Step,
    StopReason,
    Task,
    TeacherScores,
    TokenRow,
    Trajectory,
)
from agentdistill.teachers.views import Privileged
from agentdistill.training.rewarded import RewardedBatch, ScoredBatch

_TURNS = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 5), (2, 0)]


def toy_tokens(needs: frozenset[str] = frozenset()) -> TokenStatistics:
    """Statistics of three trajectories with four, two and one turns of two tokens.

    Args:
        needs: which optional statistics are known; the others are NaN, as in a run that nobody asked for them.
    """
    owner = torch.tensor([trajectory for trajectory, _ in _TURNS for _ in range(2)])
    turn = torch.tensor([turn for _, turn in _TURNS for _ in range(2)])
    count = len(owner)
    ramp = torch.arange(count, dtype=torch.float32)
    unknown = torch.full((count,), torch.nan)

    def known(name: str, values: torch.Tensor) -> torch.Tensor:
        return values if name in needs else unknown

    return TokenStatistics(
        trajectory=owner,
        turn=turn,
        column=turn_columns(owner, turn),
        position=torch.arange(count) % 2,
        token_id=torch.arange(count) + 5,
        old_logprob=-0.1 * (ramp % 5) - 0.05,
        teacher_logprob=-0.3 * (ramp % 3) - 0.01,
        teacher_entropy=known("teacher_entropy", 0.1 * (ramp % 7)),
        teacher_confidence=known("teacher_confidence", 1.0 - 0.1 * (ramp % 4)),
        old_entropy=known("old_entropy", 0.2 * (ramp % 4)),
        overlap=known("overlap", 0.25 * (ramp % 5)),
        reference_logprob=known("reference", -0.2 * (ramp % 4) - 0.02),
        advantage=known("advantage", torch.tensor([1.0, -1.0, 0.0])[owner]),
        role=torch.arange(count) % 2 if "role" in needs else torch.zeros(count, dtype=torch.int64),
        group=torch.tensor([0, 0, 1])[owner],
        success=torch.tensor([True, False, True])[owner],
        reward=known("reward", torch.tensor([1.0, 0.0, 1.0])[owner]),
    )


def toy_steps(needs: frozenset[str] = frozenset()) -> StepStatistics:
    """The same by turn."""
    names = [need.removeprefix("annotation:") for need in sorted(needs) if need.startswith("annotation:")]
    notes: list[dict[int, Mapping[str, float]]] = [{}, {}, {}]
    for place, (trajectory, turn) in enumerate(_TURNS):
        notes[trajectory][turn] = {name: (place % 3) / 2 for name in names}
    facts = EpisodeFacts(
        group=torch.tensor([0, 0, 1]),
        success=torch.tensor([True, False, True]),
        reward=torch.tensor([1.0, 0.0, 1.0]) if "reward" in needs else torch.full((3,), torch.nan),
        valid=[{1: False, 2: False}, {}, {}],
        annotations=notes,
        repeated=[{2}, set(), set()],
    )
    return step_statistics(toy_tokens(needs), 3, facts)


def _needs(target: Any, config: Any) -> frozenset[str]:
    given: Any = getattr(target, "needs", frozenset())
    needs = frozenset(given(config) if callable(given) else given)
    unknown = sorted(need for need in needs - STATISTICS if not need.startswith("annotation:"))
    require(not unknown, f"it needs {unknown}; there are {', '.join(sorted(STATISTICS))}, annotation:NAME")
    return needs


def _weights(function: Callable[..., Any], statistics: Any, config: Any, shape: tuple[int, ...]) -> str:
    """A weight is finite, of the right shape and dtype, the same when asked again, and leaves its input alone."""
    before = copy.deepcopy(statistics)
    extra = {"progress": LearnerProgress(0, 10)} if "progress" in inspect.signature(function).parameters else {}
    given, again = function(statistics, config, **extra), function(statistics, config, **extra)
    branches = given if isinstance(given, Mapping) else {"kd": given}
    others = again if isinstance(again, Mapping) else {"kd": again}
    require(set(branches) <= set(BRANCHES), f"it weighs {sorted(branches)}; the branches are {', '.join(BRANCHES)}")
    mask = getattr(statistics, "mask", torch.ones(shape, dtype=torch.bool))
    for branch, weights in branches.items():
        require(isinstance(weights, torch.Tensor), f"it returned a {type(weights).__name__}, not a tensor")
        require(tuple(weights.shape) == shape, f"it returned shape {list(weights.shape)} for input of {list(shape)}")
        require(weights.dtype == torch.float32, f"it returned {weights.dtype}, not float32")
        require(bool(torch.isfinite(weights[mask]).all()), "it returned a weight that is not finite")
        require(bool((weights[mask] >= 0).all()), "it returned a negative weight")
        require(torch.equal(others[branch][mask], weights[mask]), "it gives other weights when asked again")
    for name in statistics.__dataclass_fields__:
        now, then = getattr(statistics, name), getattr(before, name)
        if isinstance(now, torch.Tensor):
            require(torch.allclose(now, then, rtol=0, atol=0, equal_nan=True), f"it changed its input `{name}`")
    return f"finite float32 {list(shape)} for {', '.join(branches)}, pure"


def step_weight(function: Callable[..., Any], config: Any) -> str:
    """Tries a step weight."""
    return _weights(function, toy_steps(_needs(function, config)), config, (3, 4))


def token_weight(function: Callable[..., Any], config: Any) -> str:
    """Tries a token weight."""
    tokens = toy_tokens(_needs(function, config))
    return _weights(function, tokens, config, (len(tokens),))


def _toy_row(turns: int) -> TokenRow:
    """One token of context and two of response per turn."""
    steps = np.array([owner for turn in range(turns) for owner in (CONTEXT, turn, turn)], dtype=np.int32)
    mask = steps != CONTEXT
    logprob = np.where(mask, -0.1 * np.arange(len(steps)), np.nan).astype(np.float32)
    return TokenRow(np.arange(len(steps), dtype=np.int32), steps, mask, logprob)


def _toy_scores(row: TokenRow) -> TeacherScores:
    logprob = np.where(row.mask, -0.2 * (np.arange(len(row)) % 4) - 0.01, np.nan).astype(np.float32)
    return TeacherScores(logprob, row.mask.copy())


def toy_trajectories() -> list[Trajectory]:
    """Two episodes of one task, won and lost, and one of another."""
    made = []
    for number, (key, length, won) in enumerate((("a", 3, True), ("a", 4, False), ("b", 1, True))):
        steps = [
            Step(
                index,
                f"observation {index}",
                "look",
                "look",
                reward=float(won and index == length - 1),
                row=0,
                start=3 * index + 1,
                end=3 * index + 3,
            )
            for index in range(length)
        ]
        task = Task(env="toy", split="train", key=key, type="toy", seed=0)
        stop = StopReason.SUCCESS if won else StopReason.ENV_LIMIT
        made.append(
            Trajectory(task, EpisodePlan(), steps, [_toy_row(length)], stop, float(won), won, sample=number % 2)
        )
    return made


def _arrays(given: Any, trajectories: list[Trajectory], dtype: type) -> None:
    require(len(given) == len(trajectories), f"it answered for {len(given)} of {len(trajectories)} episodes")
    for array, trajectory in zip(map(np.asarray, given), trajectories, strict=True):
        count = len(trajectory.steps)
        require(array.shape == (count,), f"it returned shape {list(array.shape)} for an episode of {count} steps")
        require(array.dtype == dtype, f"it returned {array.dtype}, not {np.dtype(dtype)}")
        require(bool(np.isfinite(array).all()), "it returned a number that is not finite")


def reward(target: Callable[..., Any], config: Any) -> str:
    """Tries a reward; one that is a class asks somebody else, and is only made."""
    if isinstance(target, type):
        judge: Any = target(config)
        require(callable(getattr(judge, "score", None)), "it has no method `score(trajectories)`")
        return "made; `score` was not called, it may ask somebody who costs"
    trajectories = toy_trajectories()
    _arrays([target(trajectory, config) for trajectory in trajectories], trajectories, np.float32)
    return "finite float32 [steps]"


def view(target: Callable[[Any], Any], config: Any) -> str:
    """Tries a privileged view: on siblings, and on each episode alone."""
    made, trajectories = target(config), toy_trajectories()
    require(made.scope in ("instance", "shared"), f'its scope is {made.scope!r}, neither "instance" nor "shared"')
    require(isinstance(made.siblings, bool), "it does not say whether it compares `siblings`")
    require(isinstance(made.fingerprint, str) and bool(made.fingerprint), "it has no fingerprint")
    before = copy.deepcopy(trajectories)
    shown, again = made.show(trajectories), made.show(trajectories)
    require(len(shown) == len(trajectories), f"it answered for {len(shown)} of {len(trajectories)} episodes")
    require(shown == again, "it shows other words when asked again")
    require(str(before) == str(trajectories), "it changed the episodes")
    for one, trajectory in zip(shown, trajectories, strict=True):
        require(one is None or isinstance(one, Privileged), f"it showed a {type(one).__name__}, not a Privileged")
        turns = {step.index for step in trajectory.steps}
        unknown = sorted({*one.turns, *(one.scored or ())} - turns) if one is not None else []
        require(not unknown, f"it tells of the turns {unknown}, which the episode does not have")
    if not made.siblings:
        alone = [made.show([trajectory])[0] for trajectory in trajectories]
        require(alone == shown, "it compares episodes, and does not say so by `siblings`")
    return f"{made.scope} hints for {sum(one is not None for one in shown)} of {len(shown)} toy episodes"


def toy_rewarded() -> RewardedBatch:
    """Toy episodes with an outcome reward."""
    trajectories = toy_trajectories()
    rewards = [np.array([step.reward for step in t.steps], dtype=np.float32) for t in trajectories]
    return RewardedBatch(trajectories, rewards, np.array([0, 0, 1]))


def advantage(function: Callable[..., Any], config: Any) -> str:
    """Tries an advantage, with groups of two and of one."""
    batch = toy_rewarded()
    _arrays(function(batch, config), list(batch.trajectories), np.float32)
    return "finite float32 [steps], also for a group of one"


def filter_(function: Callable[..., Any], config: Any) -> str:
    """Tries a filter."""
    batch = toy_rewarded()
    scores = [[_toy_scores(row) for row in trajectory.rows] for trajectory in batch.trajectories]
    scored = ScoredBatch(batch.trajectories, scores, batch.rewards, batch.group, step=0)
    _arrays(function(scored, config), list(batch.trajectories), np.bool_)
    return "bool [steps]"


def fusion(target: Callable[[Any], Any], config: Any) -> str:
    """Tries a fusion: its scales over a run, its factors, and that its state survives JSON."""
    first, second = target(config), target(config)
    require(isinstance(first, Fusion), "it is no agentdistill.learner.fusion.Fusion")
    tokens = toy_tokens(_needs(first, config) | {"advantage", "reward"})
    for step in range(10):
        scales = first.scales(LearnerProgress(step, 10))
        require(isinstance(scales, Scales), f"its scales are a {type(scales).__name__}, not Scales")
        finite = all(np.isfinite(value) and value >= 0 for value in (scales.kd, scales.rl))
        require(finite, f"it gave {scales} at step {step}")
        first.observe({"kl/token": 1.0 / (step + 1), "loss/distill": 0.1})
    for branch, factors in (first.weights(tokens) or {}).items():
        require(branch in BRANCHES, f"it weighs {branch!r}; the branches are {', '.join(BRANCHES)}")
        good = factors.shape == (len(tokens),) and bool(torch.isfinite(factors).all()) and bool((factors >= 0).all())
        require(good, f"its factors of {branch} are not finite, at least 0, one per token")
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    late = LearnerProgress(9, 10)
    require(first.scales(late) == second.scales(late), "a restored copy gives other scales")
    return "scales over 10 steps, factors by branch; its state survives JSON"


def surrogate(target: Callable[[Any], Any], config: Any) -> str:
    """Tries a surrogate: finite, differentiable, and at ratio 1 uphill for good actions."""
    made = target(config)
    require(isinstance(made, Surrogate), "it is no agentdistill.learner.surrogates.Surrogate")
    tokens = toy_tokens(_needs(made, config) | {"advantage"})
    logprob = tokens.old_logprob.clone().requires_grad_()
    values = made.prepare(tokens, tokens.advantage).values(logprob, tokens, tokens.advantage)
    require(values.shape == logprob.shape, f"it returned shape {list(values.shape)} for {len(tokens)} tokens")
    (slope,) = torch.autograd.grad(values.sum(), logprob)
    require(
        bool(torch.isfinite(values).all()) and bool(torch.isfinite(slope).all()), "it gave a number that is not finite"
    )
    require(bool((slope * tokens.advantage <= 0).all()), "its gradient makes good actions less likely")
    return "finite and differentiable"


def loss(target: Callable[[Any], Any], config: Any) -> str:
    """Tries a loss at both ends of a run."""
    made = target(config)
    good = isinstance(made, (Loss, ScheduledLoss))
    require(good, "it is no agentdistill.learner.losses.Loss: it has no `request`, or neither `objective` nor `at`")
    require(isinstance(made.request, ScoreRequest), "its `request` is no ScoreRequest")
    _needs(made, config)
    for step in (0, 9):
        objective = objective_at(made, LearnerProgress(step, 10))
        require(hasattr(objective, "chunk_loss"), "its `objective` has no `chunk_loss`")
    return f"asks for {made.request}"
