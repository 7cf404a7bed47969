"""EOPD: entropy-aware on-policy distillation (arXiv 2603.07079).

The reverse KL drops the alternatives of an undecided teacher. Where the teacher's entropy is above a threshold, the
forward KL on its likeliest tokens is added, which keeps them.

    loss_t = RKL_t + c 1[H_T,t > 0.8] FKL_top16,t

RKL_t is the sampled policy gradient through PPO's clip (A = log pi_T - log pi_old), or the exact divergence with
`reverse = "exact"`. Paper: threshold 0.8 nats, k = 16.

Differs from the paper: the forward KL keeps a bucket for the tail, so it sees mass outside the teacher's top k;
`tail = "renormalise"` compares the shapes inside it only. [surrogate] does not apply, the clip is PPO's. Proofs: the
expected gradient is that of KL(q || p) + c KL_top-k(p || q) on vocabularies enumerated on both sides of the threshold;
above every entropy it is plain distillation; teacher = student gives zero.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.losses import FullDivergence, Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.topk import TopKDivergence
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.blend import Blend, always
from agentdistill_losses.divergences import ForwardKL, ReverseKL
from agentdistill_losses.opd import reverse_kl_advantage
from agentdistill_losses.supports import TeacherTopK


class EopdConfig(PluginConfig):
    """Entropy-aware on-policy distillation.

    Attributes:
        threshold: teacher entropy above which the forward KL is added, nats.
        forward: coefficient of the forward KL.
        k: how many of the teacher's likeliest tokens the forward KL sees.
        tail: "bucket" makes the rest one more outcome, "renormalise" forgets it.
        reverse: "sampled" is the policy gradient on the sampled token; "exact" needs a teacher with hidden states.
        log_ratio_clip: advantages are clipped to +- this many nats.
    """

    threshold: float = Field(default=0.8, ge=0.0)
    forward: float = Field(default=1.0, ge=0.0)
    k: int = Field(default=16, ge=1)
    tail: Literal["bucket", "renormalise"] = "bucket"
    reverse: Literal["sampled", "exact"] = "sampled"
    log_ratio_clip: float = Field(default=20.0, gt=0.0)

    @model_validator(mode="after")
    def _seen(self) -> EopdConfig:
        if self.tail == "renormalise" and self.k == 1:
            raise ValueError('k = 1 with tail = "renormalise" compares 1 with 1: the forward KL would be zero')
        return self


class EopdLoss:
    """See `EopdConfig`."""

    needs = frozenset({"teacher_entropy"})

    def __init__(self, config: EopdConfig) -> None:
        """Chooses the terms."""
        self.config = config

    @property
    def request(self) -> ScoreRequest:
        """Entropies, and the teacher's likeliest tokens or its whole distribution."""
        exact = self.config.reverse == "exact"
        return ScoreRequest(sampled=True, entropy=True, hidden=exact, top_k=0 if exact else self.config.k)

    def undecided(self, tokens: TokenStatistics) -> Tensor:
        """[n], the coefficient of the forward KL."""
        return torch.where(tokens.teacher_entropy > self.config.threshold, self.config.forward * always(tokens), 0.0)

    @property
    def objective(self) -> Objective:
        """Reverse KL everywhere, forward KL where the teacher is undecided."""
        c = self.config
        if c.reverse == "exact":
            forward = FullDivergence(TeacherTopK(ForwardKL(), c.k, renormalise=c.tail == "renormalise"))
            return Blend([(always, FullDivergence(ReverseKL())), (self.undecided, forward)])
        top = TopKDivergence(ForwardKL(), c.k, support="teacher", tail=c.tail)
        return Blend([(always, PolicyGradient(reverse_kl_advantage, c.log_ratio_clip)), (self.undecided, top)])
