"""A real model plays: many-line turns stay one growing row, and demonstrations begin as its own episodes do."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tiny import tiny_model, tiny_tokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.records import EpisodePlan, LossRole, StopReason
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play
from agentdistill.rollout.scripted import environment_expert, play_actions
from agentdistill_engines.hf import HfConfig, HfEngine
from agentdistill_tools.config import SizesConfig, ToolsConfig
from agentdistill_tools.context import ToolTurnsConfig, ToolTurnsContext
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.source import ToolsSource

DOCS = Path(__file__).parents[2] / "docs" / "tools.md"


def test_a_model_plays_with_tools() -> None:
    limits = PythonConfig(seconds=60.0, cpu_seconds=30)
    source = ToolsSource(ToolsConfig(families=("gcd",), sizes=SizesConfig(train=3), python=limits))
    context, renderer = ToolTurnsContext(ToolTurnsConfig()), ChatRenderer(tiny_tokenizer())
    task = source.tasks("train")[0]
    (shown,) = play_actions(
        [EpisodeRequest(task)],
        source=source,
        policy=environment_expert,
        settings=RolloutSettings(max_steps=4, want_expert=True),
        context=context,
    )
    assert shown.success
    demonstration = tokenize_demonstration(shown, renderer, context)
    (row,) = demonstration.rows
    assert [step.loss_role for step in demonstration.steps] == [LossRole.IMITATE] * 2

    student = HfEngine(HfConfig(), SimpleNamespace(model=tiny_model(seed=1, max_position_embeddings=16384)))
    after_the_call = EpisodePlan(prefix=(shown.steps[0].action,))
    free, guided = play(
        [EpisodeRequest(task, seed=1), EpisodeRequest(task, after_the_call, seed=1)],
        source=source,
        engine=student,
        renderer=renderer,
        context=context,
        settings=RolloutSettings(max_steps=4, max_new_tokens=16),
    )
    assert free.stop is StopReason.ENV_LIMIT and len(free.rows) == 1 and not free.success
    assert not any(step.valid for step in free.steps)  # an untrained model writes no tool calls
    start = next(step.start for step in guided.steps if step.loss_role is LossRole.DISTILL)
    assert np.array_equal(guided.rows[0].token_ids[:start], row.token_ids[:start])


def test_the_documented_episode_is_what_is_played() -> None:
    text = DOCS.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```\n(You answer.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    opening, *turns = re.split(r"\n\n> ", shown)
    env = ToolsSource(ToolsConfig(python=PythonConfig(seconds=60.0, cpu_seconds=30))).make()
    try:
        observation, info = env.reset(options={"task": "prime_factorization/212", "expert": True})
        assert observation == opening
        for turn in turns:
            action = info["expert_action"]
            observation, _, _, _, info = env.step(action)
            assert turn == f"{action}\n{observation}"
        assert info["won"]
    finally:
        env.close()


def test_the_documented_numbers_are_those_of_the_code() -> None:
    from sandbox_attempts import ATTEMPTS

    text = DOCS.read_text(encoding="utf-8")
    assert f"{len(ATTEMPTS)} attempts" in text
    config, limits = ToolsConfig(), PythonConfig()
    assert f"| {config.sizes.train}, {config.sizes.eval}, {config.sizes.test}; {config.seed} |" in text
    for shown in (f"{limits.memory_mb} MB", f"{limits.files_mb} MB each", f"{limits.seconds:g} s |"):
        assert shown in text
    assert f"| {config.calls_per_turn}, {config.output_chars}, {config.action_chars}, {config.tool_seconds:g} |" in text
