"""Weights on their way through the registry and the learner, on a real (tiny) model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_episodes import gradients, make_episode, random_scores
from made_weights import make_steps, make_tokens
from tiny import tiny_model

from agentdistill.errors import ConfigError, PluginError
from agentdistill.learner.batch import assemble
from agentdistill.learner.facts import BatchExtras
from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.learner import Learner
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.reduce import reduction_coefficients
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import STATISTICS
from agentdistill.learner.weights import branch_weights
from agentdistill.plugins import PluginRegistry
from agentdistill_losses.opd import OpdConfig, OpdLoss

TURNS = [(6, 3), (2, 5), (0, 2), (3, 1)]
SHAPE = ((3, 1, 4), (2,), (1, 1, 2, 6))
KINDS = {"step-weight": make_steps, "token-weight": make_tokens}


@pytest.fixture(scope="module")
def registry():
    return PluginRegistry.load(third_party=False)


@pytest.fixture(scope="module")
def student():
    return tiny_model(0)


@pytest.fixture(scope="module")
def case(student):
    """Two episodes with everything a weight could ask for; the engine's entropies are made up."""
    episodes = [make_episode(student, TURNS[: 2 + i], seed=i) for i in range(2)]
    rng = np.random.default_rng(0)
    for episode in episodes:
        for row in episode.rows:
            row.old_entropy = np.where(row.mask, rng.random(len(row)), np.nan).astype(np.float32)
            row.old_top_ids = np.where(row.mask[:, None], rng.integers(0, 5, (len(row), 2)), -1).astype(np.int32)
        for step in episode.steps:
            step.info["annotations"] = {"judge": float(rng.integers(0, 3)) / 2}
    scores = random_scores(episodes)
    for opinions in scores:
        for opinion in opinions:
            count = len(opinion.sampled_logprob)
            opinion.entropy = rng.random(count).astype(np.float32)
            opinion.confidence = rng.random(count).astype(np.float32)
            opinion.topk_ids = rng.integers(0, 5, (count, 2)).astype(np.int32)
            opinion.topk_logprobs = np.full((count, 2), -1.0, dtype=np.float32)
    return episodes, scores


def gradient(model, case, *, extras=None, fusion=None, norm="none", steps=(), tokens=()):
    """Unclipped gradient of one step, and its metrics."""
    settings = LearnerSettings(grad_clip=0.0, batch_tokens=64, weight_norm=norm, steps=10)
    loss = OpdLoss(OpdConfig())
    learner = Learner(
        model, loss=loss, step_weight=list(steps), token_weight=list(tokens), fusion=fusion, settings=settings
    )
    learner.steps_done = 5
    metrics = learner.accumulate(*case, extras)
    flat = gradients(model)
    model.zero_grad(set_to_none=True)
    return flat, metrics


def every(registry):
    return [(kind, name) for kind in KINDS for name in sorted(registry.names(kind))]


EVERY = every(PluginRegistry.load(third_party=False))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_weight_reaches_the_gradient_as_the_numbers_it_gives(registry, student, case, kind, name):
    """The gradient is the same when the weight's own numbers are handed to the learner as plain tensors."""
    seen = {}
    function = registry.function(kind, {"type": name})

    def spy(statistics, **keywords):
        given = function(statistics, **keywords)
        seen["kd"] = given["kd"] if isinstance(given, dict) else given
        return given

    spy.takes_progress = function.takes_progress
    where = "steps" if kind == "step-weight" else "tokens"
    got, metrics = gradient(student, case, **{where: [spy]})
    expected, _ = gradient(student, case, **{where: [lambda statistics: seen["kd"].clone()]})
    assert torch.equal(got, expected)
    assert metrics["loss"] == metrics["loss"] and not seen["kd"].requires_grad


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_weight_says_what_it_needs(registry, kind, name):
    """Without what it needs a weight is refused by the core, with it, it is not; and it asks for nothing unused."""
    function = registry.function(kind, {"type": name})
    assert all(need in STATISTICS or need.startswith("annotation:") for need in function.needs)
    statistics = KINDS[kind](SHAPE)
    known = {"overlap", "old_entropy", "teacher_entropy", "teacher_confidence"}
    shape = statistics.shape if kind == "step-weight" else torch.Size([len(statistics)])

    def refused(**unknown):
        try:
            run(function, kind, replace(statistics, **unknown))
        except PluginError:
            return True
        return False

    nothing = torch.full(shape, torch.nan)
    assert not refused()
    assert {field for field in known if refused(**{field: nothing})} == function.needs & known
    if kind == "step-weight":
        assert refused(annotations={}) == ("annotation:judge" in function.needs)


