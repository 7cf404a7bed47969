"""Masks, alignment and what is left out of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_episodes import make_episode, random_scores

from agentdistill.errors import TrainingError
from agentdistill.learner.batch import assemble
from agentdistill.learner.micro import micro_batches, padding_share, plan_groups, teacher_states
from agentdistill.records import LossRole, StopReason

D, IM, NO = LossRole.DISTILL, LossRole.IMITATE, LossRole.NONE


def test_roles_decide_the_branch():
    episode = make_episode(turns=[(4, 2), (2, 3), (2, 4)], roles=[D, IM, NO], replayed=1)
    batch = assemble([episode], random_scores([episode]))
    assert batch.distill.position.tolist() == [4, 5]
    assert batch.imitate.position.tolist() == [8, 9, 10]
    assert batch.distill.turn.tolist() == [1, 1] and batch.imitate.turn.tolist() == [2, 2, 2]
    assert batch.counts["tokens/context"] == 8
    # Nothing after the last trained token is kept.
    assert len(batch.rows[0].token_ids) == 11


def test_a_sampled_turn_with_role_none_is_counted_as_unused():
    episode = make_episode(turns=[(4, 2), (2, 3)])
    episode.steps[1].loss_role = NO
    batch = assemble([episode], random_scores([episode]))
    assert (batch.counts["tokens/distill"], batch.counts["tokens/unused"]) == (2, 3)


def test_dead_tokens_are_left_out_and_counted():
    episode = make_episode(turns=[(4, 3), (2, 3)])
    scores = random_scores([episode])
    scores[0][0].sampled_logprob[5] = np.nan
    scores[0][0].valid[9] = False
    batch = assemble([episode], scores)
    assert batch.distill.position.tolist() == [4, 6, 10, 11]
    assert batch.counts["tokens/dead"] == 2
    assert bool(torch.isfinite(batch.tokens.teacher_logprob).all())
    assert batch.tokens.position.tolist() == [0, 2, 1, 2]


def test_aborted_episodes_are_left_out_and_counted():
    good, dead = make_episode(seed=1), make_episode(seed=2, stop=StopReason.ABORTED)
    dead.rows[0].old_logprob[:] = np.nan  # may be half written
    batch = assemble([dead, good], random_scores([dead, good]))
    assert batch.counts["episodes/aborted"] == 1 and batch.trajectories == [good]
    assert set(batch.distill.trajectory.tolist()) == {0}


def test_without_a_loss_only_imitation_is_trained():
    episode = make_episode(turns=[(4, 2), (2, 3)], roles=[D, IM])
    batch = assemble([episode], None, distill=False)
    assert len(batch.distill) == 0 and len(batch.imitate) == 3 and batch.counts["tokens/unused"] == 2
    with pytest.raises(TrainingError, match="no teacher scores"):
        assemble([episode], None)


def _context_marked(e, s):
    e.rows[0].mask[0] = True


def _no_old_logprob(e, s):
    e.rows[0].old_logprob[5] = np.nan


def _scores_too_short(e, s):
    s[0][0].sampled_logprob = s[0][0].sampled_logprob[:-1]


def _valid_too_short(e, s):
    s[0][0].valid = s[0][0].valid[:-1]


def _rows_missing(e, s):
    s[0].pop()


def _unknown_step(e, s):
    e.rows[0].step_of_token[5] = 17


def _below_context(e, s):
    e.rows[0].step_of_token[5] = -2


def _infinite(e, s):
    s[0][0].sampled_logprob[5] = -np.inf


def _outside_span(e, s):
    e.steps[0].end -= 1


def _span_too_long(e, s):
    e.steps[0].end = 99


def _first_token(e, s):
    e.rows[0].mask[0] = True
    e.rows[0].old_logprob[0] = -1
    e.rows[0].step_of_token[0] = 0
    e.steps[0].start = 0
    s[0][0].sampled_logprob[0] = -1
    s[0][0].valid[0] = True


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (_context_marked, "context token is marked"),
        (_no_old_logprob, "no finite behaviour"),
        (_scores_too_short, "differ in length"),
        (_valid_too_short, "differ in length"),
        (_rows_missing, "scores for 0"),
        (_unknown_step, "does not have"),
        (_below_context, "does not have"),
        (_infinite, "infinite log-probability"),
        (_outside_span, "outside the span"),
        (_span_too_long, r"Turn 0 says \[5, 99\)"),
        (_first_token, "no token comes before"),
    ],
)
def test_broken_records_are_named(breakage, message):
    episode = make_episode(key="the-broken-one")
    scores = random_scores([episode])
    breakage(episode, scores)
    with pytest.raises(TrainingError, match=message) as caught:
        assemble([episode], scores)
    assert "the-broken-one" in str(caught.value)


def test_scores_for_another_number_of_episodes():
    episode = make_episode()
    with pytest.raises(TrainingError, match="scores for 2"):
        assemble([episode], random_scores([episode, episode]))


def test_missing_hidden_states_are_an_error():
    episode = make_episode()
    with pytest.raises(TrainingError, match="hidden states"):
        assemble([episode], random_scores([episode]), hidden=True)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
def test_groups_cover_all_rows_once_within_the_budget(lengths, budget):
    groups = plan_groups(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or max(lengths[i] for i in group) * len(group) <= budget
    assert groups == plan_groups(lengths, budget)


@pytest.mark.parametrize("packs", [False, True])
def test_micro_batches_hold_every_token_once_at_the_right_place(packs):
    episodes = [make_episode(turns=[(3, 2), (2, 1 + i)], seed=i, roles=[D, IM if i % 2 else D]) for i in range(5)]
    episodes[2:4] = [make_episode(turns=[(1, 1)] * 9, seed=10 + i, one_row=False) for i in range(2)]
    batch = assemble(episodes, random_scores(episodes))
    passes = micro_batches(batch, budget=20, packs=packs)
    assert len(passes) > 1
    if packs:  # the rows of an episode go together, but for the first ones: they have 17 different tokens to feed
        together = [{batch.rows[row].trajectory for row in p.rows} for p in passes if len(p.rows) >= 7]
        assert sorted(map(sorted, together)) == [[2], [3]]
    for branch, name in ((batch.distill, "distill"), (batch.imitate, "imitate")):
        seen = torch.cat([getattr(p, name).index for p in passes])
        assert sorted(seen.tolist()) == list(range(len(branch)))
        for p in passes:
            picked = getattr(p, name)
            for index, line, source in zip(
                picked.index.tolist(), picked.line.tolist(), picked.source.tolist(), strict=True
            ):
                ref = batch.rows[int(branch.row[index])]
                assert p.rows[line] == int(branch.row[index])
                assert int(p.input_ids[line, source]) == ref.token_ids[source]
                assert ref.token_ids[source + 1] == int(branch.token_id[index])
    assert 0 <= padding_share(passes) < 0.5


def test_teacher_states_follow_the_tokens():
    episodes = [make_episode(seed=i, turns=[(3, 2), (1, 2)]) for i in range(3)]
    scores = random_scores(episodes)
    for t, opinions in enumerate(scores):
        length = len(opinions[0].valid)
        opinions[0].hidden = torch.stack([torch.tensor([float(t), float(p)]) for p in range(length)])
    batch = assemble(episodes, scores, hidden=True)
    for p in micro_batches(batch, budget=16):
        states = teacher_states(batch, p.distill)
        expected = torch.stack([batch.distill.trajectory[p.distill.index], batch.distill.position[p.distill.index]], 1)
        torch.testing.assert_close(states, expected.float())
