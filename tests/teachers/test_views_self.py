"""The student as its own teacher: which of its weights, how they move, what of them is kept."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from made_episodes import random_scores
from played_corridors import corridors, student

from agentdistill.errors import CheckpointError, TrainingError
from agentdistill.learner.learner import Learner
from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.learner.settings import LearnerSettings
from agentdistill.records import ScoreRequest
from agentdistill.teachers.following import Average, copy_of
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.self_teacher import SelfConfig, SelfTeacher

REQUEST = ScoreRequest(top_k=5, hidden=True, entropy=True, confidence=True)


def moved(model, steps: int = 3, lr: float = 1e-2, after=None):
    """Optimiser steps towards random scores."""
    learner = Learner(model, loss=OpdLoss(OpdConfig()), settings=LearnerSettings(lr=lr, steps=steps))
    for step in range(1, steps + 1):
        trajectories = corridors()
        learner.step(trajectories, random_scores(trajectories, step))
        if after is not None:
            after(step)


def flat(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def sampled(teacher, trajectories=None):
    return teacher.score(trajectories or corridors(), ScoreRequest())[0][0].sampled_logprob


def with_lora():
    made = student()
    made.model = add_lora(made.model, LoraSettings(rank=4))
    return made


every_student = pytest.mark.parametrize("make", [student, with_lora])


@every_student
def test_frozen_weights_do_not_follow_and_live_ones_do(make):
    model = make()
    frozen, live = SelfTeacher(SelfConfig(), model), SelfTeacher(SelfConfig(weights="live"), model)
    before, print_before = sampled(frozen), frozen.fingerprint
    assert np.array_equal(before, sampled(live), equal_nan=True)
    moved(model, after=lambda step: (frozen.after_step(step), live.after_step(step)))
    assert np.array_equal(before, sampled(frozen), equal_nan=True) and frozen.fingerprint == print_before
    same = LocalTeacher(LocalConfig(model="now"), model)
    assert np.array_equal(sampled(same), sampled(live), equal_nan=True)
    assert np.abs(before - sampled(live))[~np.isnan(before)].max() > 1e-3
    assert frozen.cacheable and not live.cacheable and not live.metrics() and live.fingerprint != print_before


@pytest.mark.oracle
@every_student
def test_the_average_moves_by_its_formula(make):
    model, rate = make(), 0.25
    teacher = SelfTeacher(SelfConfig(weights="ema", rate=rate), model)
    expected = {name: p.detach().clone() for name, p in model.model.named_parameters() if p.requires_grad}

    def follow(step):
        teacher.after_step(step)
        for name, p in model.model.named_parameters():
            if p.requires_grad:
                expected[name] = (1 - rate) * expected[name] + rate * p.detach()

    moved(model, after=follow)
    kept = teacher.state_dict()
    assert kept["updates"] == 3 and set(kept["average"]) == set(expected) and teacher.metrics() == {"updates": 3.0}
    for name, mean in kept["average"].items():
        torch.testing.assert_close(mean, expected[name], atol=1e-7, rtol=1e-6)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in other.model.named_parameters():
            if name in expected:
                p.copy_(expected[name])
    np.testing.assert_allclose(sampled(teacher), sampled(LocalTeacher(LocalConfig(model="mean"), other)), atol=1e-5)


@pytest.mark.oracle
@every_student
@pytest.mark.parametrize("rate", [0.05, 0.5, 1.0])
def test_a_trust_region_is_a_mix_of_logits(make, rate):
    model = make()
    teacher = SelfTeacher(SelfConfig(weights="trust-region", rate=rate), model)
    began = copy.deepcopy(model.model)
    moved(model, after=teacher.after_step)
    trajectories = corridors()
    for trajectory, (opinion,) in zip(trajectories, teacher.score(trajectories, REQUEST), strict=True):
        (row,) = trajectory.rows
        ids = torch.from_numpy(row.token_ids.astype("int64"))[None]
        with torch.no_grad():
            z0, z1 = began(input_ids=ids).logits[0], model.model(input_ids=ids).logits[0]
        expected = ((1 - rate) * z0 + rate * z1).log_softmax(-1)
        for t in np.flatnonzero(row.mask):
            logp = expected[t - 1]
            assert opinion.sampled_logprob[t] == pytest.approx(float(logp[row.token_ids[t]]), abs=2e-5)
            np.testing.assert_allclose(opinion.topk_logprobs[t], logp.topk(5).values, atol=2e-5)
            assert opinion.entropy[t] == pytest.approx(float(-(logp.exp() * logp).sum()), abs=1e-4)
            assert opinion.confidence[t] == pytest.approx(float(logp.max().exp()), abs=1e-5)
            logits = torch.as_tensor(opinion.hidden[t]) @ teacher.output_weight().T
            np.testing.assert_allclose(logits.log_softmax(-1), logp, atol=2e-5)


def test_a_copy_shares_what_is_not_trained():
    model = with_lora()
    made = copy_of(model.model)
    theirs = dict(made.named_parameters())
    for name, p in model.model.named_parameters():
        assert (theirs[name] is p) == (not p.requires_grad), name
    assert not any(p.requires_grad for p in made.parameters()) and not made.training
    assert any(p.requires_grad for p in model.model.parameters()), "the student is still trained"
    own = sum(p.numel() for p in made.parameters() if p is not None) - sum(
        p.numel() for p in model.model.parameters() if not p.requires_grad
    )
    assert own == sum(p.numel() for p in model.model.parameters() if p.requires_grad)
    whole = student()
    assert not {id(p) for p in copy_of(whole.model).parameters()} & {id(p) for p in whole.model.parameters()}


def test_small_steps_do_not_vanish_in_sixteen_bits():
    model = student()
    model.model.to(torch.bfloat16)
    average = Average(model.model, 0.01)
    name, weight = next(iter(model.model.named_parameters()))
    began = weight.detach().float().clone()
    with torch.no_grad():
        weight.mul_(1.0625)
    for _ in range(50):
        average.update()
    share = 1 - 0.99**50
    expected = torch.lerp(began, weight.detach().float(), share)
    kept = average.state_dict()["average"][name]
    torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-6)
    assert dict(average.model.named_parameters())[name].dtype == torch.bfloat16


@every_student
def test_its_state_comes_back_bit_for_bit(make, tmp_path):
    model = make()
    teacher = SelfTeacher(SelfConfig(weights="ema", rate=0.1), model)
    moved(model, after=teacher.after_step)
    torch.save(teacher.state_dict(), tmp_path / "state.pt")
    again = SelfTeacher(SelfConfig(weights="ema", rate=0.1), make())
    assert not np.array_equal(sampled(teacher), sampled(again), equal_nan=True)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert np.array_equal(sampled(teacher), sampled(again), equal_nan=True)
    assert teacher.fingerprint == again.fingerprint
    for state in ({}, {"average": {"x": torch.zeros(1)}, "updates": 1}):
        with pytest.raises(CheckpointError, match="do not fit the student"):
            again.load_state_dict(state)


def test_a_student_without_trained_weights_has_no_average():
    model = student()
    model.model.requires_grad_(False)
    with pytest.raises(TrainingError, match="nothing to average"):
        SelfTeacher(SelfConfig(weights="ema"), model)


def test_what_it_declares():
    teacher = SelfTeacher(SelfConfig(), student())
    assert teacher.capabilities == {"sampled", "top_k", "entropy", "confidence", "hidden"}
    assert teacher.output_weight().shape == (259, 32) and not teacher.output_weight().requires_grad
    region = SelfTeacher(SelfConfig(weights="trust-region"), student())
    assert region.output_weight().shape == (259, 64)
    assert SelfTeacher(SelfConfig(weights="trust-region"), with_lora()).output_weight().shape == (259, 32)
    with pytest.raises(TrainingError):
        teacher.policy()
