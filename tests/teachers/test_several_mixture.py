"""Mixtures against the distributions of real models, enumerated; bounds where members show only their top k."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_episodes import make_episode
from tiny import VOCAB, tiny_model, tiny_tokenizer

from agentdistill.errors import TrainingError
from agentdistill.models import LoadedModel
from agentdistill.records import ScoreRequest, TeacherScores
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.mixing import mix_sampled, mix_top
from agentdistill_teachers.mixture import MixtureConfig, MixtureTeacher

WEIGHTS = {"a": 3.0, "b": 1.0}


def local(seed: int, hidden: int = 32) -> LocalTeacher:
    loaded = LoadedModel(tiny_model(seed, hidden=hidden), tiny_tokenizer(), f"m{seed}", None, f"f{seed}")
    return LocalTeacher(LocalConfig(model="x"), loaded)


class Server:
    """A local teacher that shows no more than a server does."""

    needs: frozenset[str] = frozenset()
    capabilities = frozenset({"sampled", "top_k"})
    tokenizer = None
    fingerprint = "server"

    def __init__(self, teacher):
        self.teacher = teacher

    def score(self, trajectories, request):
        assert not request.hidden and not request.entropy
        return self.teacher.score(trajectories, ScoreRequest(top_k=request.top_k))


def mixture(teachers, **options) -> MixtureTeacher:
    return MixtureTeacher(MixtureConfig(members={name: {} for name in teachers}, **options), teachers)


def enumerated(teachers, weights, row) -> torch.Tensor:
    """[T - 1, V] probabilities of the mixture at positions 1.., by plain softmax in float64."""
    ids = torch.from_numpy(row.token_ids.astype("int64"))[None]
    total = 0.0
    for teacher, weight in zip(teachers, weights, strict=True):
        logits = teacher.loaded.model(input_ids=ids).logits[0, :-1].double()
        total = total + weight * logits.softmax(-1)
    return total.detach()


@pytest.mark.oracle
def test_every_score_of_a_mixture_of_models_is_that_of_the_enumerated_mixture():
    teachers = {"a": local(1), "b": local(2, hidden=64)}
    made = mixture(teachers, weights=WEIGHTS)
    assert made.capabilities == {"sampled", "top_k", "hidden", "entropy", "confidence"}
    episode = make_episode(None, ((5, 4), (3, 6)))
    (row,) = episode.rows
    request = ScoreRequest(top_k=8, hidden=True, entropy=True, confidence=True)
    (scores,) = made.score([episode], request)[0]
    truth = enumerated(teachers.values(), (0.75, 0.25), row)
    at = np.flatnonzero(row.step_of_token >= 0)
    assert scores.valid[at].all() and scores.valid.sum() == len(at) and (scores.source[~scores.valid] == -1).all()
    p = truth[at - 1]
    ids = torch.from_numpy(row.token_ids[at].astype("int64"))
    assert np.allclose(scores.sampled_logprob[at], p.gather(1, ids[:, None]).squeeze(1).log(), atol=1e-5)
    best = p.topk(8, dim=-1)
    assert np.array_equal(scores.topk_ids[at], best.indices.numpy())
    assert np.allclose(scores.topk_logprobs[at], best.values.log(), atol=1e-5)
    assert np.allclose(scores.entropy[at], -(p * p.log()).sum(-1), atol=1e-4)
    assert np.allclose(scores.confidence[at], p.max(-1).values, atol=1e-5)
    whole = scores.hidden[torch.from_numpy(at)] @ made.output_weight().T
    assert torch.allclose(whole.log_softmax(-1).double(), p.log(), atol=1e-4)
    alone = made.score([episode], ScoreRequest())[0][0]
    assert np.array_equal(alone.sampled_logprob, scores.sampled_logprob, equal_nan=True)


@pytest.mark.oracle
def test_top_k_of_members_that_show_no_more_is_exact_on_what_all_list_and_a_bound_elsewhere():
    teachers = {"a": local(1), "b": local(2)}
    made = mixture({name: Server(teacher) for name, teacher in teachers.items()}, weights=WEIGHTS)
    assert made.capabilities == {"sampled", "top_k"}
    episode = make_episode(None, ((5, 6), (3, 6)))
    (row,) = episode.rows
    (scores,) = made.score([episode], ScoreRequest(top_k=12))[0]
    at = np.flatnonzero(scores.valid)
    truth = enumerated(teachers.values(), (0.75, 0.25), row)[at - 1].numpy()
    ids, got = scores.topk_ids[at], np.exp(scores.topk_logprobs[at].astype(np.float64))
    assert (ids >= 0).all() and all(len(set(line)) == 12 for line in ids.tolist())
    exact = np.take_along_axis(truth, ids.astype(np.int64), axis=1)
    assert (got <= exact + 1e-6).all()
    lists = [t.score([episode], ScoreRequest(top_k=12))[0][0].topk_ids[at] for t in teachers.values()]
    both = np.array([[all(i in one[t] for one in lists) for i in line] for t, line in enumerate(ids)])
    both |= ids == row.token_ids[at][:, None]
    assert both.any() and not both.all()
    assert np.allclose(got[both], exact[both], atol=1e-6)
    assert (got.sum(1) <= 1.0 + 1e-6).all()
    shortfall = (exact - got).sum(1)
    (short,) = [v for k, v in made.metrics().items() if k == "short"]
    own = row.mask[at]
    assert 0 < shortfall[own].mean() <= short + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 6))
def test_bounds_hold_for_any_distributions(seed, members, k):
    rng = np.random.default_rng(seed)
    vocabulary, length = 12, 5
    truth = rng.dirichlet(np.full(vocabulary, 0.5), size=(members, length))
    weights = rng.dirichlet(np.ones(members))
    tokens = rng.integers(0, vocabulary, length).astype(np.int32)
    scores = []
    for p in truth:
        ids = np.argsort(-p, axis=1)[:, :k].astype(np.int32)
        top = np.log(np.take_along_axis(p, ids.astype(np.int64), 1)).astype(np.float32)
        sampled = np.log(p[np.arange(length), tokens]).astype(np.float32)
        scores.append(TeacherScores(sampled, np.isfinite(sampled), ids, top))
    mixed = mix_sampled(scores, weights, "drop")
    whole = (weights[:, None, None] * truth).sum(0)
    assert np.allclose(np.exp(mixed.logprob), whole[np.arange(length), tokens], rtol=1e-5)
    assert np.allclose(mixed.shares.sum(0), 1.0)
    ids, logs, short = mix_top(scores, tokens, mixed, weights, k)
    got = np.exp(logs.astype(np.float64))
    exact = np.take_along_axis(whole, ids.astype(np.int64), axis=1)
    assert (got <= exact * (1 + 1e-5) + 1e-9).all() and ((exact - got).sum(1) <= short + 1e-6).all()
    if members == 1:
        assert np.array_equal(np.sort(ids[:, :k]), np.sort(scores[0].topk_ids)) or k < vocabulary


def test_one_member_alone_is_that_member():
    teacher = local(3)
    made = mixture({"only": teacher})
    episode = make_episode(None, ((5, 4), (3, 6)))
    request = ScoreRequest(top_k=5, entropy=True)
    (mine,), (its,) = made.score([episode], request)[0], teacher.score([episode], request)[0]
    assert np.array_equal(mine.sampled_logprob, its.sampled_logprob, equal_nan=True)
    assert np.array_equal(mine.topk_ids, its.topk_ids)
    assert np.allclose(mine.topk_logprobs, its.topk_logprobs, atol=1e-6, equal_nan=True)


def scored(*values) -> TeacherScores:
    array = np.array(values, dtype=np.float32)
    return TeacherScores(array, np.isfinite(array))


@pytest.mark.parametrize("missing", ["drop", "renormalise"])
def test_where_a_member_has_no_opinion(missing):
    nan = np.nan
    mixed = mix_sampled([scored(-1, nan, nan), scored(-2, -3, nan)], np.array([0.25, 0.75]), missing)
    first = np.log(0.25 * np.exp(-1) + 0.75 * np.exp(-2))
    assert mixed.logprob[0] == pytest.approx(first)
    assert mixed.valid.tolist() == [True, missing == "renormalise", False]
    assert np.isnan(mixed.logprob[2]) and mixed.source.tolist() == [1, 1 if missing == "renormalise" else -1, -1]
    if missing == "renormalise":
        assert mixed.logprob[1] == pytest.approx(-3.0)


def test_a_token_that_everybody_finds_impossible_keeps_its_score():
    mixed = mix_sampled([scored(-2000.0), scored(-2001.0)], np.array([0.5, 0.5]), "drop")
    assert mixed.logprob[0] == pytest.approx(-2000 + np.log(0.5 + 0.5 * np.exp(-1)))


@pytest.mark.oracle
def test_weights_follow_the_recent_loss_and_survive_a_checkpoint():
    teachers = {"a": local(1), "b": local(2)}
    options = {"by": "loss", "temperature": 0.5, "smoothing": 0.8, "weights": WEIGHTS}
    made = mixture(teachers, **options)
    assert not made.cacheable and mixture(teachers).cacheable
    assert made.weights.tolist() == [0.75, 0.25]
    expected, smoothed = np.array([0.75, 0.25]), None
    for step in range(3):
        batch = [make_episode(None, ((5, 4), (3, 6)), seed=10 * step + i) for i in range(3)]
        before = made.score(batch, ScoreRequest())
        losses = []
        for teacher in teachers.values():
            answers = teacher.score(batch, ScoreRequest())
            pairs = [p for t, own in zip(batch, answers, strict=True) for p in zip(t.rows, own, strict=True)]
            gaps = [row.old_logprob[row.mask] - s.sampled_logprob[row.mask] for row, s in pairs]
            losses.append(np.concatenate(gaps).astype(np.float64).mean())
        (row,), (score,) = batch[0].rows, before[0]
        truth = enumerated(teachers.values(), expected, row)
        at = int(np.flatnonzero(row.mask)[0])
        assert score.sampled_logprob[at] == pytest.approx(float(truth[at - 1, row.token_ids[at]].log()), abs=1e-5)
        made.after_step(step + 1)
        smoothed = np.array(losses) if smoothed is None else 0.8 * smoothed + 0.2 * np.array(losses)
        raw = np.array([0.75, 0.25]) * np.exp(-smoothed / 0.5)
        expected = raw / raw.sum()
        assert np.allclose(made.weights, expected)
    again = mixture(teachers, **options)
    again.load_state_dict(made.state_dict())
    assert np.array_equal(again.weights, made.weights)
    made.score(batch, ScoreRequest())  # a step that was begun and never finished
    assert again.state_dict()["recent"] == made.state_dict()["recent"]
    numbers = made.metrics()
    assert sum(numbers[f"part/{n}"] for n in "ab") == pytest.approx(1.0)
    assert numbers["weight/a"] == pytest.approx(expected[0])


def test_large_vocabularies_have_no_whole_distribution_and_spans_are_refused(monkeypatch):
    monkeypatch.setattr("agentdistill_teachers.mixture.SMALL", VOCAB - 1)
    made = mixture({"a": local(1), "b": local(2)})
    assert made.capabilities == {"sampled", "top_k", "entropy", "confidence"}
    spanning = SimpleNamespace(
        capabilities=frozenset({"sampled"}), needs=frozenset(), fingerprint="s", tokenizer=None,
        score=lambda batch, request: [
            [TeacherScores(r.old_logprob, r.mask, span=np.zeros(len(r), np.int32)) for r in t.rows] for t in batch
        ],
    )  # fmt: skip
    with pytest.raises(TrainingError, match="`spans`, one of several, has opinions on spans"):
        mixture({"a": local(1), "spans": spanning}).score([make_episode()], ScoreRequest())


@pytest.mark.oracle
def test_the_full_vocabulary_gradient_is_that_of_the_enumerated_mixture():
    """Forward KL to the mixture through the learner, against plain autograd over the enumerated distribution."""
    from agentdistill.learner.learner import Learner
    from agentdistill.learner.settings import LearnerSettings
    from agentdistill_losses.opd import OpdConfig, OpdLoss

    teachers = {"a": local(1), "b": local(2)}
    made = mixture(teachers, weights=WEIGHTS)
    student = tiny_model(5, hidden=32)
    episode = make_episode(student, ((5, 4), (3, 6)))
    loss = OpdLoss(OpdConfig(divergence="forward-kl", support="full"))
    loaded = LoadedModel(student, tiny_tokenizer(), "student", None, "f")
    learner = Learner(
        loaded, loss=loss, settings=LearnerSettings(grad_clip=0.0), teacher_weight=made.output_weight(),
        members=made.members,
    )  # fmt: skip
    metrics = learner.accumulate([episode], made.score([episode], loss.request))
    got = torch.cat([p.grad.flatten() for p in student.parameters()])
    student.zero_grad()
    (row,) = episode.rows
    at = np.flatnonzero(row.mask)
    p = enumerated(teachers.values(), (0.75, 0.25), row)[at - 1]
    ids = torch.from_numpy(row.token_ids.astype("int64"))[None]
    q = student(input_ids=ids).logits[0, :-1].double().log_softmax(-1)[at - 1]
    value = (p * (p.log() - q)).sum(-1).mean()
    value.backward()
    want = torch.cat([p.grad.flatten() for p in student.parameters()])
    assert metrics["loss"] == pytest.approx(value.item(), rel=1e-4) and torch.allclose(got, want, atol=1e-5)
    assert metrics["teacher/share/a"] + metrics["teacher/share/b"] == pytest.approx(1.0)
    assert metrics["teacher/gradient/a"] + metrics["teacher/gradient/b"] == pytest.approx(1.0)
