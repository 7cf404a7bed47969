"""The divergences by name, and the supports they can be computed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, model_validator

from agentdistill.learner.losses import Divergence, FullDivergence, Objective
from agentdistill.learner.topk import TopKDivergence
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.divergences import ForwardKL, ReverseKL, generalised_jsd
from agentdistill_losses.fdivergences import ChiSquare, TotalVariation, alpha_divergence
from agentdistill_losses.skew import SkewKL, SkewReverseKL
from agentdistill_losses.sorting import SortedProbabilities

DivergenceName = Literal[
    "reverse-kl",
    "forward-kl",
    "jsd",
    "skew-kl",
    "skew-reverse-kl",
    "total-variation",
    "chi-square",
    "alpha",
    "uld",
]


class DistributionConfig(PluginConfig):
    """A divergence between distributions over the vocabulary or its most likely tokens.

    Attributes:
        divergence: with q the student and p the teacher: "reverse-kl" KL(q || p), "forward-kl" KL(p || q), the
            generalised "jsd" of GKD, "skew-kl" and "skew-reverse-kl" (DistiLLM), "total-variation", "chi-square"
            sum (p - q)^2 / q, the "alpha" divergence, or "uld", the distance of the sorted probabilities.
        support: "full" is the whole vocabulary and "student-topk" the student's k likeliest tokens, both of which need
            a teacher that gives hidden states; "teacher-topk" is the teacher's k likeliest tokens.
        k: how many tokens a top-k support has.
        tail: what happens to the rest of a top-k support: "bucket" makes it one more outcome, "renormalise" forgets it
            on both sides, "stop-gradient" lets the gradient through the student's probabilities only (reverse KL).
        beta: the JSD's beta, in [0, 1]: 0 is the forward KL, 1 the reverse KL.
        skew: the share of the other side in the skewed divergences' mixture.
        alpha: the alpha-divergence's order: 0 is the reverse KL, 1 the forward KL, 2 half of chi-square.
        temperature: softens both distributions.
    """

    divergence: DivergenceName = "reverse-kl"
    support: Literal["full", "teacher-topk", "student-topk"] = "full"
    k: int = Field(default=64, ge=1)
    tail: Literal["bucket", "renormalise", "stop-gradient", "none"] = "bucket"
    beta: float = Field(default=0.5, ge=0.0, le=1.0)
    skew: float = Field(default=0.1, gt=0.0, lt=1.0)
    alpha: float = Field(default=0.5, ge=0.0, le=4.0)
    temperature: float = Field(default=1.0, gt=0.0)

    @model_validator(mode="after")
    def _possible_support(self) -> DistributionConfig:
        if self.support in ("teacher-topk", "student-topk"):
            _refuse_top_k(self)
        elif self.tail != "bucket":
            raise ValueError(f'tail = "{self.tail}" belongs to a top-k support; "{self.support}" leaves no tail')
        return self


def _refuse_top_k(config: DistributionConfig) -> None:
    """Raises ValueError, with the reason, for what a top-k support cannot do."""
    if config.tail == "none":
        raise ValueError(
            'tail = "none", a top-k sum without its tail, has a wrong gradient: it is not zero where the student is '
            "the teacher and moves mass in or out of the top-k for ever (the reverse KL's fixed point is the teacher "
            'divided by e); use tail = "bucket", "renormalise" or, with the reverse KL, "stop-gradient"'
        )
    if config.tail == "renormalise" and config.k == 1:
        raise ValueError(
            'k = 1 with tail = "renormalise" compares 1 with 1: the loss is zero for every student; use k >= 2 or '
            'tail = "bucket"'
        )
    if config.tail == "stop-gradient" and config.divergence != "reverse-kl":
        raise ValueError(
            f'tail = "stop-gradient" is the reverse KL\'s mend (its score function has mean zero); for '
            f'"{config.divergence}" it would cut the only gradient there is; use tail = "bucket"'
        )
    if config.temperature != 1.0 and config.support == "teacher-topk" and config.tail != "renormalise":
        raise ValueError(
            "temperature softens a distribution, and of the teacher's tail only the mass at temperature 1 is known; "
            'use temperature = 1, tail = "renormalise" or support = "full"'
        )


def chosen_divergence(config: DistributionConfig) -> Divergence:
    """The divergence the options describe."""
    makers: dict[DivergenceName, Callable[[], Divergence]] = {
        "reverse-kl": ReverseKL,
        "forward-kl": ForwardKL,
        "jsd": lambda: generalised_jsd(config.beta),
        "skew-kl": lambda: SkewKL(config.skew),
        "skew-reverse-kl": lambda: SkewReverseKL(config.skew),
        "total-variation": TotalVariation,
        "chi-square": ChiSquare,
        "alpha": lambda: alpha_divergence(config.alpha),
        "uld": SortedProbabilities,
    }
    return makers[config.divergence]()


def chosen_objective(config: DistributionConfig, divergence: Divergence | None = None) -> Objective:
    """The divergence (default: the one of the options) on the support of the options."""
    divergence = divergence or chosen_divergence(config)
    if config.support == "full":
        return FullDivergence(divergence, config.temperature)
    assert config.tail != "none"  # refused by the validator
    support: Literal["teacher", "student"] = "teacher" if config.support == "teacher-topk" else "student"
    return TopKDivergence(divergence, config.k, support=support, tail=config.tail, temperature=config.temperature)


def score_request(config: DistributionConfig) -> ScoreRequest:
    """What the teacher has to give for the support of the options."""
    if config.support == "teacher-topk":
        return ScoreRequest(sampled=True, top_k=config.k)
    return ScoreRequest(sampled=True, hidden=True)
