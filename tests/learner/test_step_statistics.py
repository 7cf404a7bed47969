"""Step statistics against a naive loop over explicit step ids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_episodes import make_episode, random_scores

from agentdistill.learner.batch import assemble
from agentdistill.learner.statistics import step_statistics

turn = st.tuples(st.integers(0, 5), st.integers(1, 6))
episode = st.lists(turn, min_size=1, max_size=8).map(lambda turns: ((turns[0][0] + 1, turns[0][1]), *turns[1:]))


def reference(trajectories, scores):
    """{(trajectory, turn index): (tokens, mean |d|, mean d, mean lt)}, one token at a time."""
    sums: dict[tuple[int, int], list[float]] = {}
    for t, trajectory in enumerate(trajectories):
        for row, opinion in zip(trajectory.rows, scores[t], strict=True):
            for i in range(len(row)):
                if row.mask[i] and opinion.valid[i]:
                    lo, lt = float(row.old_logprob[i]), float(opinion.sampled_logprob[i])
                    cell = sums.setdefault((t, int(row.step_of_token[i])), [0, 0.0, 0.0, 0.0])
                    cell[0] += 1
                    cell[1] += abs(lo - lt)
                    cell[2] += lo - lt
                    cell[3] += lt
    return {key: (n, a / n, b / n, c / n) for key, (n, a, b, c) in sums.items()}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(episode, st.integers(0, 3), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.floats(0, 0.5),
)
def test_equals_the_naive_reference(specs, seed, dead):
    episodes = [
        make_episode(turns=turns, seed=seed + i, replayed=replayed, one_row=one)
        for i, (turns, replayed, one) in enumerate(specs)
    ]
    scores = random_scores(episodes, seed)
    rng = np.random.default_rng(seed)
    for opinions in scores:
        for opinion in opinions:
            opinion.valid &= rng.random(len(opinion.valid)) >= dead
    batch = assemble(episodes, scores)
    steps = step_statistics(batch.tokens, len(batch.trajectories))
    expected = reference(episodes, scores)
    assert int(steps.mask.sum()) == len(expected)
    got = {}
    for t, k in torch.nonzero(steps.mask).tolist():
        got[(t, int(steps.index[t, k]))] = (
            int(steps.tokens[t, k]),
            float(steps.abs_log_ratio[t, k]),
            float(steps.log_ratio[t, k]),
            float(steps.teacher_logprob[t, k]),
        )
    assert got.keys() == expected.keys()
    for key, values in expected.items():
        assert got[key] == pytest.approx(values, rel=1e-5, abs=1e-6)
    # Left-aligned, in turn order, zeros in the padding.
    for t in range(len(episodes)):
        width = int(steps.mask[t].sum())
        assert bool(steps.mask[t, :width].all())
        assert steps.index[t, :width].tolist() == sorted(set(steps.index[t, :width].tolist()))
        assert float(steps.abs_log_ratio[t, width:].abs().sum()) == 0


def test_turns_with_an_empty_observation_between_them_stay_two():
    """Segmentation by runs of the mask would see one step of five tokens here."""
    episode = make_episode(turns=[(4, 2), (0, 3), (2, 1)])
    assert episode.rows[0].mask[4:9].all()
    batch = assemble([episode], random_scores([episode]))
    steps = step_statistics(batch.tokens, 1)
    assert steps.tokens.tolist() == [[2, 3, 1]]
    assert steps.index.tolist() == [[0, 1, 2]]


def test_column_zero_is_the_first_trained_turn_after_a_replayed_prefix():
    episode = make_episode(turns=[(4, 2), (1, 3)], replayed=5)
    steps = step_statistics(assemble([episode], random_scores([episode])).tokens, 1)
    assert steps.index.tolist() == [[5, 6]]


def test_an_empty_batch_has_a_shape():
    episode = make_episode()
    for opinion in (scores := random_scores([episode]))[0]:
        opinion.valid[:] = False
    steps = step_statistics(assemble([episode], scores).tokens, 1)
    assert steps.shape == (1, 1) and not bool(steps.mask.any())


def test_one_row_and_one_row_per_turn_give_the_same_statistics():
    merged, split = (make_episode(turns=[(4, 2), (3, 3), (2, 4)], one_row=one) for one in (True, False))
    values = np.random.default_rng(0).standard_normal(9).astype(np.float32)
    results = []
    for episode in (merged, split):
        scores = random_scores([episode])
        at = 0
        for row, opinion in zip(episode.rows, scores[0], strict=True):
            count = int(row.mask.sum())
            row.old_logprob[row.mask] = values[at : at + count]
            opinion.sampled_logprob[row.mask] = 2 * values[at : at + count]
            at += count
        results.append(step_statistics(assemble([episode], scores).tokens, 1))
    for name in ("index", "mask", "tokens", "abs_log_ratio", "log_ratio", "teacher_logprob"):
        torch.testing.assert_close(getattr(results[0], name), getattr(results[1], name))
