"""The policy gradient of any f-divergence (OPD+, arXiv 2606.01039): what one sampled token says about D_f(p || q).

    D_f(p || q) = E_{y ~ q} f(u),  u = p(y) / q(y),   gradient = - E_{y ~ q} [ A(u) grad log q ],   A = -f(u) + u f'(u)

with p the teacher and q the student. A(1) is subtracted, a constant and hence a baseline: a student that equals its
teacher has advantage 0 on every token.

    reverse-kl       f = -log u             A = log u                 the usual one, see "opd"
    forward-kl       f = u log u            A = u - 1                 unbounded above: heavy tails
    chi-square       f = (u - 1)^2          A = u^2 - 1               heavier still
    total-variation  f = |u - 1| / 2        A = sign(u - 1) / 2       bounded on both sides
    jsd              GKD's, with m = beta u + 1 - beta                A = (1 - beta) log m        bounded below
    alpha            f = (u^a - a u + a - 1) / (a (a - 1))            A = (u^a - 1) / a
    skew-kl          KL(p || a p + (1 - a) q), m = a u + 1 - a        A = (1 - a) (u / m - 1)     bounded
    skew-reverse-kl  KL(q || (1 - a) p + a q), m = (1 - a) u + a      A = log m + (1 - a) (1 - u / m)

The gradient is exact in expectation; the variance is that of u. From samples alone the forward KL sees a token that
only the teacher likes when the student happens to draw it, with weight u: clip it, or use the full vocabulary.

Defaults: jsd with beta 0.5; log u is clipped to +- 20 and A to +- 20. The general A is the survey's (arXiv 2604.00626,
C.1); released code has the reverse KL only.
Proofs: tests/losses/test_pg_f.py (enumerated gradient equals the full divergence's to 1e-10 for each f; A(1) = 0; the
limits of alpha).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest

Name = Literal[
    "reverse-kl", "forward-kl", "chi-square", "total-variation", "jsd", "alpha", "skew-kl", "skew-reverse-kl"
]  # fmt: skip

SAME = 1e-4
"""Nats. The total variation jumps at u = 1: within this of it, arithmetic and not the teacher would decide the sign."""

_PARAMETER = {"jsd": "beta", "alpha": "alpha", "skew-kl": "skew", "skew-reverse-kl": "skew"}


class FPolicyGradientConfig(PluginConfig):
    """Which divergence, and how far its advantages may go.

    Attributes:
        divergence: the f-divergence.
        beta: of the "jsd", in (0, 1); false is 0.5.
        alpha: of "alpha", at least 0 (0 is the reverse KL, 1 the forward KL, 2 half of chi-square); false is 0.5.
        skew: of "skew-kl" and "skew-reverse-kl", in [0, 1): the share mixed in; false is DistiLLM's 0.1.
        log_ratio_clip: log u is clipped to +- this many nats.
        advantage_clip: advantages are clipped to +- this.
    """

    divergence: Name = "jsd"
    beta: float | None = Field(default=None, gt=0.0, lt=1.0)
    alpha: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    skew: float | None = Field(default=None, ge=0.0, lt=1.0)
    log_ratio_clip: float = Field(default=20.0, gt=0.0, le=20.0)
    advantage_clip: float = Field(default=20.0, gt=0.0)

    @model_validator(mode="after")
    def _own_parameter(self) -> FPolicyGradientConfig:
        for key in ("beta", "alpha", "skew"):
            if getattr(self, key) is not None and _PARAMETER.get(self.divergence) != key:
                raise ValueError(f'{key} says nothing about divergence = "{self.divergence}"; leave it out')
        return self


def advantage_of(config: FPolicyGradientConfig) -> Callable[[Tensor], Tensor]:
    """A - A(1) as a function of log u."""
    beta = 0.5 if config.beta is None else config.beta
    alpha = 0.5 if config.alpha is None else config.alpha
    skew = 0.1 if config.skew is None else config.skew

    def power(x: Tensor) -> Tensor:
        return x if alpha == 0.0 else torch.expm1(alpha * x) / alpha

    def skew_kl(x: Tensor) -> Tensor:
        m = 1.0 + skew * torch.expm1(x)
        return (1.0 - skew) * (x.exp() / m - 1.0)

    def skew_rkl(x: Tensor) -> Tensor:
        growth = (1.0 - skew) * torch.expm1(x)
        return torch.log1p(growth) + (1.0 - skew) * (1.0 - x.exp() / (1.0 + growth))

    table: dict[str, Callable[[Tensor], Tensor]] = {
        "reverse-kl": lambda x: x,
        "forward-kl": torch.expm1,
        "chi-square": lambda x: torch.expm1(2.0 * x),
        "total-variation": lambda x: 0.5 * x.sign() * (x.abs() > SAME),
        "jsd": lambda x: (1.0 - beta) * torch.log1p(beta * torch.expm1(x)),
        "alpha": power,
        "skew-kl": skew_kl,
        "skew-reverse-kl": skew_rkl,
    }
    return table[config.divergence]


class FPolicyGradientLoss:
    """See `FPolicyGradientConfig`."""

    request = ScoreRequest(sampled=True)

    def __init__(self, config: FPolicyGradientConfig) -> None:
        self.config = config

    @property
    def objective(self) -> Objective:
        """The advantage through the surrogate."""
        config, advantage = self.config, advantage_of(self.config)

        def of_tokens(tokens: TokenStatistics) -> Tensor:
            log_ratio = tokens.teacher_logprob - tokens.old_logprob
            return advantage(log_ratio.clamp(-config.log_ratio_clip, config.log_ratio_clip))

        return PolicyGradient(of_tokens, config.advantage_clip)
