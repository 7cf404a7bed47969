"""Optimiser steps: they learn, they resume bit for bit, they stop on a non-finite loss, they report."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from made_episodes import make_episode, random_scores
from tiny import tiny_model

from agentdistill.errors import CheckpointError, ConfigError, TrainingError
from agentdistill.learner.heads import split_model
from agentdistill.learner.learner import Learner
from agentdistill.learner.losses import PolicyGradient
from agentdistill.learner.metrics import curve
from agentdistill.learner.optim import learning_rate
from agentdistill.learner.settings import LearnerSettings
from agentdistill.records import LossRole, ScoreRequest, StopReason
from agentdistill.teachers.scoring import score_rows
from agentdistill_losses.opd import OpdConfig, OpdLoss


class LossOf:
    """A loss with a given objective."""

    request = ScoreRequest()

    def __init__(self, objective):
        self.objective = objective


TURNS = [(6, 3), (2, 5), (3, 1)]


def batch(step: int, model=None):
    episodes = [make_episode(model, TURNS[: 1 + (i + step) % 3], seed=10 * step + i) for i in range(3)]
    return episodes, random_scores(episodes, step)


def make(model, **settings):
    return Learner(model, loss=OpdLoss(OpdConfig()), settings=LearnerSettings(**{"lr": 1e-3, "steps": 6} | settings))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_resumed_run_is_bit_equal(dropout, tmp_path):
    def fresh():
        return tiny_model(0, attention_dropout=dropout)

    whole = fresh()
    learner = make(whole, warmup=2, decay="cosine")
    for step in range(6):
        torch.rand(3)  # somebody else draws from the global generator
        learner.step(*batch(step))
        if step == 2:
            torch.save({"model": whole.state_dict(), "learner": learner.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = fresh()
    resumed.load_state_dict(state["model"])
    again = make(resumed, warmup=2, decay="cosine")
    again.load_state_dict(state["learner"])
    for step in range(3, 6):
        again.step(*batch(step))
    assert torch.equal(weights(whole), weights(resumed))
    assert not torch.equal(weights(whole), weights(fresh()))


def test_a_step_leaves_the_global_generator_alone():
    learner = make(tiny_model(0, attention_dropout=0.1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    learner.step(*batch(0))
    assert torch.equal(before, torch.get_rng_state())


def test_same_seed_same_bytes():
    runs = []
    for _ in range(2):
        model = tiny_model(0)
        learner = make(model)
        metrics = [learner.step(*batch(step)) for step in range(3)]
        runs.append((weights(model), metrics))
    assert torch.equal(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]


def test_state_of_another_run_is_refused():
    state = make(tiny_model(0)).state_dict()
    with pytest.raises(CheckpointError, match="seed 0, this run has seed 1"):
        make(tiny_model(0), seed=1).load_state_dict(state)
    model = tiny_model(0)
    model.model.embed_tokens.weight.requires_grad_(False)
    with pytest.raises(CheckpointError, match="does not fit"):
        make(model).load_state_dict(state)


@pytest.mark.parametrize(
    "config",
    [
        OpdConfig(),
        OpdConfig(gradient="direct", estimator="k2"),
        OpdConfig(support="full"),
        OpdConfig(support="full", divergence="forward-kl"),
        OpdConfig(support="full", divergence="jsd"),
    ],
)
def test_distillation_brings_the_student_to_its_teacher(config):
    """On fixed contexts with tokens sampled anew by the student, the full reverse KL to the teacher falls."""
    student, teacher = tiny_model(0), tiny_model(1)
    parts = split_model(teacher)
    settings = LearnerSettings(lr=1e-2, steps=40, batch_tokens=4096)
    learner = Learner(student, loss=OpdLoss(config), settings=settings, teacher_weight=parts.weight.detach())
    contexts = torch.arange(3, 35).view(4, 8)
    generator = torch.Generator().manual_seed(0)

    def gap() -> float:
        with torch.no_grad():
            own = student(input_ids=contexts).logits[:, -1].log_softmax(-1)
            other = teacher(input_ids=contexts).logits[:, -1].log_softmax(-1)
        return float((own.exp() * (own - other)).sum(-1).mean())

    before = gap()
    for _ in range(settings.steps):
        with torch.no_grad():
            own = student(input_ids=contexts).logits[:, -1].log_softmax(-1)
        samples = torch.multinomial(own.exp(), 16, replacement=True, generator=generator)
        episodes = []
        for c in range(4):
            for token in samples[c].tolist():
                e = make_episode(turns=[(8, 1)])
                e.rows[0].token_ids[:] = [*contexts[c].tolist(), token]
                e.rows[0].old_logprob[8] = float(own[c, token])
                episodes.append(e)
        rows = [e.rows[0] for e in episodes]
        scores = score_rows(parts, rows, ScoreRequest(hidden=config.support == "full"))
        learner.step(episodes, [[s] for s in scores])
    # Sixteen sampled tokens tell less than the whole vocabulary.
    assert gap() < (0.35 if config.support == "full" else 0.65) * before


def test_non_finite_loss_stops_names_the_episode_and_dumps_the_batch(tmp_path):
    model = tiny_model(0)
    before = weights(model)
    learner = make(model, dump_directory=tmp_path)
    episodes, scores = batch(0)
    learner.token_weights = (lambda tokens: torch.where(tokens.trajectory == 1, 1e38, 1.0),)
    scores[1][0].sampled_logprob[episodes[1].rows[0].mask] = -1e30
    learner.loss = LossOf(PolicyGradient(learner.objective.advantage, advantage_clip=math.inf))
    with pytest.raises(TrainingError, match="not finite at step 0") as caught:
        learner.step(episodes, scores)
    assert "The loss of the episode made/train/seed-1 (sample 0)" in str(caught.value)
    dump = torch.load(tmp_path / "nonfinite-step-0.pt", weights_only=True)
    assert dump["episodes"][1] == "made/train/seed-1 (sample 0)"
    assert torch.equal(before, weights(model)) and learner.steps_done == 0


def test_a_broken_loss_function_is_traced_to_its_episode(tmp_path):
    model = tiny_model(0)
    learner = make(model, dump_directory=tmp_path)
    learner.loss = LossOf(
        PolicyGradient(lambda t: torch.where(t.trajectory == 2, torch.tensor(float("nan")), t.teacher_logprob))
    )
    with pytest.raises(TrainingError, match=r"The loss of the episode made/train/seed-2 \(sample 0\) is not finite"):
        learner.step(*batch(0))
    assert (tmp_path / "nonfinite-step-0.pt").is_file()


def test_broken_weights_of_the_model_are_caught(tmp_path):
    model = tiny_model(0)
    learner = make(model, dump_directory=tmp_path)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        learner.step(*batch(0))


def test_nothing_to_train_on_is_an_error():
    learner = make(tiny_model(0))
    episodes = [make_episode(stop=StopReason.ABORTED)]
    with pytest.raises(TrainingError, match="1 aborted"):
        learner.step(episodes, random_scores(episodes))
    episodes, scores = batch(0)
    for opinions in scores:
        for opinion in opinions:
            opinion.valid[:] = False
    with pytest.raises(TrainingError, match=r"\d+ sampled tokens without a teacher score"):
        learner.step(episodes, scores)


def test_full_support_without_a_teachers_layer_is_refused_at_once():
    with pytest.raises(ConfigError, match="no output layer"):
        Learner(tiny_model(0), loss=OpdLoss(OpdConfig(support="full")))


def test_models_whose_logits_are_not_linear_are_refused():
    class Capped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.base_model, self.config = inner, inner.base_model, inner.config

        def get_output_embeddings(self):
            return self.inner.lm_head

        def forward(self, **inputs):
            out = self.inner(**inputs)
            out.logits = 2.0 * torch.tanh(out.logits / 2.0)
            return out

    with pytest.raises(TrainingError, match="scales, caps or adapts"):
        split_model(Capped(tiny_model(0)))
    with pytest.raises(TrainingError, match="cannot be trained here"):
        split_model(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1.0] * 5),
        ({"warmup": 2}, [0.5, 1.0, 1.0, 1.0, 1.0]),
        ({"decay": "linear"}, [1.0, 0.75, 0.5, 0.25, 0.0]),
        ({"decay": "linear", "warmup": 2, "final_lr_ratio": 0.5}, [0.5, 1.0, 1.0, 0.75, 0.5]),
        ({"decay": "cosine"}, [1.0, 0.5 + 0.25 * 2**0.5, 0.5, 0.5 - 0.25 * 2**0.5, 0.0]),
    ],
)
def test_schedule(options, expected):
    settings = LearnerSettings(lr=2.0, steps=5, **options)
    assert [learning_rate(settings, s) / 2.0 for s in range(5)] == pytest.approx(expected)
    assert learning_rate(settings, 99) == learning_rate(settings, 4)


@pytest.mark.parametrize("bad", [{"lr": -1}, {"steps": 0}, {"alpha": 2}, {"reduction": "sum"}, {"batch_tokens": 0}])
def test_bad_settings_are_named(bad):
    with pytest.raises(ConfigError, match=f"`{next(iter(bad))}`"):
        LearnerSettings(**bad)


def test_gradient_clipping_reports_the_norm_before():
    model = tiny_model(0)
    learner = make(model, grad_clip=1e-3)
    metrics = learner.accumulate(*batch(0))
    clipped = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert metrics["optim/grad_norm"] > 1e-3 and float(clipped) == pytest.approx(1e-3, rel=1e-3)


def test_metrics_tell_the_curves_over_the_turn_index():
    model = tiny_model(0)
    learner = Learner(
        model,
        loss=OpdLoss(OpdConfig()),
        step_weight=lambda steps: 1.0 / (1.0 + steps.index.float()),
        settings=LearnerSettings(lr=0.0),
    )
    episodes = [make_episode(model, TURNS[:n], seed=n, replayed=n - 1) for n in (1, 3)]
    scores = random_scores(episodes)
    first = learner.step(episodes, scores)
    sums: dict[int, list[float]] = {}
    for episode, opinions in zip(episodes, scores, strict=True):
        row, opinion = episode.rows[0], opinions[0]
        for t in np.flatnonzero(row.mask):
            gap = float(row.old_logprob[t]) - float(opinion.sampled_logprob[t])
            sums.setdefault(int(row.step_of_token[t]), []).append(gap)
    got = curve(first, "kl")
    assert list(got) == sorted(sums)
    for turn, values in sums.items():
        assert got[turn] == pytest.approx(float(np.mean(values)), rel=1e-4)
        assert curve(first, "weight")[turn] == pytest.approx(1 / (1 + turn))
        assert first[f"turn/{turn}/tokens"] == len(values)
    # Two steps add up to one step over both batches.
    more = [make_episode(model, TURNS, seed=7)]
    second = learner.step(more, random_scores(more, 7))
    together = learner.step([*episodes, *more], [*scores, *random_scores(more, 7)])
    added = {key: first.get(key, 0) + second.get(key, 0) for key in {**first, **second} if key.startswith("turn/")}
    for name in ("kl", "weight", "teacher_logprob"):
        assert curve(added, name) == pytest.approx(curve(together, name))


def test_metrics_of_an_on_policy_batch():
    model = tiny_model(0)
    learner = make(model)
    roles = [LossRole.DISTILL, LossRole.IMITATE, LossRole.NONE]
    episodes = [make_episode(model, TURNS, seed=1), make_episode(model, TURNS, seed=2, roles=roles)]
    scores = random_scores(episodes)
    scores[0][0].valid[6] = False
    metrics = learner.step(episodes, scores)
    assert metrics["gap/logprob_max"] < 1e-5 and metrics["ratio/clip_rate"] == 0
    assert (metrics["tokens/distill"], metrics["tokens/dead"], metrics["tokens/imitate"]) == (11, 1, 5)
    assert metrics["loss"] == pytest.approx(metrics["loss/distill"] + metrics["loss/imitate"], rel=1e-5)
    assert metrics["loss/distill"] == pytest.approx(metrics["kl/token"], rel=1e-5)
    assert metrics["weight/step_ess"] == pytest.approx(1.0) and metrics["weight/step_mean"] == 1.0
    assert metrics["episodes/effective"] == pytest.approx(11**2 / (8**2 + 3**2))
    assert metrics["optim/lr"] == 1e-3 and metrics["optim/step"] == 1
    assert all(isinstance(v, float) and math.isfinite(v) for v in metrics.values())


def test_ratio_clipping_is_counted():
    model = tiny_model(0)
    learner = make(model)
    episodes, scores = batch(0, model)
    stale = copy.deepcopy(episodes)
    for episode, opinions in zip(stale, scores, strict=True):
        for row, opinion in zip(episode.rows, opinions, strict=True):
            row.old_logprob -= 1.0  # the student has moved up by one nat ...
            opinion.sampled_logprob[:] = row.old_logprob + 0.5  # ... where the teacher wanted half of it
    assert learner.accumulate(stale, scores)["ratio/clip_rate"] == 1.0


def test_tokens_that_a_surrogate_drops_count_as_clipped():
    from agentdistill_surrogates.trust_region import TrustRegion, TrustRegionConfig

    model = tiny_model(0)
    learner = make(model)
    learner.surrogate = TrustRegion(TrustRegionConfig(drift=0.0))
    episodes, scores = batch(0, model)
    for episode in episodes:
        for row in episode.rows:
            row.old_logprob[row.mask] = -1e-4  # the student has fallen far below where it was
    assert learner.accumulate(episodes, scores)["ratio/clip_rate"] > 0.5


def test_models_that_look_ahead_are_refused():
    """Rows are padded on the right without a mask, which only a causal model may be given."""
    model = tiny_model(0)
    model.model.register_forward_hook(lambda m, a, out: setattr(out, "last_hidden_state", _mixed(out)))
    with pytest.raises(TrainingError, match="looks at what follows"):
        split_model(model)


def _mixed(out):
    return out.last_hidden_state + out.last_hidden_state.mean(1, keepdim=True)


def test_too_many_rows_without_any_score_stop_the_run():
    learner = make(tiny_model(0), max_dead_rows=0.3)
    episodes, scores = batch(0)
    scores[0][0].valid[:] = False
    with pytest.raises(TrainingError, match=r"no score for 1 of the 3 rows of step 0.*`optim\.max_dead_rows`"):
        learner.step(episodes, scores)
    metrics = make(tiny_model(0)).step(episodes, scores)
    assert (metrics["rows/asked"], metrics["rows/dead"]) == (3.0, 1.0)
