from __future__ import annotations

import numpy as np
import pytest
from toy_world import LENGTHS, CorridorSource, renderer, requests

from agentdistill.errors import DataError
from agentdistill.records import CONTEXT, Actor, LossRole, StopReason
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.play import RolloutSettings
from agentdistill.rollout.scripted import Move, environment_expert, play_actions
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

EXPERT = RolloutSettings(want_expert=True)
APPEND = AppendContext(AppendConfig())
WINDOW = WindowContext(WindowConfig())


def demonstrations(count=3, policy=environment_expert, context=None, source=None, **plan):
    return play_actions(
        requests(count, **plan), source=source or CorridorSource(), policy=policy, settings=EXPERT, context=context
    )


def stumbling(situation, info):
    """The expert, after one mistake made on purpose."""
    return Move("fly", LossRole.NONE) if not situation.steps else info["expert_action"]


def test_the_environments_expert_wins_every_task():
    source = CorridorSource()
    trajectories = demonstrations(5, source=source)
    assert all(trajectory.success and trajectory.rows == [] for trajectory in trajectories)
    assert [len(trajectory.steps) for trajectory in trajectories] == [length + 1 for length in LENGTHS]
    step = trajectories[0].steps[0]
    assert (step.actor, step.loss_role, step.response, step.row) == (Actor.EXPERT, LossRole.IMITATE, "ahead", -1)
    assert trajectories[0].meta["student_steps"] == 0
    assert len(source.made) == 1 and source.made[0].closed


def test_a_policy_without_an_answer_ends_its_episode_only():
    answers = iter([None, "jump", "jump"])
    trajectories = demonstrations(3, policy=lambda situation, info: next(answers))
    assert [trajectory.stop for trajectory in trajectories] == [
        StopReason.ABORTED, StopReason.FAILURE, StopReason.FAILURE,
    ]  # fmt: skip
    assert "no action" in trajectories[0].meta["error"]


def test_a_broken_environment_is_replaced():
    source = CorridorSource(broken_steps={("0", 1)})
    trajectories = demonstrations(2, source=source)
    assert [trajectory.stop for trajectory in trajectories] == [StopReason.ABORTED, StopReason.SUCCESS]
    assert len(source.made) == 2


def test_plans_hold_for_scripts_too():
    (trajectory,) = demonstrations(1, prefix=("ahead",), horizon=1)
    assert trajectory.stop is StopReason.HORIZON
    assert [step.loss_role for step in trajectory.steps] == [LossRole.NONE, LossRole.IMITATE]


@pytest.mark.parametrize("context", [APPEND, AppendContext(AppendConfig(admissible=True, think=True)), WINDOW])
def test_demonstrations_become_rows_to_imitate(context):
    (trajectory,) = demonstrations(1, context=context)
    tokenised = tokenize_demonstration(trajectory, renderer(), context)
    assert len(tokenised.rows) == (len(trajectory.steps) if context is WINDOW else 1)
    for step in tokenised.steps:
        row = tokenised.rows[step.row]
        span = slice(step.start, step.end)
        assert row.token_ids[span].tolist() == renderer().response(context.render_action(step.action))
        assert (row.step_of_token[span] == step.index).all()
    for row in tokenised.rows:
        assert not row.mask.any() and np.isnan(row.old_logprob).all()
    learned = sum(int((row.step_of_token != CONTEXT).sum()) for row in tokenised.rows)
    assert learned == sum(step.end - step.start for step in tokenised.steps)
    assert all(step.row == -1 for step in trajectory.steps), "the original is left alone"


def test_the_text_is_what_a_student_would_have_seen():
    (trajectory,) = demonstrations(1)
    (row,) = tokenize_demonstration(trajectory, renderer(), APPEND).rows
    assert renderer().tokenizer.decode(row.token_ids) == (
        "<|im_start|>user\nA corridor of 2 steps.\n\nYour task is to: open the door.<|im_end|>\n"
        "<|im_start|>assistant\nahead<|im_end|>\n<|im_start|>user\nYou are at 1.<|im_end|>\n"
        "<|im_start|>assistant\nahead<|im_end|>\n<|im_start|>user\nYou are at 2.<|im_end|>\n"
        "<|im_start|>assistant\nopen<|im_end|>"
    )


def test_mistakes_made_on_purpose_are_context():
    (trajectory,) = demonstrations(1, policy=stumbling)
    tokenised = tokenize_demonstration(trajectory, renderer(), APPEND)
    (row,) = tokenised.rows
    mistake = tokenised.steps[0]
    assert (mistake.action, mistake.row, mistake.valid) == ("fly", -1, False)
    assert set(row.step_of_token.tolist()) == {CONTEXT, 1, 2, 3}
    assert "assistant\nfly<|im_end|>" in renderer().tokenizer.decode(row.token_ids)


def test_a_windowed_mistake_is_no_row_of_its_own():
    (trajectory,) = demonstrations(1, policy=stumbling, context=WINDOW)
    tokenised = tokenize_demonstration(trajectory, renderer(), WINDOW)
    assert [step.row for step in tokenised.steps] == [-1, 0, 1, 2]
    assert len(tokenised.rows) == 3


def test_a_demonstration_can_be_shown_with_another_context():
    (trajectory,) = demonstrations(1)
    context = WindowContext(WindowConfig(admissible=False))
    tokenised = tokenize_demonstration(trajectory, renderer(), context)
    assert tokenised.steps[0].response == "<think>\n\n</think>\n<action>ahead</action>"


def test_a_response_in_the_right_format_is_kept_word_for_word():
    (trajectory,) = demonstrations(1)
    trajectory.steps[0].response = "<think>The door is far.</think><action>ahead</action>"
    tokenised = tokenize_demonstration(trajectory, renderer(), WindowContext(WindowConfig(admissible=False)))
    assert tokenised.steps[0].response == "<think>The door is far.</think><action>ahead</action>"


def test_a_context_that_lists_commands_needs_them_recorded():
    (trajectory,) = demonstrations(1)
    with pytest.raises(DataError, match="admissible"):
        tokenize_demonstration(trajectory, renderer(), WINDOW)


def test_a_record_without_its_goal_cannot_be_shown():
    (trajectory,) = demonstrations(1)
    del trajectory.meta["goal"]
    with pytest.raises(DataError, match="goal"):
        tokenize_demonstration(trajectory, renderer(), APPEND)


def test_the_prompt_before_each_response_equals_the_rollouts_own():
    """A student that plays like the expert gets the same rows, except for who wrote them."""
    from test_play_episodes import ahead_then_open
    from test_play_episodes import run as play_toy
    from toy_world import ScriptedEngine

    played = play_toy(requests(3), ScriptedEngine(ahead_then_open))
    for student, expert in zip(played, demonstrations(3, context=APPEND), strict=True):
        (sampled,), (shown,) = student.rows, tokenize_demonstration(expert, renderer(), APPEND).rows
        assert (sampled.token_ids == shown.token_ids).all()
        assert (sampled.step_of_token == shown.step_of_token).all()
