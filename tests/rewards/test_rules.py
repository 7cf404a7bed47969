"""The rewards that are rules: by hand, at their borders, and with what they must refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rewards.episodes import episode

from agentdistill.errors import DataError
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.check import check_plugins
from agentdistill.records import LossRole, StopReason
from agentdistill_rewards.adaptthink import NoThinkingConfig, no_thinking
from agentdistill_rewards.environment import EnvironmentRewardConfig, environment_reward
from agentdistill_rewards.outcome import OutcomeConfig, outcome
from agentdistill_rewards.overlong import OverlongConfig, overlong
from agentdistill_rewards.penalty import PenaltyConfig, penalty
from agentdistill_rewards.score import ScoreConfig, score
from agentdistill_rewards.tool_use import ToolUseConfig, tool_use
from agentdistill_rewards.validity import FormatConfig, validity

pytestmark = pytest.mark.oracle

RULES = [
    (outcome, OutcomeConfig()),
    (score, ScoreConfig()),
    (environment_reward, EnvironmentRewardConfig()),
    (penalty, PenaltyConfig()),
    (validity, FormatConfig()),
    (overlong, OverlongConfig(limit=2048)),
    (tool_use, ToolUseConfig()),
    (no_thinking, NoThinkingConfig()),
]


@pytest.mark.parametrize(("rule", "config"), RULES, ids=[rule.__name__ for rule, _ in RULES])
@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("stop", list(StopReason))
def test_every_rule_gives_one_finite_number_per_step(rule, config, steps, stop):
    given_ = episode([0.5] * steps, stop=stop, score=3.0, prefix=min(steps, 1))
    reward = rule(given_, config)
    assert reward.dtype == np.float32 and reward.shape == (steps,) and np.isfinite(reward).all()
    assert np.array_equal(reward, rule(given_, config))


def test_the_package_passes_the_kit():
    findings = check_plugins(PluginRegistry.load(), ["agentdistill_rewards"])
    assert [f for f in findings if f.level == "error"] == []


def test_outcome():
    pays = OutcomeConfig(failure=-1.0)
    assert outcome(episode(stop=StopReason.SUCCESS), pays).tolist() == [0, 0, 1]
    for stop in (StopReason.FAILURE, StopReason.ENV_LIMIT, StopReason.CONTEXT_LIMIT):
        assert outcome(episode(stop=stop), pays).tolist() == [0, 0, -1]
    assert outcome(episode(stop=StopReason.HORIZON), pays).tolist() == [0, 0, 0]
    assert outcome(episode(stop=StopReason.FAILURE), OutcomeConfig()).tolist() == [0, 0, 0]


def test_score():
    assert score(episode(score=70.0), ScoreConfig(scale=0.01)).tolist() == pytest.approx([0, 0, 0.7])
    assert score(episode(score=70.0), ScoreConfig(scale=0.1, zero=50.0, high=1.5)).tolist() == [0, 0, 1.5]
    assert score(episode(score=-100.0), ScoreConfig(low=-1.0)).tolist() == [0, 0, -1]
    with pytest.raises(DataError, match=r"score is nan in an episode of the task 'task'"):
        score(episode(score=math.nan), ScoreConfig())
    with pytest.raises(ValidationError, match="no reward lies between"):
        ScoreConfig(low=1.0, high=0.0)


def test_environment_rewards_of_a_prefix_are_not_the_students():
    played = episode([1.0, 2.0, 3.0], prefix=1)
    assert environment_reward(played, EnvironmentRewardConfig(scale=2.0)).tolist() == [0, 4, 6]
    assert environment_reward(played, EnvironmentRewardConfig(prefix=True)).tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="reward of step 2 is inf"):
        environment_reward(episode([0.0, 0.0, math.inf]), EnvironmentRewardConfig())


def test_a_guides_turn_in_between_counts():
    played = episode([1.0, 2.0, 3.0])
    played.steps[1].loss_role = LossRole.NONE
    assert environment_reward(played, EnvironmentRewardConfig()).tolist() == [1, 2, 3]
    assert penalty(played, PenaltyConfig(step=1.0)).tolist() == [-1, 0, -1]


def test_penalties():
    played = episode([0.0] * 4, prefix=1)
    played.steps[2].valid = False
    played.steps[3].observation, played.steps[3].action = played.steps[1].observation, played.steps[1].action
    costs = PenaltyConfig(step=1.0, invalid=10.0, repeat=100.0)
    assert penalty(played, costs).tolist() == [0, -1, -11, -101]


def test_repeating_what_a_prefix_did_is_repeating():
    played = episode([0.0] * 2, prefix=1)
    played.steps[1].observation, played.steps[1].action = played.steps[0].observation, played.steps[0].action
    assert penalty(played, PenaltyConfig(step=0.0, repeat=1.0)).tolist() == [0, -1]


def test_format():
    played = episode([0.0] * 4, responses=["<think>a</think> go", "go", "<think>\n\n</think>go", "<think>b</think>x"])
    played.steps[3].info["finish"] = "length"
    asks = FormatConfig(good=1.0, bad=-2.0, mean=False, pattern=r"(?s)\A<think>.*\S.*</think>.*\S")
    assert validity(played, asks).tolist() == [1, -2, -2, -2]
    assert validity(played, FormatConfig()).tolist() == [0, 0, 0, -0.25]
    played.steps[0].valid = False
    assert validity(played, FormatConfig()).tolist() == [-0.25, 0, 0, -0.25]
    assert validity(played, FormatConfig(valid=False)).tolist() == [0, 0, 0, -0.25]
    with pytest.raises(ValidationError, match="no regular expression"):
        FormatConfig(pattern="(")


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_the_mean_of_the_format_does_not_grow_with_the_episode(valid):
    played = episode([0.0] * len(valid))
    for step, ok in zip(played.steps, valid, strict=True):
        step.valid = ok
    total = float(validity(played, FormatConfig(good=1.0, bad=0.0)).sum())
    assert total == pytest.approx(sum(valid) / len(valid), abs=1e-6)


@given(st.integers(0, 5000), st.integers(1, 4096), st.integers(1, 4096), st.floats(0, 3))
def test_overlong_is_the_papers_equation(length, limit, buffer, factor):
    if buffer > limit:
        with pytest.raises(ValidationError, match="silence would be punished"):
            OverlongConfig(limit=limit, buffer=buffer)
        return
    got = overlong(episode([0.0], lengths=[length]), OverlongConfig(limit=limit, buffer=buffer, penalty=factor))[0]
    if length <= limit - buffer:
        want = 0.0
    elif length <= limit:
        want = ((limit - buffer) - length) / buffer
    else:
        want = -1.0
    assert got == pytest.approx(factor * want, abs=1e-6)


def test_overlong_numbers_of_sod():
    config = OverlongConfig(limit=20480)
    lengths = [19456, 19457, 19968, 20480, 30000]
    got = overlong(episode([0.0] * 5, lengths=lengths), config).tolist()
    assert got == pytest.approx([0.0, -1 / 1024, -0.5, -1.0, -1.0])


def test_overlong_of_an_episode_is_about_the_students_tokens_only():
    played = episode([0.0] * 3, lengths=[1000, 60, 60], prefix=1)
    config = OverlongConfig(limit=120, buffer=40, per="episode")
    assert overlong(played, config).tolist() == pytest.approx([0, 0, -1.0])
    assert overlong(played, OverlongConfig(limit=70, buffer=20)).tolist() == pytest.approx([0, -0.5, -0.5])


def test_tool_use_is_the_released_codes_formula():
    config = ToolUseConfig()
    for turns in range(1, 30):
        played = episode([0.0] * turns)
        messages = 2 * turns
        assert tool_use(played, config)[-1] == pytest.approx(min(-0.6, -1 + 0.05 * (messages - 2)))
    assert tool_use(episode([0.0], stop=StopReason.SUCCESS), config).tolist() == [1]
    assert tool_use(episode([0.0] * 9, stop=StopReason.HORIZON), config).sum() == 0
    with pytest.raises(ValidationError, match="losing slowly would pay"):
        ToolUseConfig(cap=1.0)


def test_not_thinking_pays():
    played = episode([0.0] * 4, responses=["x", "go", "<think>a</think>go", "go"], prefix=1)
    assert no_thinking(played, NoThinkingConfig(delta=0.3)).tolist() == pytest.approx([0, 0.1, 0, 0.1])
    assert no_thinking(played, NoThinkingConfig(delta=0.3, per="episode")).sum() == 0
    played.steps[2].response = "go"
    assert no_thinking(played, NoThinkingConfig(delta=0.3, per="episode")).tolist() == pytest.approx([0, 0, 0, 0.3])
