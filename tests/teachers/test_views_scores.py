"""A teacher inside a view: its scores stand at the student's tokens, whatever stands before them in its own prompts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_episodes import gradients
from played_corridors import APPEND, CONTEXTS, RENDERER, corridors, student

from agentdistill.errors import TrainingError
from agentdistill.learner.learner import Learner
from agentdistill.learner.settings import LearnerSettings
from agentdistill.records import LossRole, ScoreRequest
from agentdistill.teachers.rerender import rerender
from agentdistill.teachers.viewed import WARNING, ViewedTeacher
from agentdistill.teachers.views import Privileged
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.self_teacher import SelfConfig, SelfTeacher

EVERYTHING = ScoreRequest(top_k=5, hidden=True, entropy=True, confidence=True)
HINT = Privileged("The door is at the end of the corridor.", {1: "Walk.", 2: "Walk on, do not jump."})


@dataclasses.dataclass
class Told:
    """A view that says what it is told to say."""

    words: Any
    scope: str = "shared"
    siblings: bool = False
    needs: frozenset[str] = frozenset({"expert_action"})
    fingerprint: str = "told"

    def show(self, trajectories):
        return self.words if isinstance(self.words, list) else [self.words] * len(trajectories)


@pytest.fixture(scope="module")
def teacher():
    return LocalTeacher(LocalConfig(model="tiny"), student(1))


def viewed(inner, words=HINT, context=APPEND, **more):
    return ViewedTeacher(inner, Told(words), renderer=RENDERER, context=context, **more)


def full_logprobs(model, ids) -> torch.Tensor:
    """float32 [T, V]: row t is about token t given those before it."""
    with torch.no_grad():
        return model(input_ids=torch.as_tensor(ids.astype("int64"))[None]).logits[0].log_softmax(-1).roll(1, 0)


@pytest.mark.oracle
@pytest.mark.parametrize("case", [{}, {"guide": 0.5, "guide_role": LossRole.IMITATE}, {"finish": "length"}], ids=str)
@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("name", CONTEXTS)
def test_every_kind_of_score_is_that_of_the_hinted_prompt(teacher, name, remembered, case):
    context, privileged = CONTEXTS[name], dataclasses.replace(HINT, remembered=remembered)
    trajectories = corridors(context=context, **case)
    scores = viewed(teacher, privileged, context).score(trajectories, EVERYTHING)
    for trajectory, own in zip(trajectories, scores, strict=True):
        hinted = rerender(trajectory, privileged, renderer=RENDERER, context=context)
        known = [full_logprobs(teacher.loaded.model, row.token_ids) for row in hinted.trajectory.rows]
        seen = [np.zeros(len(row), dtype=bool) for row in trajectory.rows]
        for span in hinted.spans:
            for offset in range(span.end - span.start):
                t, expected = span.start + offset, known[span.shown_row][span.shown_start + offset]
                opinion, token = own[span.row], int(trajectory.rows[span.row].token_ids[t])
                seen[span.row][t] = True
                assert opinion.valid[t]
                assert opinion.sampled_logprob[t] == pytest.approx(float(expected[token]), abs=2e-5)
                best = expected.topk(5)
                np.testing.assert_allclose(opinion.topk_logprobs[t], best.values, atol=2e-5)
                np.testing.assert_allclose(expected[opinion.topk_ids[t]], best.values, atol=2e-5)
                assert opinion.confidence[t] == pytest.approx(float(expected.max().exp()), abs=1e-5)
                assert opinion.entropy[t] == pytest.approx(float(-(expected.exp() * expected).sum()), abs=1e-4)
                logits = torch.as_tensor(opinion.hidden[t]) @ teacher.output_weight().T
                np.testing.assert_allclose(logits.log_softmax(-1), expected, atol=2e-5)
        for opinion, places, row in zip(own, seen, trajectory.rows, strict=True):
            assert len(opinion.hidden) == len(row)
            assert np.array_equal(opinion.valid, places)
            for values in (opinion.sampled_logprob, opinion.entropy, opinion.confidence, opinion.topk_logprobs):
                assert np.isnan(values[~places]).all()
            assert (opinion.topk_ids[~places] == -1).all() and torch.isnan(
                opinion.hidden[np.flatnonzero(~places)]
            ).all()


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=60), st.integers(0, 4))
def test_a_teacher_that_sees_one_token_back_does_not_mind_the_length_of_a_hint(words, turn):
    blind = LocalTeacher(LocalConfig(model="blind"), student(2, layers=0))
    trajectories = corridors()
    plain = blind.score(trajectories, EVERYTHING)
    hinted = viewed(blind, Privileged(words, {turn: words * 2})).score(trajectories, EVERYTHING)
    for mine, theirs in zip(plain, hinted, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert np.array_equal(a.valid, b.valid)
            np.testing.assert_allclose(a.sampled_logprob, b.sampled_logprob, atol=2e-6)
            np.testing.assert_allclose(a.entropy, b.entropy, atol=2e-6)


def test_hints_do_change_the_scores(teacher):
    trajectories = corridors()
    plain, hinted = teacher.score(trajectories, ScoreRequest()), viewed(teacher).score(trajectories, ScoreRequest())
    at = trajectories[0].rows[0].mask
    assert np.abs(plain[0][0].sampled_logprob - hinted[0][0].sampled_logprob)[at].max() > 0.1


@pytest.mark.parametrize("weights", ["frozen", "ema", "trust-region", "live"])
@pytest.mark.parametrize("support", ["sampled", "teacher-topk", "full"])
@pytest.mark.parametrize("name", ["append", "window"])
def test_without_words_the_loss_and_its_gradient_are_exactly_zero(name, support, weights):
    learner_model = student()
    own = SelfTeacher(SelfConfig(weights=weights), learner_model)
    for step in (1, 2):
        own.after_step(step)
    context = CONTEXTS[name]
    loss = OpdLoss(OpdConfig(support=support, divergence="reverse-kl"))
    teacher = viewed(own, Privileged(), context)
    trajectories = corridors(context=context)
    scores = teacher.score(trajectories, loss.request)
    for trajectory, opinions in zip(trajectories, scores, strict=True):  # as if sampled with what is computed here
        for row, opinion in zip(trajectory.rows, opinions, strict=True):
            row.old_logprob[row.mask] = opinion.sampled_logprob[row.mask]
    learner = Learner(
        learner_model, loss=loss, settings=LearnerSettings(grad_clip=0.0), teacher_weight=teacher.output_weight()
    )
    # Two models' states in a sum, and a log-probability that was stored, round otherwise than the student's own.
    bound = 1e-6 if weights == "trust-region" or support == "teacher-topk" else 0.0
    assert abs(learner.accumulate(trajectories, scores)["loss"]) <= bound
    assert float(gradients(learner_model.model).abs().max()) <= bound


def test_an_episode_without_words_has_no_opinion_of_any_kind(teacher):
    trajectories = corridors()
    one = viewed(teacher, [None, HINT, None])
    scores = one.score(trajectories, EVERYTHING)
    for position in (0, 2):
        (opinion,) = scores[position]
        assert not opinion.valid.any() and np.isnan(opinion.sampled_logprob).all()
        assert np.isnan(opinion.topk_logprobs).all() and (opinion.topk_ids == -1).all()
        assert np.isnan(opinion.entropy).all() and np.isnan(opinion.confidence).all() and len(opinion.hidden) > 0
    assert scores[1][0].valid.any()
    metrics = one.metrics()
    assert (metrics["hinted"], metrics["unhinted"], metrics["too_long"]) == (1, 2, 0) and metrics["added_tokens"] > 30
    assert one.metrics()["hinted"] == 0
    learner = Learner(student(), loss=OpdLoss(OpdConfig()), settings=LearnerSettings(max_dead_rows=1.0))
    metrics = learner.accumulate(trajectories, scores)
    assert metrics["tokens/distill"] == trajectories[1].rows[0].mask.sum()
    assert metrics["tokens/dead"] == sum(int(trajectories[n].rows[0].mask.sum()) for n in (0, 2))


def test_rows_that_become_too_long_are_counted_or_stop_the_run(teacher):
    trajectories = corridors()
    limit = sorted(len(row) for t in trajectories for row in t.rows)[-1] + 10
    some = viewed(teacher, Privileged("It is there."), max_tokens=limit)
    scores = some.score(trajectories, ScoreRequest())
    assert [bool(own[0].valid.any()) for own in scores] == [True, True, False]
    assert some.metrics()["too_long"] == 1
    short = LocalTeacher(LocalConfig(model="short"), student(1, max_position_embeddings=limit))
    with pytest.raises(TrainingError, match="does not fit"):
        viewed(short, Privileged("It is there.")).score(trajectories, ScoreRequest())


def test_a_teacher_that_answers_for_other_rows_is_found(teacher):
    class Short:
        def __getattr__(self, name):
            return getattr(teacher, name)

        def score(self, trajectories, request):
            cut = [dataclasses.replace(t, rows=t.rows[:-1]) for t in trajectories]
            return teacher.score(cut, request)

    with pytest.raises(TrainingError, match="do not fit the rows"):
        viewed(Short()).score(corridors(), ScoreRequest())


def test_what_it_declares(teacher):
    plain = viewed(teacher)
    assert plain.capabilities == teacher.capabilities - {"act"}
    assert plain.needs == {"expert_action"} and plain.tokenizer is teacher.tokenizer
    assert plain.cacheable and plain.members == ()
    assert not ViewedTeacher(teacher, Told(HINT, siblings=True), renderer=RENDERER, context=APPEND).cacheable
    assert not viewed(SelfTeacher(SelfConfig(weights="ema"), student())).cacheable
    assert viewed(SelfTeacher(SelfConfig(), student())).cacheable
    prints = [
        plain.fingerprint,
        viewed(teacher, place="before").fingerprint,
        viewed(teacher, context=CONTEXTS["admissible"]).fingerprint,
        viewed(LocalTeacher(LocalConfig(model="x"), student(5))).fingerprint,
        ViewedTeacher(teacher, Told(HINT, fingerprint="else"), renderer=RENDERER, context=APPEND).fingerprint,
    ]
    assert len(set(prints)) == len(prints) and plain.fingerprint == viewed(teacher).fingerprint
    with pytest.raises(TrainingError):
        plain.policy()


def test_the_cache_key_is_the_words(teacher):
    first, second, _ = corridors()
    keys = {viewed(teacher, words).cache_key(first) for words in (HINT, Privileged(), None, Privileged("a"))}
    assert len(keys) == 4
    assert viewed(teacher).cache_key(first) == viewed(teacher).cache_key(second)
    partly = dataclasses.replace(HINT, scored=frozenset({1}))
    assert viewed(teacher, partly).cache_key(first) != viewed(teacher).cache_key(first)


def test_views_of_the_very_task_draw_a_warning(teacher):
    shared = viewed(teacher, name="skills").check(corridors())
    assert list(shared) == ["view skills, shared"]
    told = ViewedTeacher(teacher, Told(HINT, "instance"), renderer=RENDERER, context=APPEND, name="sdpo")
    lines = told.check(corridors())
    assert lines[0] == "view sdpo, instance" and lines[1].startswith(f"warning {WARNING}: ")
    assert told.metrics()["hinted"] == 0, "the check is not part of the first step's numbers"
