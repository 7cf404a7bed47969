"""vOPD: "a KL for a KL", a control variate for sampled distillation (arXiv 2605.07865).

The sampled policy gradient is noisy because its reward log pi_T - log pi_S has a mean that depends on the state. That
mean is known: it is minus the reverse KL, the value of the state. Taken away, the expected advantage is zero, and the
expected gradient is the same.

    A_t = (log pi_T - log pi_S)(y_t) + sg KL(pi_S || pi_T)(s_t),     loss_t = -sg(rho A_t) log pi_S(y_t)

`baseline = "topk"` takes the KL over the student's likeliest tokens, both renormalised, as the released code does with
k = 100; that leaves a bias of the baseline's error times the score function, whose mean is still zero: the gradient's
expectation does not change, only its variance.

Differs from released code: ratios rho are truncated at 10 instead of clipped. Needs a teacher with hidden states, as
the exact KL does: whoever has those may as well minimise it (`opd`, support = "full"); this one is the comparison.
Proofs: E[A] = 0 and the mean gradient is the reverse KL's, by enumeration to 1e-10; the variance is lower in the median
over many states (not in every state: the value is not the optimal baseline); teacher = student gives zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import FullDivergence, Objective
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.divergences import ReverseKL
from agentdistill_losses.supports import sampled_term, top_ids


class VopdConfig(PluginConfig):
    """A control variate for the sampled reverse KL.

    Attributes:
        baseline: "full" is the exact reverse KL, "topk" the one over the student's likeliest tokens, renormalised.
        k: how many tokens that are.
        advantage_clip: advantages are clipped to +- this many nats.
    """

    baseline: Literal["full", "topk"] = "full"
    k: int = Field(default=100, ge=2)
    advantage_clip: float = Field(default=20.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class ControlVariate:
    """The sampled loss with the state's value as its baseline, for tokens that are known.

    Attributes:
        config: the options.
        tokens: the tokens of the rows, None before they are known.
    """

    config: VopdConfig
    tokens: TokenStatistics | None = None

    def at(self, tokens: TokenStatistics) -> ControlVariate:
        """The loss for these tokens."""
        return ControlVariate(self.config, tokens)

    def advantage(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[n], detached."""
        assert self.tokens is not None
        student, picked = student.detach(), self.tokens.token_id[:, None]
        gap = (teacher.gather(-1, picked) - student.gather(-1, picked)).squeeze(-1)
        if self.config.baseline == "topk":
            ids = top_ids(student, self.config.k)
            student, teacher = (x.gather(-1, ids).log_softmax(-1) for x in (student, teacher))
        advantage: Tensor = gap + ReverseKL()(student, teacher)
        return advantage.clamp(-self.config.advantage_clip, self.config.advantage_clip)

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """-rho A of each row, [n], with the gradient of -sg(rho A) log pi."""
        assert self.tokens is not None
        return sampled_term(student, self.tokens, self.advantage(student, teacher))

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and d/dz = -rho A (1[y] - q)."""
        assert self.tokens is not None
        with torch.no_grad():
            value = self(student, teacher)
        gradient = student.exp_().mul_(-value[:, None])
        return value, gradient.scatter_add_(-1, self.tokens.token_id[:, None], value[:, None])


class VopdLoss:
    """See `VopdConfig`."""

    request = ScoreRequest(sampled=True, hidden=True)

    def __init__(self, config: VopdConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """The sampled loss with its baseline."""
        return FullDivergence(ControlVariate(self.config))
