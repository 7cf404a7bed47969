"""Rewards beside the teacher: the terms of the loss, their weights, and what the learner is told besides tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_episodes import gradients, make_episode, random_scores
from tiny import tiny_model, tiny_tokenizer

from agentdistill.errors import PluginError
from agentdistill.learner.batch import assemble
from agentdistill.learner.facts import BatchExtras, overlap, task_groups, token_roles
from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.learner import Learner
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import TokenRole
from agentdistill.records import LossRole, TeacherScores
from agentdistill_losses.opd import OpdConfig, OpdLoss

TURNS = [(6, 3), (2, 5), (3, 1)]


class Fixed(FusionBase):
    """Given scales and factors."""

    def __init__(self, kd=1.0, rl=1.0, factors=None):
        self.given, self.factors = Scales(kd, rl), factors

    def scales(self, progress):
        return self.given

    def weights(self, tokens):
        return self.factors(tokens) if self.factors else None


def episodes_and_scores(model):
    episodes = [make_episode(model, TURNS, seed=i) for i in range(3)]
    return episodes, random_scores(episodes, 5)


def advantages(episodes):
    return BatchExtras(
        rewards=[np.ones(len(e.steps), dtype=np.float32) for e in episodes],
        advantages=[np.full(len(e.steps), i - 1, np.float32) for i, e in enumerate(episodes)],
    )


def gradient(model, episodes, scores, extras, loss=True, **options):
    settings = LearnerSettings(grad_clip=0.0, **options.pop("settings", {}))
    learner = Learner(model, loss=OpdLoss(OpdConfig()) if loss else None, settings=settings, **options)
    metrics = learner.accumulate(episodes, scores, extras)
    return gradients(model), metrics


@pytest.fixture
def model():
    return tiny_model(0)


def test_two_advantages_add_up_on_policy(model):
    episodes, scores = episodes_and_scores(model)
    both, _ = gradient(model, episodes, scores, advantages(episodes))
    kd, _ = gradient(model, episodes, scores, None)
    rl, metrics = gradient(model, episodes, None, advantages(episodes), loss=False)
    assert torch.allclose(both, kd + rl, atol=1e-6)
    assert metrics["loss/rl"] == pytest.approx(-metrics["advantage/mean"], abs=1e-6)


def test_scales_and_branch_weights_act_on_their_branch(model):
    episodes, scores = episodes_and_scores(model)
    kd, _ = gradient(model, episodes, scores, None)
    rl, _ = gradient(model, episodes, None, advantages(episodes), loss=False)
    fused, metrics = gradient(model, episodes, scores, advantages(episodes), fusion=Fixed(0.25, 2.0))
    assert torch.allclose(fused, 0.25 * kd + 2.0 * rl, atol=1e-6)
    assert (metrics["fusion/kd"], metrics["fusion/rl"]) == (0.25, 2.0)
    halved, _ = gradient(
        model,
        episodes,
        scores,
        advantages(episodes),
        step_weight=lambda steps: {"rl": torch.full(steps.shape, 0.5)},
        token_weight=lambda tokens: torch.full((len(tokens),), 3.0),
    )
    assert torch.allclose(halved, 3.0 * kd + 0.5 * rl, atol=1e-5)


def test_a_scale_of_zero_is_the_other_branch_alone(model):
    episodes, scores = episodes_and_scores(model)
    kd, _ = gradient(model, episodes, scores, None)
    off, _ = gradient(model, episodes, scores, advantages(episodes), fusion=Fixed(1.0, 0.0))
    assert torch.equal(off, kd)
    rl, _ = gradient(model, episodes, None, advantages(episodes), loss=False)
    alone, _ = gradient(model, episodes, scores, advantages(episodes), fusion=Fixed(0.0, 1.0))
    assert torch.allclose(alone, rl, atol=1e-7)


def test_a_direct_loss_and_an_advantage_are_two_terms(model):
    episodes, scores = episodes_and_scores(model)
    loss = OpdLoss(OpdConfig(gradient="direct", estimator="k2"))
    learner = Learner(model, loss=loss, settings=LearnerSettings(grad_clip=0.0))
    metrics = learner.accumulate(episodes, scores, advantages(episodes))
    both = gradients(model)
    Learner(model, loss=loss, settings=LearnerSettings(grad_clip=0.0)).accumulate(episodes, scores)
    kd = gradients(model)
    rl, _ = gradient(model, episodes, None, advantages(episodes), loss=False)
    assert torch.allclose(both, kd + rl, atol=1e-6)
    assert {"loss/distill", "loss/rl"} <= metrics.keys()


def test_factors_of_a_fusion_multiply_weights_and_mean1_normalises_each_branch(model):
    episodes, scores = episodes_and_scores(model)
    plain, _ = gradient(model, episodes, scores, advantages(episodes))
    factors = Fixed(factors=lambda t: {"kd": torch.full((len(t),), 4.0), "rl": torch.full((len(t),), 0.1)})
    even, _ = gradient(model, episodes, scores, advantages(episodes), fusion=factors, settings={"weight_norm": "mean1"})
    assert torch.allclose(plain, even, atol=1e-6)


def test_micro_batches_do_not_change_a_fused_step(model):
    episodes, scores = episodes_and_scores(model)
    whole, _ = gradient(model, episodes, scores, advantages(episodes))
    cut, metrics = gradient(model, episodes, scores, advantages(episodes), settings={"batch_tokens": 8})
    assert metrics["batch/passes"] == 3.0 and torch.allclose(whole, cut, atol=1e-6)


def test_weights_of_an_unknown_branch_are_refused(model):
    episodes, scores = episodes_and_scores(model)
    with pytest.raises(PluginError, match="branch 'opd'"):
        gradient(model, episodes, scores, None, step_weight=lambda steps: {"opd": torch.ones(steps.shape)})


def test_a_weight_is_told_how_far_the_run_is(model):
    episodes, scores = episodes_and_scores(model)
    seen = []

    def weight(steps, progress):
        seen.append((progress.step, progress.total_steps, progress.fraction))
        return torch.ones(steps.shape)

    weight.takes_progress = True
    gradient(model, episodes, scores, None, step_weight=weight, settings={"steps": 4})
    assert seen == [(0, 4, 0.0)]


def test_statistics_know_the_episode():
    episodes = [make_episode(None, TURNS, seed=i) for i in range(2)]
    episodes[1].success = True
    episodes[0].steps[1].info["annotations"] = {"judge": 0.5}
    batch = assemble(episodes, random_scores(episodes, 0), extras=advantages(episodes))
    assert batch.tokens.success.tolist() == [bool(t) for t in batch.tokens.trajectory]
    assert batch.tokens.reward.unique().tolist() == [3.0]
    assert batch.tokens.advantage[batch.tokens.trajectory == 0].unique().tolist() == [-1.0]
    assert batch.facts.annotations[0] == {1: {"judge": 0.5}}
    assert batch.tokens.index.tolist() == list(range(len(batch.tokens)))


def test_episodes_of_one_task_share_a_group():
    episodes = [make_episode(None, TURNS, seed=i) for i in (0, 1, 0)]
    assert task_groups(episodes).tolist() == [0, 1, 0]


def test_overlap_counts_shared_favourites():
    row = make_episode(None, [(2, 2)], seed=0).rows[0]
    length = len(row)
    row.old_top_ids = np.full((length, 2), -1, dtype=np.int32)
    row.old_top_ids[2:4] = [[5, 6], [7, 8]]
    scores = TeacherScores(np.zeros(length, np.float32), np.ones(length, bool))
    assert np.isnan(overlap(row, scores)).all()
    scores.topk_ids = np.tile(np.array([6, 9, 7], dtype=np.int32), (length, 1))
    assert overlap(row, scores)[2:4].tolist() == [0.5, 0.0]  # the third of the teacher's does not count
    assert np.isnan(overlap(row, scores)[:2]).all()


def test_roles_find_the_command_and_the_special_tokens():
    tokenizer = tiny_tokenizer()
    response = "I think so. <action>go to box 1</action>"
    ids = [*tokenizer.encode(response), tokenizer.eos_token_id]
    episode = make_episode(None, [(2, len(ids))], seed=0)
    step, row = episode.steps[0], episode.rows[0]
    row.token_ids[step.start : step.end] = ids
    step.response, step.action = response, "go to box 1"
    roles = token_roles(episode, 0, tokenizer)[step.start : step.end]
    action = "".join(tokenizer.decode([i]) for i, role in zip(ids, roles, strict=True) if role == TokenRole.ACTION)
    assert action == "go to box 1" and roles[-1] == TokenRole.SPECIAL
    assert (roles == TokenRole.TEXT).sum() == len(ids) - len("go to box 1") - 1
    assert (token_roles(episode, 0, tokenizer)[: step.start] == 0).all()
    (opinion,) = random_scores([episode])
    expected = {"text": len(ids) - len("go to box 1") - 1, "action": len("go to box 1"), "special": 1}
    for role in (LossRole.DISTILL, LossRole.IMITATE):
        step.loss_role = role
        counts = assemble([episode], [opinion], tokenizer=tokenizer).counts
        assert {name: counts[f"tokens/{role.value}/{name}"] for name in expected} == expected
    assert not any(name.endswith("/action") for name in assemble([episode], [opinion]).counts)
