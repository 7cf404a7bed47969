"""The expert teacher: a smoothed distribution along the expert's response, and silence after the first deviation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_episodes import make_task
from tiny import VOCAB, tiny_model, tiny_tokenizer

from agentdistill.conversation.base import ParsedAction
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import ConfigError, TrainingError
from agentdistill.models import LoadedModel
from agentdistill.records import EpisodePlan, ScoreRequest, Step, StopReason, TokenRow, Trajectory
from agentdistill_teachers.expert import ExpertConfig, ExpertTeacher, expert_teacher

EPSILON = 0.1
HIT = math.log((1 - EPSILON) + EPSILON / VOCAB)
MISS = math.log(EPSILON / VOCAB)


class Tagged:
    """A context policy that wraps actions, as think-then-act formats do."""

    prompt_hash = "0" * 16

    def messages(self, situation):
        return []

    def parse(self, response):
        return ParsedAction(response, True)

    def render_action(self, action):
        return f"<a>{action}</a>"


@pytest.fixture(scope="module")
def renderer():
    return ChatRenderer(tiny_tokenizer())


@pytest.fixture(scope="module")
def teacher(renderer):
    return ExpertTeacher(ExpertConfig(epsilon=EPSILON), renderer, Tagged(), VOCAB)


def play(renderer, turns) -> Trajectory:
    """Turns of (what the student wrote, whether it was terminated, the expert's action)."""
    ids, owner, steps = [], [], []
    for k, (text, stopped, action) in enumerate(turns):
        ids += [1, 5, 6]
        owner += [-1] * 3
        response = renderer.response(text) if stopped else renderer.response(text)[:-1]
        info = {} if action == "unasked" else {"expert_action": action}
        steps.append(Step(k, "o", text, text, row=0, start=len(ids), end=len(ids) + len(response), info=info))
        ids += response
        owner += [k] * len(response)
    mask = np.array(owner) >= 0
    row = TokenRow(np.array(ids, np.int32), np.array(owner, np.int32), mask, np.where(mask, -1, np.nan).astype("f4"))
    return Trajectory(make_task(), EpisodePlan(), steps, [row], StopReason.SUCCESS)


def scores_of(teacher, trajectory, step=0):
    opinion = teacher.score([trajectory], ScoreRequest())[0][0]
    s = trajectory.steps[step]
    assert np.isnan(opinion.sampled_logprob[trajectory.rows[0].step_of_token < 0]).all()
    assert np.array_equal(opinion.valid, np.isfinite(opinion.sampled_logprob))
    return opinion.sampled_logprob[s.start : s.end]


def test_the_expert_s_own_response_terminator_included(teacher, renderer):
    got = scores_of(teacher, play(renderer, [("<a>go</a>", True, "go")]))
    assert len(got) == 10
    np.testing.assert_allclose(got, HIT, rtol=1e-6)


def test_silence_after_the_first_deviation(teacher, renderer):
    got = scores_of(teacher, play(renderer, [("<a>ga</a>", True, "go")]))
    np.testing.assert_allclose(got[:4], HIT, rtol=1e-6)
    assert got[4] == pytest.approx(MISS, rel=1e-6)
    assert np.isnan(got[5:]).all() and len(got[5:]) == 5


def test_stopping_early_and_going_on_are_deviations(teacher, renderer):
    early = scores_of(teacher, play(renderer, [("<a>", True, "go")]))
    np.testing.assert_allclose(early, [HIT] * 3 + [MISS], rtol=1e-6)
    late = scores_of(teacher, play(renderer, [("<a>go</a>!!", True, "go")]))
    np.testing.assert_allclose(late[:10], [HIT] * 9 + [MISS], rtol=1e-6)
    assert np.isnan(late[10:]).all()


def test_a_response_cut_by_its_length_is_judged_as_far_as_it_goes(teacher, renderer):
    np.testing.assert_allclose(scores_of(teacher, play(renderer, [("<a>go", False, "go")])), [HIT] * 5, rtol=1e-6)


def test_every_turn_starts_anew_and_turns_without_advice_stay_silent(teacher, renderer):
    trajectory = play(renderer, [("x", True, "go"), ("<a>go</a>", True, "go"), ("<a>go</a>", True, None)])
    assert scores_of(teacher, trajectory, 0)[0] == pytest.approx(MISS, rel=1e-6)
    np.testing.assert_allclose(scores_of(teacher, trajectory, 1), HIT, rtol=1e-6)
    assert np.isnan(scores_of(teacher, trajectory, 2)).all()


def test_the_probabilities_of_one_position_sum_to_one():
    assert math.exp(HIT) + (VOCAB - 1) * math.exp(MISS) == pytest.approx(1.0)


def test_what_it_cannot_do_is_an_error(teacher, renderer):
    trajectory = play(renderer, [("x", True, "unasked")])
    with pytest.raises(TrainingError, match="did not ask"):
        teacher.score([trajectory], ScoreRequest())
    for request in (ScoreRequest(top_k=3), ScoreRequest(hidden=True)):
        with pytest.raises(TrainingError, match="one token at a time"):
            teacher.score([trajectory], request)
    with pytest.raises(TrainingError, match="no output layer"):
        teacher.output_weight()
    assert teacher.needs == {"expert_action"} and teacher.capabilities == {"sampled"} and teacher.tokenizer is None


def test_made_for_a_student():
    student = LoadedModel(tiny_model(0), tiny_tokenizer(), "tiny", None, "f")
    made = expert_teacher(ExpertConfig(epsilon=EPSILON), student, context=Tagged())
    got = made.score([play(made._renderer, [("<a>go</a>", True, "go")])], ScoreRequest())[0][0]
    assert np.nanmax(got.sampled_logprob) == pytest.approx(HIT, rel=1e-6)
    with pytest.raises(ConfigError, match="context policy"):
        expert_teacher(ExpertConfig(), student)
    other = ExpertTeacher(ExpertConfig(epsilon=0.2), made._renderer, Tagged(), VOCAB)
    assert other.fingerprint != made.fingerprint