def test_sage_needs_what_it_is_configured_for(registry):
    assert registry.function("step-weight", {"type": "sage"}).needs == {"annotation:judge", "teacher_confidence"}
    function = registry.function("step-weight", {"type": "sage", "confidence": False, "annotation": "help"})
    assert function.needs == {"annotation:help"}
    steps = make_steps(SHAPE)
    unknown = replace(
        steps,
        teacher_confidence=torch.full(steps.shape, torch.nan),
        annotations={"help": steps.annotations["judge"]},
    )
    run(function, "step-weight", unknown)


def run(function, kind, statistics):
    """Through the core's checks."""
    tokens = make_tokens(SHAPE)
    base = reduction_coefficients(tokens.trajectory, tokens.turn, "token-mean", 0.0)
    steps = statistics if kind == "step-weight" else make_steps(SHAPE)
    tokens = statistics if kind == "token-weight" else tokens
    over_steps, over_tokens = ([function], []) if kind == "step-weight" else ([], [function])
    return branch_weights(over_steps, over_tokens, None, steps, tokens, base, "none", LearnerProgress(5, 10))


def test_sod_with_mean_one_normalisation_is_an_option_of_the_optimiser(registry, student, case):
    """`optim.weight_norm = "mean1"` divides by the weights' mean under the reduction, and by nothing else."""
    sod = registry.function("step-weight", {"type": "sod", "delta": 0.2})
    plain, metrics = gradient(student, case, steps=[sod])
    mean1, normed = gradient(student, case, steps=[sod], norm="mean1")
    mean = metrics["weight/token_mean"]
    assert mean != pytest.approx(1.0, abs=1e-3) and normed["weight/token_mean"] == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(mean1, plain / mean, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))
    # Effective sample sizes do not depend on the scale.
    assert normed["weight/token_ess"] == pytest.approx(metrics["weight/token_ess"], rel=1e-5)


def kish(values):
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))


@pytest.mark.parametrize("reduction", ["token-mean", "turn-mean"])
def test_the_effective_sample_size_is_told_before_and_after_the_weights(registry, student, case, reduction):
    """Before: under the reduction alone, where short turns own a mean over turns. After: times the branch's weights."""
    tokens = assemble(*case).tokens
    g = torch.Generator().manual_seed(0)
    kd, rl = (torch.rand(len(tokens), generator=g) for _ in range(2))
    settings = LearnerSettings(grad_clip=0.0, batch_tokens=64, reduction=reduction)
    learner = Learner(
        student, loss=OpdLoss(OpdConfig()), token_weight=lambda _: {"kd": kd, "rl": rl}, settings=settings
    )
    extras = BatchExtras(advantages=[np.ones(len(e.steps), dtype=np.float32) for e in case[0]])
    metrics = learner.accumulate(*case, extras)
    student.zero_grad(set_to_none=True)
    base = torch.tensor(
        [1.0 if reduction == "token-mean" else 1.0 / n for n in tokens.length.tolist()], dtype=torch.float64
    )
    assert metrics["weight/ess_before"] == pytest.approx(kish(base), rel=1e-5)
    assert metrics["weight/token_ess"] == pytest.approx(kish(base * kd), rel=1e-5)
    assert metrics["weight/rl_ess"] == pytest.approx(kish(base * rl), rel=1e-5)
    assert (metrics["weight/ess_before"] == pytest.approx(1.0)) == (reduction == "token-mean")


