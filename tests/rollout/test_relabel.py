"""What a guide would have written at the student's states: same prompts, own rows, nothing of it distilled."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from toy_world import CorridorSource, ScriptedEngine, lost, renderer, requests, right

from agentdistill.errors import ConfigError
from agentdistill.learner.batch import assemble
from agentdistill.learner.learner import Learner
from agentdistill.learner.settings import LearnerSettings
from agentdistill.models import LoadedModel
from agentdistill.records import (
    CONTEXT,
    Actor,
    EpisodePlan,
    LossRole,
    Relabel,
    ScoreRequest,
    StopReason,
    trainable_tokens,
)
from agentdistill.rollout.guide import ExpertGuide, ModelGuide
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.rollout.relabel import relabelled
from agentdistill.teachers.scoring import unscored
from agentdistill.training.relabels import with_relabels
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext
from agentdistill_engines.hf import HfConfig, HfEngine

APPEND = AppendContext(AppendConfig())
WINDOW = WindowContext(WindowConfig(steps=1, think=False, admissible=False))


def episodes(context=APPEND, actor=Actor.TEACHER, student=lost, role=LossRole.NONE, count=5, **plan):
    plan = EpisodePlan(student_role=role, relabel=Relabel(actor), guide_actor=actor, **plan)
    return play(
        [dataclasses.replace(request, plan=plan) for request in requests(count)],
        source=CorridorSource(), engine=ScriptedEngine(student), renderer=renderer(), context=context,
        settings=RolloutSettings(max_steps=6, want_expert=True),
    )  # fmt: skip


def ask(played, guide=None, actor=Actor.TEACHER, context=APPEND, **settings):
    guides = {} if guide is None else {actor: guide}
    settings = RolloutSettings(**settings)
    return relabelled(played, guides=guides, renderer=renderer(), context=context, settings=settings)


class PromptEngine(ScriptedEngine):
    """Remembers the prompts it was given."""

    def __init__(self, answer):
        super().__init__(answer)
        self.prompts = {}
        self.temperatures = set()

    def generate(self, asked, sampling):
        self.temperatures.add(sampling.temperature)
        for request in asked:
            self.prompts.setdefault(request.session, []).append(list(request.prompt))
        return super().generate(asked, sampling)


@pytest.mark.parametrize("context", [APPEND, WINDOW])
def test_every_state_the_student_acted_in_gets_the_guides_turn_on_the_students_prompt(context):
    played = episodes(context)
    engine = PromptEngine(lambda *turn: context.render_action("ahead"))
    made = ask(played, ModelGuide(engine), context=context)
    assert len(made) == len(played) and engine.temperatures == {0.0}
    assert sorted(engine.released) == sorted(f"relabel-{i}" for i in range(5))
    for number, (trajectory, relabel) in enumerate(zip(played, made, strict=True)):
        assert (relabel.task, relabel.seed, relabel.plan) == (trajectory.task, trajectory.seed, trajectory.plan)
        assert relabel.meta["relabels"] and "relabels" not in trajectory.meta
        assert len(relabel.rows) == len(relabel.steps) == len(trajectory.steps)
        prompts = engine.prompts[f"relabel-{number}"]
        for step, own, row, prompt in zip(relabel.steps, trajectory.steps, relabel.rows, prompts, strict=True):
            shown = trajectory.rows[own.row].token_ids[: own.start]
            assert prompt == shown.tolist() and np.array_equal(row.token_ids[: step.start], shown)
            assert (step.index, step.observation) == (own.index, own.observation)
            assert (step.actor, step.loss_role) == (Actor.TEACHER, LossRole.IMITATE)
            assert step.action == "ahead" and step.info["student_action"] == own.action
            assert renderer().decode(row.token_ids[step.start : step.end]) == step.response
            assert (row.step_of_token[: step.start] == CONTEXT).all()
            assert (row.step_of_token[step.start :] == step.index).all() and step.end == len(row)
            assert not row.mask.any() and np.isnan(row.old_logprob).all()


def test_the_expert_relabels_with_its_advice():
    for relabel in ask(episodes(actor=Actor.EXPERT), ExpertGuide(APPEND, renderer()), Actor.EXPERT):
        assert {step.action for step in relabel.steps} == {"ahead"}
        assert {step.actor for step in relabel.steps} == {Actor.EXPERT}


def test_replayed_turns_and_the_guides_own_are_not_states_the_student_acted_in():
    for relabel in ask(episodes(prefix=("ahead", "ahead"), count=4), ModelGuide(ScriptedEngine(right))):
        assert min(step.index for step in relabel.steps) == 2
    assert ask(episodes(guide=1.0, count=1), ModelGuide(ScriptedEngine(right))) != []  # nobody there to guide in play


def test_nothing_is_made_where_nothing_is_asked_for():
    plain = [dataclasses.replace(t, plan=EpisodePlan()) for t in episodes()]
    dead = [dataclasses.replace(t, stop=StopReason.ABORTED) for t in episodes()]
    assert ask(plain + dead) == []
    with pytest.raises(ConfigError, match="relabelled by the teacher"):
        ask(episodes())


@pytest.mark.parametrize("role", [LossRole.NONE, LossRole.DISTILL])
def test_the_learner_takes_them_as_demonstrations_and_distils_none_of_them(role):
    played = episodes(role=role)
    made = ask(played, ModelGuide(ScriptedEngine(right)))
    scores = [[unscored(row, ScoreRequest()) for row in t.rows] for t in played]
    for trajectory, opinions in zip(played, scores, strict=True):
        for row, opinion in zip(trajectory.rows, opinions, strict=True):
            opinion.sampled_logprob[row.mask] = -1.0
            opinion.valid[row.mask] = True
    batch = assemble(*with_relabels(played, scores, None, made)[:2])
    written = sum(step.end - step.start for relabel in made for step in relabel.steps)
    assert len(batch.imitate) == written and batch.counts["tokens/dead"] == 0
    own = trainable_tokens(played)
    assert len(batch.distill) == (own if role is LossRole.DISTILL else 0)
    assert batch.counts["tokens/unused"] == own - len(batch.distill)
    assert not (batch.distill.trajectory >= len(played)).any()


def test_the_gradient_is_that_of_cross_entropy_on_the_guides_turns():
    """Enumerated row by row with plain log-softmax, mean over turns of the mean over tokens."""
    student = tiny_model(seed=3)
    loaded = LoadedModel(student, tiny_tokenizer(), "student", None, "f")
    played = play(
        requests(2, relabel=Relabel(), student_role=LossRole.NONE, horizon=3), source=CorridorSource(),
        engine=HfEngine(HfConfig(), SimpleNamespace(model=student)), renderer=renderer(), context=APPEND,
        settings=RolloutSettings(max_new_tokens=5),
    )  # fmt: skip
    made = ask(played, ModelGuide(ScriptedEngine(right)))
    settings = LearnerSettings(lr=1e-3, steps=1, grad_clip=0.0, reduction="turn-mean")
    learner = Learner(loaded, loss=None, settings=settings)
    metrics = learner.accumulate(*with_relabels(played, None, None, made)[:2])
    got = [p.grad.clone() for p in student.parameters()]
    student.zero_grad()
    means = []
    for relabel in made:
        for step in relabel.steps:
            ids = torch.from_numpy(relabel.rows[step.row].token_ids.astype("int64"))
            logp = student(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
            means.append(-logp.gather(1, ids[1:, None])[step.start - 1 : step.end - 1].mean())
    loss = torch.stack(means).mean()
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for gradient, parameter in zip(got, student.parameters(), strict=True):
        assert torch.allclose(gradient, parameter.grad, atol=2e-6)


def test_with_relabels_keeps_everything_parallel():
    from agentdistill.learner.facts import BatchExtras

    played = episodes(count=2)
    made = ask(played, ModelGuide(ScriptedEngine(right)))
    arrays = [np.ones(len(t.steps), np.float32) for t in played]
    known = [[np.zeros(len(row), np.float32) for row in t.rows] for t in played]
    trajectories, scores, extras = with_relabels(played, None, BatchExtras(arrays, arrays, known), made)
    assert trajectories == [*played, *made] and scores is None
    steps = [len(t.steps) for t in trajectories]
    assert [len(a) for a in extras.rewards] == [len(a) for a in extras.advantages] == steps
    assert [len(r) for r in extras.reference] == [len(t.rows) for t in trajectories]
    assert with_relabels(played, None, None, [])[2] is None
