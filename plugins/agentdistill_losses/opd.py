"""On-policy distillation: the student's own tokens, judged by the teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.losses import FullDivergence, Objective, PolicyGradient, SampledLoss
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.estimators import k2

_WHY_NOT_SAMPLED = {
    "forward-kl": (
        "the forward KL is an expectation over the teacher's tokens, and these were sampled by the student; its "
        "importance weight pi_T / pi_S has no bound"
    ),
    "jsd": "the JSD needs both distributions, and one sampled token tells neither",
}


class OpdConfig(PluginConfig):
    """On-policy distillation.

    Attributes:
        divergence: what is minimised, with q the student and p the teacher: "reverse-kl" KL(q || p), "forward-kl"
            KL(p || q), or the generalised "jsd" of GKD.
        support: "sampled" looks at the sampled token only; "full" at the whole vocabulary, which needs a teacher
            that gives hidden states.
        gradient: "policy-gradient" uses the detached log-ratio as an advantage; "direct" differentiates a loss.
            "auto" is the policy gradient for sampled tokens and direct for the full vocabulary.
        estimator: which sampled estimator of the KL is differentiated when gradient = "direct".
        beta: the JSD's beta, in [0, 1]: 0 is the forward KL, 1 the reverse KL.
        temperature: softens both distributions (full support only).
        log_ratio_clip: advantages are clipped to +- this many nats.
        ratio_clip: PPO's clip of pi / pi_old.
        dual_clip: bound of the loss for negative advantages, in multiples of |A|.
    """

    divergence: Literal["reverse-kl", "forward-kl", "jsd"] = "reverse-kl"
    support: Literal["sampled", "full"] = "sampled"
    gradient: Literal["auto", "policy-gradient", "direct"] = "auto"
    estimator: Literal["k1", "k2", "k3"] | None = None
    beta: float = Field(default=0.5, ge=0.0, le=1.0)
    temperature: float = Field(default=1.0, gt=0.0)
    log_ratio_clip: float = Field(default=20.0, gt=0.0)
    ratio_clip: float = Field(default=0.2, gt=0.0, lt=1.0)
    dual_clip: float = Field(default=3.0, gt=1.0)

    @model_validator(mode="after")
    def _possible(self) -> OpdConfig:
        if self.support == "full":
            if self.gradient == "policy-gradient":
                raise ValueError(
                    'gradient = "policy-gradient" has nothing to do with support = "full": the divergence over the '
                    'whole vocabulary is differentiated exactly; use support = "sampled" or gradient = "auto"'
                )
            if self.estimator is not None:
                raise ValueError('an estimator belongs to support = "sampled"; the full divergence is not estimated')
            return self
        if self.divergence != "reverse-kl":
            raise ValueError(
                f'divergence = "{self.divergence}" cannot be had from sampled tokens: '
                f'{_WHY_NOT_SAMPLED[self.divergence]}; use support = "full" (a teacher with hidden states)'
            )
        if self.temperature != 1.0:
            raise ValueError(
                'temperature softens full distributions; sampled tokens are scored at 1; use support = "full"'
            )
        if self.gradient == "direct":
            if self.estimator in (None, "k1"):
                raise ValueError(
                    "the log-ratio (k1) must not be differentiated: its gradient has expectation zero and does not "
                    'depend on the teacher; use gradient = "policy-gradient", or estimator = "k2"'
                )
            if self.estimator == "k3":
                raise ValueError(
                    'estimator = "k3" differentiated gives the gradient of the forward KL, not of the reverse KL '
                    'that was asked for; use estimator = "k2"'
                )
        elif self.estimator not in (None, "k1"):
            raise ValueError(
                f'the policy gradient uses the log-ratio (k1) as its advantage, not "{self.estimator}"; '
                'set gradient = "direct" to differentiate k2'
            )
        return self


def reverse_kl_advantage(tokens: TokenStatistics) -> Tensor:
    """A = log pi_T - log pi_old: positive where the teacher likes the sampled token more than the student did."""
    return tokens.teacher_logprob - tokens.old_logprob


class OpdLoss:
    """See `OpdConfig`. The default is what multi-turn on-policy distillation does (arXiv 2604.24005, released code)."""

    def __init__(self, config: OpdConfig) -> None:
        """Chooses the objective."""
        self.config = config

    @property
    def request(self) -> ScoreRequest:
        """Sampled log-probabilities, and hidden states for the full support."""
        return ScoreRequest(sampled=True, hidden=self.config.support == "full")

    @property
    def objective(self) -> Objective:
        """The objective the options describe."""
        config = self.config
        if config.support == "full":
            beta = {"forward-kl": 0.0, "reverse-kl": 1.0, "jsd": config.beta}[config.divergence]
            return FullDivergence(generalised_jsd(beta), config.temperature)
        if config.gradient == "direct":
            return SampledLoss(k2)
        return PolicyGradient(reverse_kl_advantage, config.log_ratio_clip, config.ratio_clip, config.dual_clip)
