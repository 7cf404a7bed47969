"""On-policy distillation: the student's own tokens, judged by the teacher.

The default is what multi-turn on-policy distillation does (arXiv 2604.24005, released code): the detached log-ratio
log pi_T - log pi_old of each sampled token is its advantage in PPO's clipped surrogate. Its expected gradient is the
reverse KL's. With another `support` the divergence is differentiated exactly, in bounded memory.

Differs from the paper as the released code does: the paper writes KL(teacher || student), the code trains the reverse.
Proofs: the policy gradient and k2 enumerate to the reverse KL's gradient, k1 differentiated to zero, k3 to the forward
KL's; every divergence against its definition, its limits and automatic differentiation; the tail bucket never exceeds
the full divergence; teacher = student gives zero value and gradient.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient, SampledLoss
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.surrogates import ClippedRatio
from agentdistill.records import ScoreRequest
from agentdistill_losses.choice import DistributionConfig, chosen_objective, score_request
from agentdistill_losses.estimators import k2, k3

_BOTH_NEEDED = "it needs both distributions, and one sampled token tells neither"
_WHY_NOT_SAMPLED = {
    "forward-kl": (
        "the forward KL is an expectation over the teacher's tokens, and these were sampled by the student; its "
        'importance weight pi_T / pi_S has no bound (gradient = "direct" with estimator = "k3" takes it as it is)'
    ),
    "jsd": "the JSD needs both distributions, and one sampled token tells neither",
}


class OpdConfig(DistributionConfig):
    """On-policy distillation.

    Attributes:
        divergence: what is minimised, with q the student and p the teacher: "reverse-kl" KL(q || p), "forward-kl"
            KL(p || q), the generalised "jsd" of GKD, "skew-kl" and "skew-reverse-kl" (DistiLLM), "total-variation",
            "chi-square" sum (p - q)^2 / q, the "alpha" divergence, or "uld", the distance of the sorted probabilities.
        support: "sampled" looks at the sampled token only; "full" at the whole vocabulary and "student-topk" at the
            student's k likeliest tokens, which need a teacher with hidden states; "teacher-topk" at the teacher's.
        gradient: "policy-gradient" uses the detached log-ratio as an advantage; "direct" differentiates a loss.
            "auto" is the policy gradient for sampled tokens and direct for the other supports.
        estimator: which sampled estimator is differentiated when gradient = "direct": "k2" for the reverse KL, "k3"
            for the forward KL, whose gradient it has.
        k: how many tokens a top-k support has.
        tail: what happens to the rest of a top-k support: "bucket" makes it one more outcome, "renormalise" forgets it
            on both sides, "stop-gradient" lets the gradient through the student's probabilities only (reverse KL).
        beta: the JSD's beta, in [0, 1]: 0 is the forward KL, 1 the reverse KL.
        skew: the share of the other side in the skewed divergences' mixture.
        alpha: the alpha-divergence's order: 0 is the reverse KL, 1 the forward KL, 2 half of chi-square.
        temperature: softens both distributions (not with sampled tokens).
        log_ratio_clip: advantages are clipped to +- this many nats.
        ratio_clip: PPO's clip of pi / pi_old.
        dual_clip: bound of the loss for negative advantages, in multiples of |A|.
    """

    support: Literal["sampled", "full", "teacher-topk", "student-topk"] = "sampled"  # type: ignore[assignment]
    gradient: Literal["auto", "policy-gradient", "direct"] = "auto"
    estimator: Literal["k1", "k2", "k3"] | None = None
    log_ratio_clip: float = Field(default=20.0, gt=0.0)
    ratio_clip: float = Field(default=0.2, gt=0.0, lt=1.0)
    dual_clip: float = Field(default=3.0, gt=1.0)

    @model_validator(mode="after")
    def _possible(self) -> OpdConfig:
        if self.support != "sampled":
            if self.gradient == "policy-gradient":
                raise ValueError(
                    f'gradient = "policy-gradient" has nothing to do with support = "{self.support}": the divergence '
                    'is differentiated exactly; use support = "sampled" or gradient = "auto"'
                )
            if self.estimator is not None:
                raise ValueError('an estimator belongs to support = "sampled"; the full divergence is not estimated')
            return self
        direct = (self.divergence, self.gradient, self.estimator) == ("forward-kl", "direct", "k3")
        if self.divergence != "reverse-kl" and not direct:
            raise ValueError(
                f'divergence = "{self.divergence}" cannot be had from sampled tokens: '
                f'{_WHY_NOT_SAMPLED.get(self.divergence, _BOTH_NEEDED)}; use support = "full" (a teacher with hidden '
                'states) or "teacher-topk"'
            )
        if self.temperature != 1.0:
            raise ValueError(
                'temperature softens full distributions; sampled tokens are scored at 1; use support = "full"'
            )
        if not direct:
            self._possible_estimator()
        return self

    def _possible_estimator(self) -> None:
        if self.gradient == "direct":
            if self.estimator in (None, "k1"):
                raise ValueError(
                    "the log-ratio (k1) must not be differentiated: its gradient has expectation zero and does not "
                    'depend on the teacher; use gradient = "policy-gradient", or estimator = "k2"'
                )
            if self.estimator == "k3":
                raise ValueError(
                    'estimator = "k3" differentiated gives the gradient of the forward KL, not of the reverse KL '
                    'that was asked for; use estimator = "k2", or divergence = "forward-kl"'
                )
        elif self.estimator not in (None, "k1"):
            raise ValueError(
                f'the policy gradient uses the log-ratio (k1) as its advantage, not "{self.estimator}"; '
                'set gradient = "direct" to differentiate k2'
            )


def reverse_kl_advantage(tokens: TokenStatistics) -> Tensor:
    """A = log pi_T - log pi_old: positive where the teacher likes the sampled token more than the student did."""
    return tokens.teacher_logprob - tokens.old_logprob


class OpdLoss:
    """See `OpdConfig`."""

    def __init__(self, config: OpdConfig) -> None:
        """Chooses the objective."""
        self.config = config
        # In float32 the tail's mass is known to rounding only, and the sign of a rounding error is a whole gradient.
        absolute = config.divergence in ("total-variation", "uld")
        self.rests_at_teacher = not (absolute and config.support in ("teacher-topk", "student-topk"))

    @property
    def request(self) -> ScoreRequest:
        """Sampled log-probabilities, and what the support needs."""
        return ScoreRequest(sampled=True) if self.config.support == "sampled" else score_request(self.config)

    @property
    def objective(self) -> Objective:
        """The objective the options describe."""
        config = self.config
        if config.support != "sampled":
            return chosen_objective(config)
        if config.gradient == "direct":
            return SampledLoss(k2 if config.estimator == "k2" else k3)
        clip = ClippedRatio(config.ratio_clip, config.ratio_clip, config.dual_clip)
        return PolicyGradient(reverse_kl_advantage, config.log_ratio_clip, clip)
