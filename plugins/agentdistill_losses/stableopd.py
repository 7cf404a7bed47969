"""StableOPD: distillation held by the initial student and by gold data (arXiv 2604.08527).

On-policy distillation can run away: responses grow, repeat themselves, and repeated tokens earn several times the
advantage. Two anchors stop it: a KL to the student as the run began, and cross-entropy on gold episodes in the batch.

    A_t = (log pi_T - log pi_old) - beta (log pi_old - log pi_0),     L = L_PG(A) + lambda L_CE(gold)

beta = 0.01 here. The gold mix is not the loss's to fetch: the curriculum `guided` with guide = "expert", imitate =
true and both shares at 0.1 has the expert play a tenth of the turns, and they are imitated; lambda is
`optim.imitation`, 0.1.

Differs from the paper: gold turns in the student's own episodes instead of gold episodes; its beta and lambda are not
stated; these are those of a reproduction. The KL is sampled, as an advantage, so that it goes through the same clip.
Proofs: the expected gradient is that of KL(q || p) + beta KL(q || q_0) by enumeration; beta = 0 is plain distillation;
teacher = student = initial student gives zero (teacher = student alone does not, once the student has left where it
began: the anchor pulls back).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest


class StableOpdConfig(PluginConfig):
    """Distillation with a KL to the initial student.

    Attributes:
        beta: coefficient of the KL to the student as the run began; 0 does without it.
        advantage_clip: advantages are clipped to +- this many nats.
    """

    beta: float = Field(default=0.01, ge=0.0)
    advantage_clip: float = Field(default=20.0, gt=0.0)


class StableOpdLoss:
    """See `StableOpdConfig`."""

    request = ScoreRequest(sampled=True)

    def __init__(self, config: StableOpdConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.needs = frozenset({"reference"} if config.beta else ())

    def advantage(self, tokens: TokenStatistics) -> Tensor:
        """Towards the teacher, and back to where the student began, [N]."""
        towards = tokens.teacher_logprob - tokens.old_logprob
        if not self.config.beta:
            return towards
        return towards - self.config.beta * (tokens.old_logprob - tokens.reference_logprob)

    @property
    def objective(self) -> Objective:
        """The policy gradient of both."""
        return PolicyGradient(self.advantage, self.config.advantage_clip)
