"""Losses over demonstrations: the learner's gradient on a real model is that of the formula over whole episodes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from made_episodes import gradients, make_episode, naive_logprobs
from tiny import tiny_model
from torch import Tensor

from agentdistill.errors import PluginError
from agentdistill.learner.learner import Learner
from agentdistill.learner.losses import DemonstrationLoss
from agentdistill.learner.settings import LearnerSettings
from agentdistill.records import LossRole, Trajectory
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_losses.qcrd import ContrastConfig, ContrastLoss
from agentdistill_losses.redi import RediConfig, RediLoss

SUCCESS = [True, False, False]
SIZES = [[(6, 3), (2, 5)], [(4, 2)], [(3, 4), (1, 2), (2, 2)]]


def demonstrations() -> list[Trajectory]:
    """Three episodes of one task, imitated; nobody sampled them."""
    made = []
    for number, (turns, success) in enumerate(zip(SIZES, SUCCESS, strict=True)):
        episode = make_episode(None, turns, seed=number, roles=[LossRole.IMITATE] * len(turns), key="task")
        for row in episode.rows:
            row.mask[:] = False
            row.old_logprob[:] = float("nan")
        made.append(dataclasses.replace(episode, success=success))
    return made


def scores(model: torch.nn.Module, episodes: list[Trajectory]) -> list[Tensor]:
    """The mean log-probability of each episode's turns, with its graph."""
    means = []
    for episode in episodes:
        logprob = naive_logprobs(model, episode.rows[0].token_ids)
        means.append(torch.cat([logprob[s.start : s.end] for s in episode.steps]).mean())
    return means


def learned(model: torch.nn.Module, imitation: object, **settings: object) -> Tensor:
    learner = Learner(
        model,
        loss=None,
        imitation=imitation,  # type: ignore[arg-type]
        settings=LearnerSettings(**{"grad_clip": 0.0, "batch_tokens": 40, "head_chunk": 4} | settings),  # type: ignore[arg-type]
    )
    learner.accumulate(demonstrations())
    found = gradients(model)
    model.zero_grad(set_to_none=True)
    return found


def expected(model: torch.nn.Module, loss: Tensor) -> Tensor:
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = gradients(model)
    model.zero_grad(set_to_none=True)
    return found


@pytest.fixture
def model() -> torch.nn.Module:
    return tiny_model(0)


@pytest.mark.oracle
@pytest.mark.parametrize("batch_tokens", [20, 1000])
def test_negatives_are_their_formula(model: torch.nn.Module, batch_tokens: int) -> None:
    s = scores(model, demonstrations())
    formula = expected(model, -s[0] + 0.8 * (s[1] + s[2]) / 2)
    torch.testing.assert_close(
        learned(model, RediLoss(RediConfig()).imitation, batch_tokens=batch_tokens), formula, rtol=1e-4, atol=1e-5
    )


@pytest.mark.oracle
@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_contrast_is_its_formula(model: torch.nn.Module, tau: float) -> None:
    s = scores(model, demonstrations())
    formula = expected(model, -torch.log_softmax(torch.stack(s) / tau, 0)[0])
    got = learned(model, ContrastLoss(ContrastConfig(temperature=tau)).imitation)
    torch.testing.assert_close(got, formula, rtol=1e-4, atol=1e-5)


def test_a_factor_of_one_is_plain_imitation(model: torch.nn.Module) -> None:
    ones = learned(model, lambda tokens: torch.ones(len(tokens)))
    torch.testing.assert_close(ones, learned(model, None), rtol=0, atol=0)


def test_the_statistics_know_place_outcome_and_the_student(model: torch.nn.Module) -> None:
    seen = []
    learned(model, lambda tokens: (seen.append(tokens), torch.ones(len(tokens)))[1])
    (tokens,) = seen
    episodes = demonstrations()
    flat = [(e, s) for e, episode in enumerate(episodes) for s in episode.steps]
    assert tokens.position.tolist() == [i for _, s in flat for i in range(s.end - s.start)]
    assert tokens.turn.tolist() == [s.index for _, s in flat for _ in range(s.end - s.start)]
    assert tokens.success.tolist() == [SUCCESS[e] for e, s in flat for _ in range(s.end - s.start)]
    assert len(set(tokens.group.tolist())) == 1
    naive = torch.cat([naive_logprobs(model, episodes[e].rows[0].token_ids)[s.start : s.end].detach() for e, s in flat])
    torch.testing.assert_close(tokens.old_logprob, naive, rtol=1e-4, atol=1e-5)
    assert bool(tokens.teacher_logprob.isnan().all())


@pytest.mark.parametrize("answer", [None, torch.ones(2), lambda n: torch.full((n,), torch.nan)])
def test_an_unusable_answer_names_the_loss(model: torch.nn.Module, answer: object) -> None:
    def imitation(tokens):
        return answer(len(tokens)) if callable(answer) else answer

    with pytest.raises(PluginError, match="imitation"):
        learned(model, imitation)


def test_who_says_what_demonstrations_count() -> None:
    assert isinstance(RediLoss(RediConfig()), DemonstrationLoss)
    assert isinstance(ContrastLoss(ContrastConfig()), DemonstrationLoss)
    assert not isinstance(OpdLoss(OpdConfig()), DemonstrationLoss)
