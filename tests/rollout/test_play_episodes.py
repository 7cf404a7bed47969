from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_model
from toy_world import LENGTHS, CorridorSource, ScriptedEngine, renderer, requests

from agentdistill.errors import ConfigError
from agentdistill.records import CONTEXT, Actor, LossRole, StopReason, trainable_tokens
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext
from agentdistill_engines.hf import HfConfig, HfEngine

APPEND = AppendContext(AppendConfig())


def ahead_then_open(session: str, turn: int, prompt: str) -> str:
    """Plays the corridor right: reads how long it is and where it stands."""
    length = int(prompt.split("A corridor of ")[1].split()[0])
    place = int(prompt.rsplit("You are at ", 1)[1].split(".")[0]) if "You are at " in prompt else 0
    return "open" if place == length else "ahead"


def run(batch, engine=None, source=None, context=APPEND, **settings):
    source = source or CorridorSource()
    engine = engine or ScriptedEngine(ahead_then_open)
    seen = []
    trajectories = play(
        batch, source=source, engine=engine, renderer=renderer(), context=context,
        settings=RolloutSettings(**settings), on_episode=seen.append,
    )  # fmt: skip
    assert sorted(map(id, seen)) == sorted(map(id, trajectories))
    assert all(env.closed for env in source.made)
    return trajectories


def test_episodes_are_won_and_come_back_in_the_order_of_the_requests():
    batch = requests(7)
    trajectories = run(batch, concurrency=3)
    for request, trajectory in zip(batch, trajectories, strict=True):
        assert trajectory.task is request.task and trajectory.seed == request.seed
        assert trajectory.stop is StopReason.SUCCESS and trajectory.success
        assert len(trajectory.steps) == LENGTHS[int(request.task.key) % 5] + 1
        assert trajectory.score == LENGTHS[int(request.task.key) % 5]
        assert [step.index for step in trajectory.steps] == list(range(len(trajectory.steps)))
        assert trajectory.steps[-1].reward == 1.0
        assert trajectory.meta["goal"] == "open the door" and trajectory.meta["prompt_hash"] == APPEND.prompt_hash


def test_a_finished_episodes_place_is_taken_in_the_next_turn():
    engine, source = ScriptedEngine(ahead_then_open), CorridorSource()
    run(requests(10), engine, source, concurrency=3)
    turns = sum(length + 1 for length in LENGTHS) * 2
    assert sum(map(len, engine.batches)) == turns
    waiting = [len(batch) for batch in engine.batches]
    last_start = max(i for i, batch in enumerate(engine.batches) if "episode-9" in batch and engine.turns["episode-9"])
    first_of_last = next(i for i, batch in enumerate(engine.batches) if "episode-9" in batch)
    assert set(waiting[: first_of_last + 1]) == {3} and last_start >= first_of_last
    assert len(source.made) == 3, "environments are used again"
    assert sorted(engine.released) == sorted(f"episode-{i}" for i in range(10))
    assert source.resets == [(str(i), 40 + i) for i in range(10)]


def test_rows_hold_every_response_of_the_student_and_nothing_else():
    (trajectory,) = run(requests(1))
    (row,) = trajectory.rows
    for step in trajectory.steps:
        assert (step.row, step.info["finish"]) == (0, "stop")
        assert renderer().decode(row.token_ids[step.start : step.end]) == step.response == step.action
        assert row.token_ids[step.end - 1] == 2
        assert (row.step_of_token[step.start : step.end] == step.index).all()
    assert trainable_tokens([trajectory]) == sum(step.end - step.start for step in trajectory.steps)
    assert trajectory.meta["sampled_tokens"] == trainable_tokens([trajectory])
    assert trajectory.meta["prompt_tokens"] == len(row) - trainable_tokens([trajectory])
    assert np.isnan(row.old_logprob[~row.mask]).all() and (row.old_logprob[row.mask] == -0.5).all()


def test_turn_seeds_belong_to_episode_and_turn_whatever_the_concurrency():
    seeds = []
    for concurrency in (1, 4):
        engine = ScriptedEngine(ahead_then_open)
        run(requests(5), engine, concurrency=concurrency)
        seeds.append(engine.seeds)
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0].values())) == len(seeds[0])


def test_the_prefix_is_replayed_and_never_trained_on():
    trajectory = run(requests(2, prefix=("ahead", "ahead"), prefix_actor=Actor.TEACHER))[1]
    replayed, played = trajectory.steps[:2], trajectory.steps[2:]
    assert all(step.actor is Actor.TEACHER and step.loss_role is LossRole.NONE and step.row == -1 for step in replayed)
    assert all(step.actor is Actor.STUDENT and step.loss_role is LossRole.DISTILL for step in played)
    assert [step.index for step in trajectory.steps] == list(range(6))
    (row,) = trajectory.rows
    assert set(row.step_of_token.tolist()) == {CONTEXT, 2, 3, 4, 5}
    text = renderer().tokenizer.decode(row.token_ids[: played[0].start])
    assert text.count("<|im_start|>assistant\nahead<|im_end|>") == 2 and "You are at 2." in text
    assert trajectory.meta["student_steps"] == 4


