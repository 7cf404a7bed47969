"""Each warning is raised by what it is for, once; a healthy run raises none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from agentdistill.diagnostics import RULES, Alert, Monitor

DEMO = Path(__file__).with_name("demo_first_50_steps.jsonl")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "diagnostics.md"


def healthy(step: int, noise: random.Random) -> dict[str, float]:
    """Metrics of a step of a run that goes well: noisy, getting better."""
    metrics = {
        "curriculum/depth": 10.0,
        "kl/token": 1.0 * 0.99**step + 0.1 * noise.random(),
        "rollout/success": min(0.3 + 0.005 * step + 0.2 * (noise.random() - 0.5), 1.0),
        "rollout/repetition_rate": 0.02 * noise.random(),
        "rollout/turn_tokens": 12 + noise.random(),
        "rollout/truncated_rate": 0.05 * noise.random(),
        "tokens/dead_rate": 0.01 * noise.random(),
        "tokens/distill": 500.0,
        "loss/distill": 0.1 + 0.1 * noise.random(),
        "batch/empty": 0.0,
        "optim/grad_norm": 1.0 + noise.random(),
        "gap/logprob_mean": 1e-4 * noise.random(),
        "weight/token_ess": 0.8 + 0.1 * noise.random(),
        "advantage/top1_share": 0.1 + 0.1 * noise.random(),
        "episodes/max_share": 0.1 + 0.1 * noise.random(),
        "advantage/flat_groups": 0.3 + 0.2 * noise.random(),
        "teacher/gradient/first": 0.6 + 0.1 * noise.random(),
        "teacher/gradient/second": 0.3 + 0.1 * noise.random(),
        "overlap/mean": 0.8 + 0.05 * noise.random(),
        "rollout/no_progress_rate": 0.1 * noise.random(),
        "rollout/invalid_rate": 0.2 + 0.05 * noise.random(),
        "ratio/clip_rate": 0.02 * noise.random(),
        "rollout/aborted": 0.0,
        "rollout/episodes": 16.0,
    }
    for turn, logprob in ((0, -0.3), (5, -1.5)):
        metrics[f"turn/{turn}/tokens"] = 40.0
        metrics[f"turn/{turn}/teacher_logprob_sum"] = 40.0 * (logprob + 0.2 * noise.random())
    return metrics


def run(change: Callable[[int], dict[str, float]], steps: int = 120, seed: int = 0) -> list[Alert]:
    monitor, noise = Monitor(), random.Random(seed)
    for step in range(steps):
        monitor.observe(step + 1, {**healthy(step, noise), **change(step)})
    return monitor.raised


SICK: dict[str, Callable[[int], dict[str, float]]] = {
    "kl-rising": lambda step: {"kl/token": 0.5 + 0.02 * max(step - 60, 0)},
    "teacher-lost-at-depth": lambda step: {"turn/5/teacher_logprob_sum": 40.0 * (-1.5 - 0.05 * max(step - 60, 0))},
    "success-falling": lambda step: {"rollout/success": 0.8 - 0.012 * max(step - 60, 0)},
    "repetition": lambda step: {"rollout/repetition_rate": min(0.01 * max(step - 60, 0), 1.0)},
    "length-inflation": lambda step: {"rollout/turn_tokens": 12.0 + 0.8 * max(step - 60, 0)},
    "truncation": lambda step: {"rollout/truncated_rate": min(0.02 * max(step - 60, 0), 1.0)},
    "dead-rows": lambda step: {"tokens/dead_rate": 0.2},
    "no-loss": lambda step: {"loss/distill": 0.0, "optim/grad_norm": 0.0},
    "empty-batches": lambda step: {"batch/empty": 1.0},
    "engine-gap": lambda step: {"gap/logprob_mean": 0.2},
    "few-weights": lambda step: {"weight/token_ess": 0.01},
    "few-tokens": lambda step: {"advantage/top1_share": 0.8},
    "few-episodes": lambda step: {"episodes/max_share": 0.6},
    "one-teacher": lambda step: {"teacher/gradient/first": 0.97, "teacher/gradient/second": 0.03},
    "flat-groups": lambda step: {"advantage/flat_groups": 1.0},
    "low-overlap": lambda step: {"overlap/mean": 0.1},
    "no-progress": lambda step: {"rollout/no_progress_rate": min(0.02 * max(step - 60, 0), 1.0)},
    "invalid-actions": lambda step: {"rollout/invalid_rate": min(0.2 + 0.01 * max(step - 60, 0), 1.0)},
    "clipped": lambda step: {"ratio/clip_rate": 0.5},
    "aborted": lambda step: {"rollout/aborted": 8.0},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_warning_is_raised_by_its_illness_alone_and_once(rule) -> None:
    raised = run(SICK[rule.name])
    assert [alert.name for alert in raised] == [rule.name]
    assert raised[0].advice == rule.advice
    assert rule.name in str(raised[0]) and str(raised[0].steps) in str(raised[0])


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_run_raises_none(seed: int) -> None:
    assert run(lambda step: {}, 300, seed) == []


def test_the_demos_first_steps_raise_none() -> None:
    """Real metrics of `scripts/demo`: its depth grows, its KL falls, its groups are single episodes."""
    monitor = Monitor()
    for line in DEMO.read_text().splitlines():
        metrics = json.loads(line)
        monitor.observe(metrics["step"], metrics)
    assert monitor.raised == []


def test_what_changes_with_the_depth_is_not_judged() -> None:
    falling = SICK["success-falling"]
    assert run(lambda step: {**falling(step), "curriculum/depth": float(step // 10)}) == []


def test_one_bad_step_is_no_trend() -> None:
    assert run(lambda step: {"kl/token": 50.0} if step == 80 else {}) == []


def test_what_is_missing_or_not_finite_is_not_judged() -> None:
    monitor = Monitor()
    for step in range(60):
        assert monitor.observe(step, {"kl/token": float("nan"), "text": "no number"}) == []


def test_a_restored_monitor_goes_on_as_the_one_it_was() -> None:
    noise = random.Random(3)
    stream = [{**healthy(step, noise), **SICK["truncation"](step)} for step in range(120)]
    whole = Monitor()
    for step, metrics in enumerate(stream):
        whole.observe(step, metrics)
    first, second = Monitor(), Monitor()
    for step, metrics in enumerate(stream[:70]):
        first.observe(step, metrics)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step, metrics in enumerate(stream[70:], start=70):
        second.observe(step, metrics)
    assert second.raised == whole.raised and len(whole.raised) == 1


def test_every_warning_is_documented_with_its_advice() -> None:
    page = " ".join(DOCS.read_text(encoding="utf-8").split())
    for rule in RULES:
        assert f"`{rule.name}`" in page, rule.name
