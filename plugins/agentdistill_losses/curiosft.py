"""CurioSFT's curious target: imitation that keeps the model exploratory (arXiv 2602.02244).

Beside the cross-entropy, the token's log-probability is held near that of a tempered copy of the model (an exponential
average in the paper), which is a little more undecided where the model is undecided already:

    L = -log pi(y) + c 0.5 (log pi(y) - log softmax(z_bar / tau)(y))^2
    tau in [1.1, 1.5] such that H(softmax(z_bar / tau)) = H_0 + 0.5 sigmoid(2 (H_0 - 1.2)),  H_0 = H(softmax(z_bar))

tau is found by 20 bisections on the 512 likeliest tokens; where no tau of the interval reaches the target the nearer
end is used. The copy is this loss's teacher: `self` with weights = "ema".

    agentdistill imitate RECIPE --loss.type curiosft --teacher.type self --teacher.weights ema

minimises L on the demonstrated tokens. With `imitation = 0`, in `agentdistill train`, it holds the student's own tokens
near the tempered copy, beside rewards.

Defaults: c = 1; rise, centre, bounds and bisection are the paper's. Differs from the paper: its c and the rate of its
average are not known to us (`self` has 0.05). Proofs: the bisection meets its target or ends at a bound; entropy grows
with tau; the gradient by automatic differentiation; without curiosity it is cross-entropy, also in a run; with it, an
imitating student stays more undecided. It is not zero at teacher = student, by intent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import FullDivergence, Objective
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.supports import entropy


class CuriosftConfig(PluginConfig):
    """A tempered copy of the model as a companion of cross-entropy.

    Attributes:
        curiosity: coefficient c of the curious target.
        imitation: coefficient of the cross-entropy on the token; 1 for demonstrations, 0 for the student's own tokens.
        rise: largest rise of the entropy, nats.
        centre: entropy at which half of it is asked for, nats.
        low: smallest temperature.
        high: largest temperature.
        k: how many of the likeliest tokens the bisection sees.
        iterations: bisections.
    """

    curiosity: float = Field(default=1.0, ge=0.0)
    imitation: float = Field(default=1.0, ge=0.0)
    rise: float = Field(default=0.5, ge=0.0)
    centre: float = 1.2
    low: float = Field(default=1.1, ge=1.0)
    high: float = Field(default=1.5, gt=1.0)
    k: int = Field(default=512, ge=2)
    iterations: int = Field(default=20, ge=1)


def tempering(log_probs: Tensor, config: CuriosftConfig) -> Tensor:
    """The temperature of each row, [n, 1]."""
    with torch.no_grad():
        z = log_probs.topk(min(config.k, log_probs.shape[-1]), dim=-1).values
        start = entropy(z.log_softmax(-1))[:, None]
        goal = start + config.rise * torch.sigmoid(2.0 * (start - config.centre))
        low, high = torch.full_like(start, config.low), torch.full_like(start, config.high)
        for _ in range(config.iterations):
            middle = 0.5 * (low + high)
            short = entropy((z / middle).log_softmax(-1))[:, None] < goal
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        return 0.5 * (low + high)


@dataclass(frozen=True, slots=True)
class CuriousTarget:
    """The loss on the tokens that are there.

    Attributes:
        config: the options.
        tokens: the tokens of the rows, None before they are known.
    """

    config: CuriosftConfig
    tokens: TokenStatistics | None = None

    def at(self, tokens: TokenStatistics) -> CuriousTarget:
        """The loss for these tokens."""
        return CuriousTarget(self.config, tokens)

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of each row, [n]."""
        assert self.tokens is not None
        picked = self.tokens.token_id[:, None]
        goal = (teacher / tempering(teacher, self.config)).log_softmax(-1).gather(-1, picked).squeeze(-1)
        logprob = student.gather(-1, picked).squeeze(-1)
        return self.config.curiosity * 0.5 * (logprob - goal).square() - self.config.imitation * logprob


class CuriosftLoss:
    """See `CuriosftConfig`."""

    rests_at_teacher = False
    compares_demonstrations = True
    request = ScoreRequest(sampled=True, hidden=True)

    def __init__(self, config: CuriosftConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """Cross-entropy and curiosity."""
        return FullDivergence(CuriousTarget(self.config))