def test_a_prefix_that_wins_leaves_nothing_to_train_on():
    engine = ScriptedEngine(ahead_then_open)
    (trajectory,) = run(requests(1, prefix=("ahead", "ahead", "open")), engine)
    assert trajectory.stop is StopReason.SUCCESS and trajectory.success
    assert trajectory.rows == [] and trainable_tokens([trajectory]) == 0
    assert trajectory.meta["no_student_steps"] is True and trajectory.meta["student_steps"] == 0
    assert engine.batches == []


def test_a_prefix_the_environment_rejects_aborts_the_episode():
    (trajectory,) = run(requests(1, prefix=("ahead", "ahead", "ahead")))
    assert trajectory.stop is StopReason.ABORTED and not trajectory.success
    assert "'ahead' (step 2 of the prefix) was not accepted" in trajectory.meta["error"]
    assert trainable_tokens([trajectory]) == 0


@pytest.mark.parametrize(
    ("plan", "max_steps", "stop", "count"),
    [
        ({"horizon": 2}, 30, StopReason.HORIZON, 2),
        ({"horizon": 2, "prefix": ("ahead",)}, 30, StopReason.HORIZON, 3),
        ({"horizon": 6}, 30, StopReason.SUCCESS, 6),
        ({"horizon": 0}, 30, StopReason.HORIZON, 0),
        ({}, 4, StopReason.ENV_LIMIT, 4),
        ({"horizon": 4}, 4, StopReason.ENV_LIMIT, 4),
        ({"prefix": ("ahead",) * 4}, 4, StopReason.ENV_LIMIT, 4),
        ({}, 6, StopReason.SUCCESS, 6),
    ],
)
def test_why_an_episode_ends(plan, max_steps, stop, count):
    trajectory = run(requests(2, **plan), max_steps=max_steps)[1]
    assert (trajectory.stop, len(trajectory.steps)) == (stop, count)
    assert trajectory.success is (stop is StopReason.SUCCESS)


def test_failure_and_the_environments_own_limit():
    (lost,) = run(requests(1), ScriptedEngine(lambda *_: "jump"))
    assert (lost.stop, lost.success, len(lost.steps)) == (StopReason.FAILURE, False, 1)
    (idle,) = run(requests(1), ScriptedEngine(lambda *_: "wait"), max_steps=100)
    assert (idle.stop, len(idle.steps)) == (StopReason.ENV_LIMIT, 20)
    assert not any(step.valid for step in idle.steps)


def test_the_context_limit_cuts_nothing():
    engine = ScriptedEngine(ahead_then_open, limit=150)
    trajectory = run(requests(4), engine)[3]
    assert trajectory.stop is StopReason.CONTEXT_LIMIT and not trajectory.success
    (row,) = trajectory.rows
    assert len(row) == trajectory.steps[-1].end <= 150
    (nothing,) = run(requests(1), ScriptedEngine(ahead_then_open, limit=10))
    assert (nothing.stop, nothing.rows, nothing.steps) == (StopReason.CONTEXT_LIMIT, [], [])


def test_an_environment_that_dies_costs_its_episode_only():
    source = CorridorSource(broken_resets={"1"}, broken_steps={("2", 3)})
    trajectories = run(requests(5), source=source, concurrency=2)
    stops = [trajectory.stop for trajectory in trajectories]
    assert [stop is StopReason.ABORTED for stop in stops] == [False, True, True, False, False]
    assert trajectories[1].meta["error"] == "RuntimeError: no such corridor"
    assert trajectories[2].meta["error"] == "OSError: the corridor caved in"
    assert len(trajectories[2].steps) == 3 and trajectories[2].rows
    assert trainable_tokens([trajectories[1], trajectories[2]]) == 0
    assert all(step.loss_role is LossRole.NONE for step in trajectories[2].steps)
    assert len(source.made) > 2, "a broken environment is not used again"


def test_an_error_of_the_run_is_not_an_error_of_the_episode():
    source = CorridorSource()
    source.make()
    source.made[0].reset = lambda **_: (_ for _ in ()).throw(ConfigError("The option is wrong."))
    source.make = lambda: source.made[0]
    with pytest.raises(ConfigError, match="option"):
        run(requests(1), source=source)
    assert source.made[0].closed


