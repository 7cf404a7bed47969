"""The learner's gradient on a real (tiny) model: what must change it and what must not."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_episodes import gradients, make_episode, naive_logprobs, random_scores
from tiny import tiny_model

from agentdistill.learner.heads import split_model
from agentdistill.learner.learner import Learner
from agentdistill.learner.losses import PolicyGradient
from agentdistill.learner.settings import LearnerSettings
from agentdistill.records import LossRole, ScoreRequest, TeacherScores
from agentdistill.teachers.scoring import score_rows
from agentdistill_losses.opd import OpdConfig, OpdLoss, reverse_kl_advantage
from agentdistill_step_weights.sod import SodConfig, sod

TURNS = [(6, 3), (2, 5), (0, 2), (3, 1)]
EVERY_LOSS = [
    OpdConfig(),
    OpdConfig(gradient="direct", estimator="k2"),
    OpdConfig(support="full"),
    OpdConfig(support="full", divergence="forward-kl"),
    OpdConfig(support="full", divergence="jsd", beta=0.4),
]


@pytest.fixture(scope="module")
def student():
    return tiny_model(0)


@pytest.fixture(scope="module")
def teacher():
    return tiny_model(1)


def name(config: OpdConfig) -> str:
    return f"{config.divergence}-{config.support}-{config.gradient}"


def score(model, episodes, hidden=True):
    parts = split_model(model)
    return [score_rows(parts, e.rows, ScoreRequest(hidden=hidden)) for e in episodes]


DEFAULT = OpdConfig()


def gradient(model, episodes, scores, config=DEFAULT, **options):
    """Unclipped gradient of one step, leaving the model as it was."""
    keywords = {k: options.pop(k) for k in ("step_weight", "token_weight", "teacher_weight") if k in options}
    settings = LearnerSettings(**{"grad_clip": 0.0, "batch_tokens": 64, "head_chunk": 4} | options)
    learner = Learner(model, loss=OpdLoss(config) if config else None, settings=settings, **keywords)
    metrics = learner.accumulate(episodes, scores)
    flat = gradients(model)
    model.zero_grad(set_to_none=True)
    return flat, metrics


@pytest.fixture(scope="module")
def case(student, teacher):
    episodes = [make_episode(student, TURNS[: 2 + i], seed=i, noise=0.05) for i in range(3)]
    return episodes, score(teacher, episodes), teacher.get_output_embeddings().weight.detach()


def test_policy_gradient_equals_the_naive_loop(student, case):
    """-(1/N) sum of the clipped surrogate over sampled tokens, row by row with all logits in memory."""
    episodes, scores, _ = case
    objective = PolicyGradient(reverse_kl_advantage)
    total, count = 0.0, 0
    student.zero_grad()
    for episode, opinions in zip(episodes, scores, strict=True):
        for row, opinion in zip(episode.rows, opinions, strict=True):
            logp = naive_logprobs(student, row.token_ids)
            for t in np.flatnonzero(row.mask):
                old = torch.tensor(row.old_logprob[t])
                advantage = torch.tensor(opinion.sampled_logprob[t]) - old
                total = total + objective.surrogate.values(logp[t], SimpleNamespace(old_logprob=old), advantage)
                count += 1
    (total / count).backward()
    expected = gradients(student)
    student.zero_grad(set_to_none=True)
    got, metrics = gradient(student, episodes, scores)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert metrics["loss"] == pytest.approx(float((total / count).detach()), rel=1e-4)


def test_full_divergence_equals_the_naive_loop(student, teacher, case):
    episodes, scores, weight = case
    total, count = 0.0, 0
    student.zero_grad()
    for episode in episodes:
        for row in episode.rows:
            ids = torch.as_tensor(row.token_ids, dtype=torch.int64)[None]
            own = student(input_ids=ids).logits[0].log_softmax(-1)
            with torch.no_grad():
                other = teacher(input_ids=ids).logits[0].log_softmax(-1)
            for t in np.flatnonzero(row.mask):
                total = total + (own[t - 1].exp() * (own[t - 1] - other[t - 1])).sum()
                count += 1
    (total / count).backward()
    expected = gradients(student)
    student.zero_grad(set_to_none=True)
    got, _ = gradient(student, episodes, scores, OpdConfig(support="full"), teacher_weight=weight)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", EVERY_LOSS, ids=name)
def test_a_teacher_that_is_the_student_gives_no_gradient(student, config):
    episodes = [make_episode(student, TURNS, seed=i) for i in range(2)]
    weight = student.get_output_embeddings().weight.detach().clone()
    got, metrics = gradient(student, episodes, score(student, episodes), config, teacher_weight=weight)
    assert float(got.abs().max()) < 2e-6
    assert abs(metrics["loss"]) < 1e-6 and abs(metrics["kl/episode_mean"]) < 1e-4


@pytest.mark.parametrize("config", EVERY_LOSS, ids=name)
def test_scores_and_log_probabilities_of_context_change_nothing(student, case, config):
    episodes, scores, weight = case
    expected, _ = gradient(student, episodes, scores, config, teacher_weight=weight)
    noisy_episodes, noisy_scores = copy.deepcopy(episodes), copy.deepcopy(scores)
    rng = np.random.default_rng(0)
    for episode, opinions in zip(noisy_episodes, noisy_scores, strict=True):
        for row, opinion in zip(episode.rows, opinions, strict=True):
            outside = ~row.mask
            row.old_logprob[outside] = rng.standard_normal(int(outside.sum()))
            opinion.sampled_logprob[outside] = rng.standard_normal(int(outside.sum()))
            opinion.valid[outside] = True
            opinion.hidden = opinion.hidden[torch.arange(len(row))]
            opinion.hidden[torch.from_numpy(outside)] = 7.0
    got, _ = gradient(student, noisy_episodes, noisy_scores, config, teacher_weight=weight)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("reduction", ["token-mean", "turn-mean", "blend"])
@pytest.mark.parametrize("config", EVERY_LOSS[:3:2], ids=name)
def test_cutting_into_micro_batches_changes_nothing(student, case, reduction, config):
    episodes, scores, weight = case
    roles = [LossRole.DISTILL, LossRole.IMITATE]
    mixed = make_episode(student, TURNS[:2], seed=9, roles=roles)
    episodes, scores = [*episodes, mixed], [*scores, *random_scores([mixed])]
    scores[-1][0].hidden = torch.zeros(len(mixed.rows[0]), weight.shape[1])
    options = {"reduction": reduction, "teacher_weight": weight, "step_weight": lambda s: sod(s, SodConfig())}
    whole, metrics = gradient(student, episodes, scores, config, batch_tokens=10_000, **options)
    single, more = gradient(student, episodes, scores, config, batch_tokens=1, head_chunk=1, **options)
    assert (metrics["batch/passes"], more["batch/passes"]) == (1.0, float(len(episodes)))
    torch.testing.assert_close(whole, single, rtol=1e-5, atol=1e-6)
    assert metrics["loss"] == pytest.approx(more["loss"], rel=1e-5)


@pytest.mark.parametrize("config", EVERY_LOSS[:3:2], ids=name)
@pytest.mark.parametrize("reduction", ["token-mean", "turn-mean"])
def test_one_row_per_episode_equals_one_row_per_turn(student, teacher, config, reduction):
    merged = make_episode(student, TURNS, seed=3)
    split = make_episode(student, TURNS, seed=3, one_row=False)
    weight = teacher.get_output_embeddings().weight.detach()
    grads = [
        gradient(student, [e], score(teacher, [e]), config, teacher_weight=weight, reduction=reduction)[0]
        for e in (merged, split)
    ]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)


def test_zero_weights_are_exactly_no_distillation(student, case):
    episodes, scores, _ = case
    got, _ = gradient(student, episodes, scores, step_weight=lambda steps: torch.zeros(steps.shape))
    assert float(got.abs().max()) == 0


def test_unit_weights_are_exactly_no_weights(student, case):
    episodes, scores, _ = case
    expected, _ = gradient(student, episodes, scores)
    got, _ = gradient(
        student,
        episodes,
        scores,
        step_weight=lambda steps: torch.ones(steps.shape),
        token_weight=lambda tokens: torch.ones(len(tokens)),
    )
    assert torch.equal(got, expected)


@pytest.mark.parametrize("constant", [0.01, 1.0, 30.0])
def test_a_constant_weight_under_mean1_is_no_weight(student, case, constant):
    episodes, scores, _ = case
    expected, _ = gradient(student, episodes, scores, reduction="turn-mean")
    weigh = {"step_weight": lambda steps: torch.full(steps.shape, constant), "reduction": "turn-mean"}
    got, _ = gradient(student, episodes, scores, weight_norm="mean1", **weigh)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    scaled, _ = gradient(student, episodes, scores, **weigh)
    torch.testing.assert_close(scaled / constant, expected, rtol=1e-5, atol=1e-6)


def test_step_and_token_weights_multiply(student, case):
    episodes, scores, _ = case
    by_step, _ = gradient(student, episodes, scores, step_weight=lambda s: 1.0 + s.index.float())
    by_token, _ = gradient(student, episodes, scores, token_weight=lambda t: 1.0 + t.turn.float())
    torch.testing.assert_close(by_step, by_token)
    both, _ = gradient(
        student,
        episodes,
        scores,
        step_weight=lambda s: 1.0 + s.index.float(),
        token_weight=lambda t: 1.0 / (1.0 + t.turn.float()),
    )
    torch.testing.assert_close(both, gradient(student, episodes, scores)[0], rtol=1e-5, atol=1e-6)


def test_imitation_is_cross_entropy_with_its_own_normaliser(student, case):
    episodes, scores, _ = case
    copied = make_episode(student, [(4, 3), (2, 2)], seed=11, roles=[LossRole.NONE, LossRole.IMITATE])
    at = np.flatnonzero(copied.rows[0].step_of_token == 1)
    student.zero_grad()
    (-naive_logprobs(student, copied.rows[0].token_ids)[at].mean()).backward()
    expected = gradients(student)
    student.zero_grad(set_to_none=True)
    alone, metrics = gradient(student, [copied], None, None)
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-6)
    assert metrics["tokens/imitate"] == 2
    # Beside distilled episodes its share does not depend on how many tokens those have.
    distilled, _ = gradient(student, episodes, scores)
    nothing = TeacherScores(np.full(len(copied.rows[0]), np.nan, np.float32), np.zeros(len(copied.rows[0]), bool))
    both, _ = gradient(student, [*episodes, copied], [*scores, [nothing]], imitation=0.5)
    torch.testing.assert_close(both, distilled + 0.5 * expected, rtol=1e-4, atol=1e-6)


def test_lora_trains_the_adapter_only(case):
    from agentdistill.learner.lora import LoraSettings, add_lora

    episodes, scores, _ = case
    model = add_lora(tiny_model(0), LoraSettings(rank=4))
    before = {n: p.clone() for n, p in model.named_parameters()}
    learner = Learner(model, loss=OpdLoss(OpdConfig()), settings=LearnerSettings(lr=1e-2))
    learner.step(episodes, scores)
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed and all("lora_" in n for n in changed)


def test_bf16_and_gradient_checkpointing_stay_close(student, case):
    episodes, scores, _ = case
    exact, _ = gradient(student, episodes, scores)
    low, _ = gradient(student, episodes, scores, bf16=True)
    assert float(torch.nn.functional.cosine_similarity(exact, low, dim=0)) > 0.99
    model = tiny_model(0)
    again, _ = gradient(model, episodes, scores, gradient_checkpointing=True)
    torch.testing.assert_close(again, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("student_rows", "teacher_rows"), [(259, 280), (280, 259)])
def test_vocabularies_padded_to_different_sizes_are_compared_on_what_they_share(student_rows, teacher_rows):
    def padded(seed, rows):
        """The same 259 tokens in every model; rows beyond them are padding that no tokenizer names."""
        model, wide = tiny_model(seed), tiny_model(seed, vocab=rows)
        state = model.state_dict()
        for key, value in wide.state_dict().items():
            if value.shape != state[key].shape:
                state[key] = torch.cat([state[key], value[259:]])
        wide.load_state_dict(state)
        return wide

    config = OpdConfig(support="full", divergence="jsd")
    results = []
    for student, teacher in ((tiny_model(0), tiny_model(1)), (padded(0, student_rows), padded(1, teacher_rows))):
        episodes = [make_episode(tiny_model(0), TURNS, seed=5)]
        weight = teacher.get_output_embeddings().weight.detach()
        learner = Learner(student, loss=OpdLoss(config), settings=LearnerSettings(grad_clip=0.0), teacher_weight=weight)
        assert learner.vocabulary == 259
        loss = learner.accumulate(episodes, score(teacher, episodes))["loss"]
        results.append((loss, student.model.embed_tokens.weight.grad))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1][:259], rtol=1e-4, atol=1e-6)
    assert float(results[1][1][259:].abs().sum()) == 0
