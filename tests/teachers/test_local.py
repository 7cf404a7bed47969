"""The local teacher against a naive full forward pass."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from made_episodes import make_episode, naive_logprobs
from tiny import tiny_model, tiny_tokenizer

from agentdistill.errors import TrainingError
from agentdistill.learner.heads import split_model
from agentdistill.models import LoadedModel, fingerprint
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest
from agentdistill.teachers.scoring import score_rows
from agentdistill_teachers.local import LocalConfig, LocalTeacher

TURNS = [(6, 3), (2, 5), (0, 2), (3, 1)]


@pytest.fixture(scope="module")
def loaded():
    model, tokenizer = tiny_model(1), tiny_tokenizer()
    return LoadedModel(model, tokenizer, "tiny", None, fingerprint(model, tokenizer))


@pytest.fixture(scope="module")
def teacher(loaded):
    return LocalTeacher(LocalConfig(model="tiny", batch_tokens=40, chunk=3), loaded)


@pytest.fixture(scope="module")
def episodes():
    return [make_episode(turns=TURNS[: 1 + i % 4], seed=i, one_row=bool(i % 2)) for i in range(6)]


def full_logprobs(model, row) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.as_tensor(row.token_ids, dtype=torch.int64)[None]
        return model(input_ids=ids).logits[0].log_softmax(-1)


def test_sampled_scores_are_those_of_a_naive_pass(teacher, loaded, episodes):
    scores = teacher.score(episodes, ScoreRequest())
    assert [len(s) for s in scores] == [len(e.rows) for e in episodes]
    for episode, opinions in zip(episodes, scores, strict=True):
        for row, opinion in zip(episode.rows, opinions, strict=True):
            written = row.step_of_token >= 0
            with torch.no_grad():
                expected = naive_logprobs(loaded.model, row.token_ids).numpy()
            np.testing.assert_allclose(opinion.sampled_logprob[written], expected[written], atol=2e-6)
            assert np.array_equal(opinion.valid, written)
            assert np.isnan(opinion.sampled_logprob[~written]).all()


def test_all_positions_on_request(loaded, episodes):
    teacher = LocalTeacher(LocalConfig(model="tiny", positions="all"), loaded)
    row, opinion = episodes[1].rows[0], teacher.score([episodes[1]], ScoreRequest())[0][0]
    assert np.isnan(opinion.sampled_logprob[0]) and not opinion.valid[0] and opinion.valid[1:].all()
    with torch.no_grad():
        expected = naive_logprobs(loaded.model, row.token_ids).numpy()
    np.testing.assert_allclose(opinion.sampled_logprob[1:], expected[1:], atol=2e-6)


def test_top_k_tail_and_entropy(teacher, loaded, episodes):
    row, opinion = episodes[1].rows[0], teacher.score([episodes[1]], ScoreRequest(top_k=5))[0][0]
    logp = full_logprobs(loaded.model, row)
    for t in np.flatnonzero(row.step_of_token >= 0):
        best = logp[t - 1].topk(5)
        assert opinion.topk_ids[t].tolist() == best.indices.tolist()
        np.testing.assert_allclose(opinion.topk_logprobs[t], best.values.numpy(), atol=2e-6)
        tail = 1 - np.exp(opinion.topk_logprobs[t]).sum()
        assert 0 < tail < 1
        assert opinion.entropy[t] == pytest.approx(float(-(logp[t - 1].exp() * logp[t - 1]).sum()), abs=1e-5)
    outside = row.step_of_token < 0
    assert (opinion.topk_ids[outside] == -1).all() and np.isnan(opinion.entropy[outside]).all()


def test_hidden_states_and_the_output_layer_make_the_logits(teacher, loaded, episodes):
    row, opinion = episodes[1].rows[0], teacher.score([episodes[1]], ScoreRequest(hidden=True))[0][0]
    assert "hidden" in teacher.capabilities and len(opinion.hidden) == len(row)
    logp = full_logprobs(loaded.model, row)
    for t in np.flatnonzero(row.step_of_token >= 0):
        got = (opinion.hidden[t] @ teacher.output_weight().T).log_softmax(-1)
        torch.testing.assert_close(got, logp[t - 1], atol=2e-6, rtol=1e-5)
    assert bool(torch.isnan(opinion.hidden[0]).all())
    assert not opinion.hidden.states.requires_grad and not teacher.output_weight().requires_grad


def test_temperature_divides_the_logits_of_every_kind_of_score(loaded, episodes):
    teacher = LocalTeacher(LocalConfig(model="tiny", temperature=2.0), loaded)
    row, opinion = (
        episodes[1].rows[0],
        teacher.score([episodes[1]], ScoreRequest(sampled=True, top_k=3, hidden=True))[0][0],
    )
    with torch.no_grad():
        ids = torch.as_tensor(row.token_ids, dtype=torch.int64)[None]
        logp = (loaded.model(input_ids=ids).logits[0] / 2.0).log_softmax(-1)
    for t in np.flatnonzero(row.step_of_token >= 0):
        assert opinion.sampled_logprob[t] == pytest.approx(float(logp[t - 1, row.token_ids[t]]), abs=2e-6)
        np.testing.assert_allclose(opinion.topk_logprobs[t], logp[t - 1].topk(3).values.numpy(), atol=2e-6)
        got = (opinion.hidden[t] @ teacher.output_weight().T).log_softmax(-1)
        torch.testing.assert_close(got, logp[t - 1], atol=2e-6, rtol=1e-5)
    assert teacher.fingerprint != LocalTeacher(LocalConfig(model="tiny"), loaded).fingerprint


def test_each_row_is_scored_once_whatever_its_turns(teacher, loaded):
    episode = make_episode(turns=[(4, 2)] * 9)
    lengths = []
    handle = loaded.model.model.register_forward_hook(lambda m, a, out: lengths.append(out.last_hidden_state.shape))
    try:
        teacher.score([episode], ScoreRequest())
    finally:
        handle.remove()
    assert [tuple(shape[:2]) for shape in lengths] == [(1, len(episode.rows[0]) - 1)]


def test_batching_does_not_matter(loaded, episodes):
    parts, rows = split_model(loaded.model), [row for e in episodes for row in e.rows]
    alone = score_rows(parts, rows, ScoreRequest(), batch_tokens=1, chunk=1)
    together = score_rows(parts, rows, ScoreRequest(), batch_tokens=10_000)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.sampled_logprob, b.sampled_logprob, atol=2e-6)


def test_a_row_beyond_the_context_is_refused(episodes):
    parts = split_model(tiny_model(0, max_position_embeddings=16))
    with pytest.raises(TrainingError, match="does not fit the scoring model's context of 16"):
        score_rows(parts, [make_episode(turns=[(12, 8)]).rows[0]], ScoreRequest())


def test_ids_the_model_does_not_have_are_refused():
    parts = split_model(tiny_model(0))
    with pytest.raises(TrainingError, match="259 ids"):
        score_rows(parts, [make_episode(vocab=5000).rows[0]], ScoreRequest())


def test_rows_without_written_tokens_are_empty_opinions(teacher):
    episode = make_episode(turns=[(4, 2)])
    episode.rows[0].step_of_token[:] = -1
    opinion = teacher.score([episode], ScoreRequest(top_k=2, hidden=True))[0][0]
    assert not opinion.valid.any() and np.isnan(opinion.sampled_logprob).all()


def test_fingerprint_follows_the_weights(loaded, teacher):
    other = tiny_model(2)
    changed = LoadedModel(other, loaded.tokenizer, "tiny", None, fingerprint(other, loaded.tokenizer))
    assert teacher.fingerprint != LocalTeacher(LocalConfig(model="tiny"), changed).fingerprint
    assert teacher.fingerprint == LocalTeacher(LocalConfig(model="elsewhere"), loaded).fingerprint


def test_the_registry_builds_one_from_a_directory(loaded, tmp_path):
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    registry = PluginRegistry.load(third_party=False)
    section = {"type": "local", "model": str(tmp_path)}
    teacher = registry.build("teacher", section, "teacher", student=loaded, context=None, registry=registry)
    assert teacher.capabilities == {"sampled", "top_k", "hidden", "entropy", "confidence", "act"}
    assert not any(p.requires_grad for p in teacher.loaded.model.parameters())


def test_sparse_states_index_like_a_dense_tensor(teacher, episodes):
    row, opinion = episodes[1].rows[0], teacher.score([episodes[1]], ScoreRequest(hidden=True))[0][0]
    dense = opinion.hidden[torch.arange(len(row))]
    assert dense.shape == (len(row), 64)
    assert torch.equal(~torch.isnan(dense).any(1), torch.from_numpy(row.step_of_token >= 0))
    assert len(opinion.hidden.states) == int((row.step_of_token >= 0).sum())
    again = pickle.loads(pickle.dumps(opinion))
    torch.testing.assert_close(again.hidden[np.arange(len(row))], dense, equal_nan=True)
    with pytest.raises(IndexError, match="outside a row"):
        opinion.hidden[len(row)]


def test_it_plays_with_the_model_it_scores_with(loaded):
    teacher = LocalTeacher(LocalConfig(model="tiny", temperature=2.0), loaded)
    assert "act" in teacher.capabilities and teacher.policy() is loaded