def test_a_response_without_an_action_is_sent_as_it_is_and_counts_as_invalid():
    source = CorridorSource()
    context = WindowContext(WindowConfig(think=False))
    engine = ScriptedEngine(
        lambda session, turn, prompt: " I would go ahead \n" if turn == 0 else "<action>jump</action>"
    )
    (trajectory,) = run(requests(1), engine, source, context)
    assert source.commands == ["I would go ahead", "jump"]
    first, second = trajectory.steps
    assert (first.action, first.valid, first.info["sent"]) == ("", False, "I would go ahead")
    assert (second.action, second.valid, "sent" in second.info) == ("jump", True, False)


def test_an_accepted_action_in_a_malformed_response_is_not_valid():
    context = WindowContext(WindowConfig(think=False))
    engine = ScriptedEngine(lambda *_: "So: <action>jump</action>")
    (trajectory,) = run(requests(1), engine, context=context)
    assert (trajectory.steps[0].action, trajectory.steps[0].valid) == ("jump", False)


def test_the_experts_advice_is_about_the_state_the_agent_saw():
    (trajectory,) = run(requests(1), ScriptedEngine(lambda *_: "ahead"), max_steps=4, want_expert=True)
    assert [step.info["expert_action"] for step in trajectory.steps] == ["ahead", "ahead", "open", "open"]
    (plain,) = run(requests(1))
    assert "expert_action" not in plain.steps[0].info


def test_windowed_prompts_are_one_row_a_turn():
    context = WindowContext(WindowConfig())
    engine = ScriptedEngine(lambda *_: "<think>on</think><action>ahead</action>")
    (trajectory,) = run(requests(1), engine, context=context, max_steps=3)
    assert [step.row for step in trajectory.steps] == [0, 1, 2]
    for step, row in zip(trajectory.steps, trajectory.rows, strict=True):
        assert step.end == len(row) and "open the door" in renderer().tokenizer.decode(row.token_ids)
        assert step.info["admissible_actions"] == ["ahead", "open", "jump"]


def test_a_terminator_after_a_length_stop_is_not_the_students():
    (trajectory,) = run(requests(1), ScriptedEngine(lambda *_: "ahead", finish="length"), max_steps=2)
    (row,) = trajectory.rows
    first = trajectory.steps[0]
    assert first.info["finish"] == "length" and first.end - first.start == 5
    assert row.token_ids[first.end] == 2 and not row.mask[first.end]


def test_constrained_requests_carry_the_admissible_responses():
    engine = ScriptedEngine(ahead_then_open)
    run(requests(1), engine, constrained=True)
    expected = tuple(tuple(renderer().response(action)) for action in ("ahead", "open", "jump"))
    assert engine.allowed == [expected] * 3


def test_constrained_needs_admissible_actions():
    source = CorridorSource()
    env = source.make()
    original = env.info
    env.info = lambda valid: original(valid) | {"admissible_actions": []}
    source.make = lambda: env
    with pytest.raises(ConfigError, match="constrained"):
        run(requests(1), source=source, constrained=True)


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"max_steps": 0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError):
        run(requests(1), **settings)


@pytest.mark.parametrize("context", [APPEND, WindowContext(WindowConfig(think=False))])
def test_a_real_model_plays_the_same_whatever_the_concurrency_and_scores_as_it_sampled(context):
    model = tiny_model(seed=5)
    played = []
    for concurrency in (1, 5):
        engine = HfEngine(HfConfig(), SimpleNamespace(model=model))
        played.append(
            run(requests(6), engine, context=context, concurrency=concurrency, max_steps=4, max_new_tokens=10)
        )
        assert engine.sessions == 0
    for left, right in zip(*played, strict=True):
        assert [s.response for s in left.steps] == [s.response for s in right.steps]
        for a, b in zip(left.rows, right.rows, strict=True):
            assert (a.token_ids == b.token_ids).all() and (a.step_of_token == b.step_of_token).all()
            assert np.allclose(a.old_logprob, b.old_logprob, atol=1e-4, equal_nan=True)
    with torch.no_grad():
        for row in (row for trajectory in played[0] for row in trajectory.rows):
            ids = torch.from_numpy(row.token_ids).long()[None]
            scores = model(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])[:, 0].numpy()
            assert np.allclose(scores[row.mask[1:]], row.old_logprob[row.mask], atol=1e-4)


def test_constrained_real_model_only_writes_admissible_actions():
    engine = HfEngine(HfConfig(), SimpleNamespace(model=tiny_model(seed=5)))
    for trajectory in run(requests(4), engine, constrained=True, max_new_tokens=16):
        assert {step.action for step in trajectory.steps} <= {"ahead", "open", "jump"}
        assert all(step.info["finish"] == "stop" for step in trajectory.steps)
