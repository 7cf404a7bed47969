"""The rollout on genuine ALFWorld games, with the experts and a real model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_model
from toy_world import renderer

from agentdistill.records import EpisodePlan, LossRole, StopReason, trainable_tokens
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play
from agentdistill.rollout.scripted import environment_expert, play_actions
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.source import AlfworldSource
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_engines.hf import HfConfig, HfEngine

CONTEXT = AppendContext(AppendConfig())


@pytest.mark.parametrize("engine", ["fast", "real"])
def test_prefixes_demonstrations_and_constrained_play_on_real_games(
    alfworld_data: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    source = AlfworldSource(AlfworldConfig.model_validate({"engine": engine}))
    tasks = source.tasks("valid_seen")[3:5]
    experts = play_actions(
        [EpisodeRequest(task) for task in tasks],
        source=source,
        policy=environment_expert,
        settings=RolloutSettings(max_steps=30, want_expert=True),
    )
    assert all(trajectory.success and trajectory.score == 1.0 for trajectory in experts)
    actions = tuple(step.action for step in experts[0].steps)
    plans = [EpisodePlan(), EpisodePlan(prefix=actions[:-2], horizon=3), EpisodePlan(prefix=actions)]
    student = HfEngine(HfConfig(), SimpleNamespace(model=tiny_model(seed=1, max_position_embeddings=16384)))
    free, guided, solved = play(
        [EpisodeRequest(tasks[0], plan, seed=i) for i, plan in enumerate(plans)],
        source=source, engine=student, renderer=renderer(), context=CONTEXT,
        settings=RolloutSettings(12, max_new_tokens=48, concurrency=3, constrained=True, want_expert=True),
    )  # fmt: skip
    assert free.stop in (StopReason.ENV_LIMIT, StopReason.SUCCESS)
    assert all(step.valid and step.info["expert_action"] for step in free.steps[:5])
    assert guided.stop in (StopReason.HORIZON, StopReason.SUCCESS)
    assert [step.loss_role for step in guided.steps].count(LossRole.NONE) == len(actions) - 2
    assert solved.success and solved.meta["no_student_steps"] and trainable_tokens([solved]) == 0

    # The student's row begins with the very tokens that the demonstration has there.
    (shown,) = tokenize_demonstration(experts[0], renderer(), CONTEXT).rows
    start = next(step.start for step in guided.steps if step.loss_role is LossRole.DISTILL)
    assert np.array_equal(guided.rows[0].token_ids[:start], shown.token_ids[:start])
