"""Fusions go on after a resume as if nothing had happened, and give weights that the learner takes."""

from __future__ import annotations

import json
import random

import pytest
import torch
from made_rewarded import tokens

from agentdistill.learner.fusion import Fusion
from agentdistill.learner.progress import LearnerProgress
from agentdistill.plugins import PluginRegistry

NAMES = ["additive", "kdrl", "atod", "switch", "tide", "rlsd", "agentopsd", "trial", "scope", "srpo"]
OPTIONS = {"switch": {"at": 25, "plateau": True, "earliest": 3, "window": 4}, "tide": {"window": 3, "rate": 0.3}}


def make(name: str) -> Fusion:
    return PluginRegistry.load().build("fusion", {"type": name, **OPTIONS.get(name, {})})


def walk(fusion: Fusion, start: int, stop: int) -> list[tuple[float, float]]:
    seen = []
    for step in range(start, stop):
        scales = fusion.scales(LearnerProgress(step, 40))
        seen.append((scales.kd, scales.rl))
        fusion.observe({"kl/abs_token": 0.995**step + 0.001 * random.Random(step).random(), "loss": 1.0})
    return seen


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [0, 5, 17])
def test_resume(name, cut):
    fusion = make(name)
    assert isinstance(fusion, Fusion)
    whole = walk(fusion, 0, 40)
    first = make(name)
    begun = walk(first, 0, cut)
    second = make(name)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + walk(second, cut, 40) == whole
    assert all(kd >= 0 and rl >= 0 and kd + rl > 0 for kd, rl in whole)


@pytest.mark.parametrize("name", NAMES)
def test_weights_keep_shape_dtype_and_device(name):
    t = tokens([[2, 3], [1], [4, 1]], advantage=[[1.0, -1.0], [0.0], [2.0, 0.5]], dtype=torch.float32,
               success=[True, False, True], group=[0, 0, 1])  # fmt: skip
    weights = make(name).weights(t)
    assert weights is None or set(weights) <= {"kd", "rl"}
    for weight in (weights or {}).values():
        assert weight.shape == (len(t),) and weight.dtype == torch.float32
        assert torch.isfinite(weight).all() and (weight >= 0).all()