def test_several_weights_are_multiplied(registry, student, case):
    names = [
        ("step-weight", "atod"),
        ("step-weight", "turn-equal"),
        ("token-weight", "iw-opd"),
        ("token-weight", "tip"),
    ]
    functions = {name: registry.function(kind, {"type": name}) for kind, name in names}
    both, _ = gradient(
        student,
        case,
        steps=[functions["atod"], functions["turn-equal"]],
        tokens=[functions["iw-opd"], functions["tip"]],
    )
    swapped, _ = gradient(
        student,
        case,
        steps=[functions["turn-equal"], functions["atod"]],
        tokens=[functions["tip"], functions["iw-opd"]],
    )
    torch.testing.assert_close(both, swapped, rtol=1e-5, atol=1e-6 * float(both.abs().max()))


class RewardsOnly(FusionBase):
    """Leaves the teacher out."""

    def scales(self, progress):
        return Scales(kd=0.0, rl=1.0)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_published_weights_weigh_the_teacher_s_branch_only(registry, student, case, kind, name):
    """What the rewards say is not touched by any of them at its defaults."""
    episodes, _ = case
    advantages = [np.linspace(-1, 1, len(e.steps)).astype(np.float32) for e in episodes]
    extras = BatchExtras(rewards=advantages, advantages=advantages)
    function = registry.function(kind, {"type": name})
    where = "steps" if kind == "step-weight" else "tokens"
    weighed, _ = gradient(student, case, extras=extras, fusion=RewardsOnly(), **{where: [function]})
    plain, _ = gradient(student, case, extras=extras, fusion=RewardsOnly())
    assert torch.equal(weighed, plain) and float(plain.abs().max()) > 0


@pytest.mark.parametrize("name", ["role-weights", "action-only"])
def test_roles_can_weigh_the_rewards_branch(registry, student, case, name):
    """No token is an action here (nobody asked for roles): with both branches masked nothing is left to learn."""
    options = {"text": 0.0} if name == "role-weights" else {}
    function = registry.function("token-weight", {"type": name, "branches": ["kd", "rl"], **options})
    episodes, _ = case
    advantages = [np.ones(len(e.steps), dtype=np.float32) for e in episodes]
    extras = BatchExtras(rewards=advantages, advantages=advantages)
    flat, _ = gradient(student, case, extras=extras, fusion=RewardsOnly(), tokens=[function])
    assert float(flat.abs().max()) == 0


@pytest.mark.parametrize(
    ("kind", "section", "reason"),
    [
        ("step-weight", {"type": "turn-equal", "start": 0.9, "end": 0.5}, "must be below end"),
        ("step-weight", {"type": "sod", "delta": float("inf")}, "finite"),
        ("step-weight", {"type": "drop-stuck", "on": "invald"}, "repeated-invalid"),
        ("token-weight", {"type": "tip", "share": 0.0}, "greater than 0"),
        ("token-weight", {"type": "role-weights", "text": 0, "action": 0, "special": 0}, "no token would be trained"),
        ("token-weight", {"type": "cord", "alpha": 0.5}, "greater than or equal to 1"),
    ],
)
def test_impossible_options_are_refused_with_the_reason(registry, kind, section, reason):
    with pytest.raises(ConfigError, match=reason):
        registry.function(kind, section)


def test_a_weight_that_evens_out_lengths_refuses_a_reduction_that_does(registry: PluginRegistry) -> None:
    from agentdistill.config.load import load_config
    from agentdistill.training.methods import Methods

    def needs(reduction: str) -> frozenset[str]:
        overrides = {"step_weight.type": "turn-equal", "optim.reduction": reduction}
        return Methods(load_config([], overrides, registry=registry).config, registry).needs

    assert needs("token-mean") == frozenset()
    with pytest.raises(ConfigError, match="corrected twice"):
        needs("turn-mean")
