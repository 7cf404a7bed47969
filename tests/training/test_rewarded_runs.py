"""Runs with rewards: what a recipe may combine, what is logged, what is refused, and that they resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_episodes import make_episode
from safetensors.torch import load_file
from tiny_runs import interrupt, metrics_of, weights_of

from agentdistill.errors import ConfigError, PluginError
from agentdistill.records import LossRole, StopReason
from agentdistill.training.rewarded import RewardedBatch, RewardTerm, advantage_metrics, total_rewards, without_turns
from agentdistill_advantages.grpo import GrpoConfig, grpo

REWARDED = {
    "reward.type": "toy_judges:talkative",
    "advantage.type": "toy_judges:centred",
    "rollout.samples_per_task": 2,
    "rollout.tasks_per_step": 2,
}


def test_rewards_beside_a_teacher(make_run) -> None:
    run = make_run(**REWARDED, fusion__type="toy_judges:Growing")
    run.train()
    metrics = metrics_of(run)
    assert [m["fusion/rl"] for m in metrics] == pytest.approx([0.1 * i for i in range(6)])
    assert all(m["reward/mean"] == m["reward/talkative"] > 0 for m in metrics)
    assert all(m["advantage/groups"] == 2 and m["advantage/group_size"] == 2 for m in metrics)


def test_rewards_alone_need_no_teacher(make_run) -> None:
    run = make_run(**REWARDED, teacher=False, loss=False)
    run.train()
    assert all("loss/rl" in m and "loss/distill" not in m for m in metrics_of(run))
    quiet = make_run("quiet", teacher=False, loss=False, **{**REWARDED, "reward.weight": 0.0})
    quiet.train()
    flat = [m["advantage/flat_groups"] for m in metrics_of(quiet)]
    assert flat == [1.0] * 6 and all(m["loss/rl"] == 0 for m in metrics_of(quiet))


def test_a_rewarded_run_resumes_as_if_nothing_had_happened(make_run) -> None:
    options = {**REWARDED, "fusion.type": "toy_judges:Growing"}
    whole = make_run("whole", **options)
    whole.train()
    interrupt(make_run("broken", **options), after=4)
    resumed = make_run("broken", run__resume=True, **options)
    resumed.train()
    assert weights_of(whole) == weights_of(resumed)


def test_what_methods_ask_for_is_there(make_run) -> None:
    known = make_run(token_weight__type="toy_judges:everything_known", reward__type="toy_judges:Judge", optim__steps=2)
    known.train()
    assert [m["weight/token_mean"] for m in metrics_of(known)] == [2.0] * 2  # it was asked
    run = make_run("judged", **{**REWARDED, "reward.type": "toy_judges:Judge"}, step_weight__type="toy_judges:judged")
    run.train()
    assert [m["weight/step_mean"] for m in metrics_of(run)] == [2.0] * 6


def test_filters_leave_turns_out_and_say_how_many(make_run) -> None:
    run = make_run(filter__type="toy_judges:first_turn_only", curriculum__type="full", optim__steps=2)
    run.train()
    metrics = metrics_of(run)
    assert all(m["turns/distill"] <= m["rollout/episodes"] and m["tokens/unused"] > 0 for m in metrics)
    assert all(m["batch/empty"] == 0 for m in metrics)


def test_a_batch_that_filters_empty_is_counted_and_passed_over(make_run, models) -> None:
    run = make_run(filter__type="toy_judges:nothing", optim__steps=3)
    run.train()
    assert [m["batch/empty"] for m in metrics_of(run)] == [1.0] * 3
    assert [m["optim/step"] for m in metrics_of(run)] == [1.0, 2.0, 3.0]
    before, after = (
        load_file(folder / "model.safetensors") for folder in (models / "student", run.directory / "student")
    )
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"advantage.type": "toy_judges:centred"}, r"has no rewards to compare"),
        ({"fusion.type": "toy_judges:Growing"}, r"has nothing to join"),
        ({"step_weight.type": "toy_judges:judged"}, r"annotation `judge`, and no reward writes it"),
        ({"loss": False}, r"no \[loss\]"),
        (
            {"teacher.type": "expert", "token_weight.type": "toy_judges:everything_known"},
            r"recipe needs .*scores, which the teacher cannot give",
        ),
    ],
)
def test_what_does_not_fit_together_is_said_at_start(make_run, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_run(**options).train()


def test_a_reward_that_is_not_finite_names_the_episode(make_run) -> None:
    with pytest.raises(PluginError, match=r"not finite.*alfworld/"):
        make_run(**{**REWARDED, "reward.type": "toy_judges:not_finite"}).train()


def test_terms_are_weighted_and_logged_one_by_one() -> None:
    episodes = [make_episode(None, [(2, 2)] * n, seed=n) for n in (1, 3)]
    terms = [
        RewardTerm("one", 2.0, lambda ts: [np.ones(len(t.steps), np.float32) for t in ts]),
        RewardTerm("two", -1.0, lambda ts: [np.arange(len(t.steps), dtype=np.float32) for t in ts]),
    ]
    total, metrics = total_rewards(terms, episodes)
    assert [t.tolist() for t in total] == [[2.0], [2.0, 1.0, 0.0]]
    assert metrics == {"reward/one": 2.0, "reward/two": 1.5, "reward/mean": 2.5, "reward/std": 0.5}


def test_groups_that_teach_nothing_are_counted_by_their_advantages() -> None:
    stops = (StopReason.SUCCESS, StopReason.HORIZON, StopReason.SUCCESS, StopReason.FAILURE)
    episodes = [make_episode(None, [(2, 2)], seed=n, stop=stop) for n, stop in enumerate(stops)]
    batch = RewardedBatch(episodes, [np.array([1.0 - n % 2], np.float32) for n in range(4)], np.array([0, 0, 1, 1]))
    # The rewards of the first group differ, but nobody knows whether the episode that was cut would have been won.
    for count_cut, flat in ((False, 0.5), (True, 0.0)):
        found = advantage_metrics(batch, grpo(batch, GrpoConfig(count_cut=count_cut)))
        assert found == {
            "advantage/groups": 2.0,
            "advantage/group_size": 2.0,
            "advantage/flat_groups": flat,
            "advantage/cut": 0.25,
        }


def test_turns_left_out_leave_the_given_episode_alone() -> None:
    episode = make_episode(None, [(2, 2), (2, 2)], seed=0)
    kept = without_turns(episode, np.array([True, False]))
    assert [s.loss_role for s in kept.steps] == [LossRole.DISTILL, LossRole.NONE]
    assert [s.loss_role for s in episode.steps] == [LossRole.DISTILL] * 2
