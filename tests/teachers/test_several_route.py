"""Routes: the first rule that matches wins, every token has its own teacher's numbers, and the gradient is theirs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_episodes import make_episode
from test_several import Known, tables
from tiny import tiny_model, tiny_tokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import TrainingError
from agentdistill.learner.learner import Learner
from agentdistill.learner.settings import LearnerSettings
from agentdistill.models import LoadedModel
from agentdistill.records import LossRole, ScoreRequest, Step, Task
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_teachers.expert import ExpertConfig, ExpertTeacher
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.route import RouteConfig, RouteTeacher
from agentdistill_teachers.rules import Rule, expert_applies

TURNS = ((5, 4), (3, 6), (2, 3))


def local(seed: int, hidden: int = 32) -> LocalTeacher:
    loaded = LoadedModel(tiny_model(seed, hidden=hidden), tiny_tokenizer(), f"m{seed}", None, f"f{seed}")
    return LocalTeacher(LocalConfig(model="x"), loaded)


def route(teachers, **options) -> RouteTeacher:
    return RouteTeacher(RouteConfig(members=tables(*teachers), **options), teachers)


def episode(key="t", env="made", kind="", **options):
    made = make_episode(None, TURNS, **options)
    made.task = Task(env=env, split="train", key=key, type=kind)
    return made


def turn(index=0, action="go", valid=True, **info) -> Step:
    return Step(index, "o", "r", action, valid=valid, info=info)


@pytest.mark.parametrize(
    "rule, matches",
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"env": ["other"]}, set()),
        ({"env": ["made", "other"], "split": ["train"], "task_type": ["pick"]}, {0, 1, 2, 3, 4}),
        ({"task_type": ["put"]}, set()),
        ({"first_turn": 2}, {2, 3, 4}),
        ({"first_turn": 1, "last_turn": 2}, {1, 2}),
        ({"expert": True}, {1}),
        ({"expert": False}, {0, 2, 3, 4}),
        ({"admissible": True}, {0, 3}),
        ({"admissible": False}, {1, 2, 4}),
        ({"first_turn": 1, "admissible": False}, {1, 2, 4}),
    ],
)
def test_a_rule_matches_where_all_its_conditions_hold(rule, matches):
    trajectory = episode(kind="pick")
    steps = [
        turn(0, valid=True),
        turn(1, "go", expert_action="take", admissible_actions=["take", "drop"]),
        turn(2, "go", valid=False, expert_action="fly", admissible_actions=["take"]),
        turn(3, "go", valid=False, expert_action=None, admissible_actions=["go"]),
        turn(4, "go", valid=False, expert_action=None),
    ]
    made = Rule(teacher="a", **rule)
    assert {step.index for step in steps if made.matches(trajectory, step)} == matches


def test_an_experts_advice_that_is_not_on_offer_does_not_apply():
    assert expert_applies(turn(expert_action="take")) and not expert_applies(turn())
    assert not expert_applies(turn(expert_action="take", admissible_actions=["drop"]))


def test_every_token_carries_its_own_teachers_numbers():
    teachers = {"a": local(1), "b": local(2, hidden=64)}
    made = route(teachers, rules=[{"teacher": "a", "last_turn": 0}, {"teacher": "b", "first_turn": 2}], default="a")
    batch = [episode(seed=1), episode(seed=2, one_row=False)]
    request = ScoreRequest(top_k=4, entropy=True, confidence=True)
    assert made.capabilities == {"sampled", "top_k", "entropy", "confidence", "hidden"}
    got = made.score(batch, request)
    each = {name: teacher.score(batch, request) for name, teacher in teachers.items()}
    for i, trajectory in enumerate(batch):
        for number, row in enumerate(trajectory.rows):
            joined = got[i][number]
            for place, name in enumerate(teachers):
                speaks = np.isin(row.step_of_token, [0, 1] if name == "a" else [2])
                assert np.array_equal(joined.source == place, speaks)
                for field in ("sampled_logprob", "topk_ids", "topk_logprobs", "entropy", "confidence"):
                    theirs = getattr(each[name][i][number], field)
                    assert np.array_equal(getattr(joined, field)[speaks], theirs[speaks])
            assert np.array_equal(joined.valid, row.step_of_token >= 0)
            assert np.isnan(joined.sampled_logprob[row.step_of_token < 0]).all()
    assert made.metrics()["turns/a"] == 4.0 and made.metrics()["turns/b"] == 0.0


def test_a_member_is_asked_for_the_whole_tasks_it_speaks_about_and_no_others():
    teachers = {"a": Known(1), "b": Known(2)}
    made = route(teachers, rules=[{"teacher": "b", "task_type": ["put"]}], default="a")
    batch = [episode("x", seed=1), episode("y", kind="put", seed=2), episode("y", kind="put", seed=3)]
    made.score(batch, ScoreRequest())
    assert teachers["a"].asked == [batch[:1]] and teachers["b"].asked == [batch[1:]]
    late = route({"a": Known(1), "b": Known(2)}, rules=[{"teacher": "b", "first_turn": 2}], default="a")
    siblings = [episode("x", seed=1), make_short("x")]
    late.score(siblings, ScoreRequest())
    assert late.teachers["b"].asked == [siblings]  # the short one too: it is of the same task


def make_short(key):
    short = make_episode(None, TURNS[:1], seed=9)
    short.task = Task(env="made", split="train", key=key)
    return short


def test_a_turn_that_nobody_speaks_about_stops_the_run_and_is_named():
    made = route({"a": Known()}, rules=[{"teacher": "a", "task_type": ["put"]}])
    with pytest.raises(TrainingError, match=r"matches turn 0 of made/train/t.*type is 'pick'.*teacher\.default"):
        made.score([episode(kind="pick")], ScoreRequest())
    other = episode(kind="pick", roles=[LossRole.IMITATE] * 3)
    assert not made.score([other], ScoreRequest())[0][0].valid.any()  # imitated turns need no teacher


def test_the_cache_key_changes_with_the_routes():
    made = route({"a": Known(1), "b": Known(2)}, rules=[{"teacher": "b", "expert": True}], default="a")
    plain, advised = episode(), episode()
    advised.steps = [dataclasses.replace(s, info={"expert_action": "go"}) for s in advised.steps]
    assert made.cache_key(plain) != made.cache_key(advised) and made.cache_key(plain) == made.cache_key(episode())
    assert made.needs == {"expert_action"} and made.fingerprint != route(made.teachers, default="a").fingerprint


@pytest.mark.parametrize("fill", [None, "model"])
def test_the_expert_speaks_while_it_applies_and_the_model_otherwise(fill):
    """A response that follows the expert for three letters, and one in a turn the expert knows nothing about."""
    renderer = ChatRenderer(tiny_tokenizer())
    context = AppendContext(AppendConfig())
    expert = ExpertTeacher(ExpertConfig(), renderer, context, 259)
    model = local(1)
    made = route({"expert": expert, "model": model}, rules=[{"teacher": "expert", "expert": True}], default="model",
                 fill=fill)  # fmt: skip
    assert made.needs == {"expert_action"} and "top_k" not in made.capabilities
    trajectory = make_episode(None, ((5, 6), (3, 4)))
    (row,) = trajectory.rows
    first = trajectory.steps[0]
    row.token_ids[first.start : first.end] = [*renderer.response("goX")[:-1], 7, 8, 9]
    first.info["expert_action"], trajectory.steps[1].info["expert_action"] = "go up", None
    (scores,) = made.score([trajectory], ScoreRequest())[0]
    (its,), (theirs,) = expert.score([trajectory], ScoreRequest())[0], model.score([trajectory], ScoreRequest())[0]
    span = slice(first.start, first.end)
    source = scores.source[span].tolist()
    assert source == [0, 0, 0] + ([1] * 3 if fill else [-1] * 3)
    assert np.array_equal(scores.sampled_logprob[span][:3], its.sampled_logprob[span][:3])
    other = row.step_of_token == 1
    assert (scores.source[other] == 1).all()
    assert np.array_equal(scores.sampled_logprob[other], theirs.sampled_logprob[other])
    if fill:
        assert np.array_equal(scores.sampled_logprob[span][3:], theirs.sampled_logprob[span][3:])
    else:
        assert np.isnan(scores.sampled_logprob[span][3:]).all() and not scores.valid[span][3:].any()


@pytest.mark.oracle
@pytest.mark.parametrize("support", ["full", "teacher-topk", "sampled"])
def test_gradient_and_shares_are_those_of_the_routed_teachers(support):
    """The gradient of a routed batch is the sum over teachers of the gradients of their own turns."""
    teachers = {"a": local(1), "b": local(2, hidden=64)}
    made = route(teachers, rules=[{"teacher": "a", "last_turn": 0}], default="b")
    divergence = "forward-kl" if support != "sampled" else "reverse-kl"
    loss = OpdLoss(OpdConfig(divergence=divergence, support=support, **({"k": 5} if support == "teacher-topk" else {})))

    def gradient(scores, weight, members=(), roles=None):
        student = tiny_model(5, hidden=32)
        batch = make_episode(student, TURNS, seed=3)
        for step in batch.steps if roles else ():
            step.loss_role = roles[step.index]
        loaded = LoadedModel(student, tiny_tokenizer(), "student", None, "f")
        needed = weight if loss.request.hidden else None
        settings = LearnerSettings(grad_clip=0.0)
        learner = Learner(loaded, loss=loss, settings=settings, teacher_weight=needed, members=members)
        metrics = learner.accumulate([batch], scores([batch], loss.request))
        return metrics, torch.cat([p.grad.flatten() for p in student.parameters()])

    metrics, whole = gradient(made.score, made.output_weight(), made.members)
    distill, none = LossRole.DISTILL, LossRole.NONE
    _, first = gradient(teachers["a"].score, teachers["a"].output_weight(), roles=[distill, none, none])
    _, rest = gradient(teachers["b"].score, teachers["b"].output_weight(), roles=[none, distill, distill])
    assert torch.allclose(whole, (4 * first + 9 * rest) / 13, atol=1e-5)
    assert metrics["teacher/share/a"] == pytest.approx(4 / 13)
    assert metrics["teacher/share/b"] == pytest.approx(9 / 13)
    assert 0 < metrics["teacher/gradient/a"] < 1
    assert metrics["teacher/gradient/a"] + metrics["teacher/gradient/b"] == pytest.approx(1.0)


@pytest.mark.oracle
def test_the_gradient_share_is_the_share_of_the_gradients_at_the_last_states():
    """Against autograd: norms of d loss / d final hidden state of each predicting position."""
    teachers = {"a": local(1), "b": local(2)}
    made = route(teachers, rules=[{"teacher": "a", "last_turn": 0}], default="b")
    student = tiny_model(5, hidden=32)
    batch = make_episode(student, TURNS, seed=3)
    loss = OpdLoss(OpdConfig(divergence="forward-kl", support="full"))
    learner = Learner(LoadedModel(student, tiny_tokenizer(), "s", None, "f"), loss=loss,
                      settings=LearnerSettings(grad_clip=0.0), teacher_weight=made.output_weight(),
                      members=made.members)  # fmt: skip
    metrics = learner.accumulate([batch], made.score([batch], loss.request))
    (row,) = batch.rows
    ids = torch.from_numpy(row.token_ids.astype("int64"))[None]
    hidden = student.model(input_ids=ids).last_hidden_state[0].detach().requires_grad_()
    q = (hidden @ student.lm_head.weight.T).log_softmax(-1)
    norms = {}
    for name, turns in (("a", [0]), ("b", [1, 2])):
        at = np.flatnonzero(np.isin(row.step_of_token, turns) & row.mask)
        p = teachers[name].loaded.model(input_ids=ids).logits[0].log_softmax(-1)[at - 1].detach()
        (p.exp() * (p - q[at - 1])).sum(-1).mean().mul(len(at)).backward(retain_graph=True)
        norms[name] = float(hidden.grad[at - 1].norm(dim=-1).sum())
        hidden.grad = None
    assert metrics["teacher/gradient/a"] == pytest.approx(norms["a"] / (norms["a"] + norms["b"]), rel=1e-4)
