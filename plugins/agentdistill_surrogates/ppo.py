"""PPO's clipped ratio (arXiv 1707.06347 Eq. 7), asymmetric (arXiv 2503.14476) and with the dual clip (1912.09729).

    loss = max(-r A, -clip(r, 1 - low, 1 + high) A),  r = pi / pi_old;  for A < 0 at most dual_clip |A|

The clip stops a token from moving once it has moved enough in the direction its advantage asks for. A larger upper
bound lets improbable tokens rise further before they stop ("clip higher"). The dual clip bounds what a single token
with a huge ratio and a negative advantage can do.

With one pass over an on-policy batch the ratio is 1 everywhere: the loss is -A and the gradient -A grad log pi,
whatever the bounds are. They act when the batch is stale or the engine's log-probabilities differ from the learner's.

Defaults: 0.2 and 0.2, dual clip 3, those of the multi-turn distillation recipes (arXiv 2604.24005, released code).
Proofs: tests/surrogates/test_ppo.py (worked values on both sides, gradient zero exactly where clipped, the core's own
clip reproduced, gradient at ratio 1).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import Stateless, clipped, importance_ratio


class PpoConfig(PluginConfig):
    """The bounds of the ratio.

    Attributes:
        clip_low: the ratio may fall to 1 - clip_low.
        clip_high: the ratio may rise to 1 + clip_high.
        dual_clip: bound of the loss for negative advantages, in multiples of |A|; false for none.
    """

    clip_low: float = Field(default=0.2, gt=0.0, le=1.0)
    clip_high: float = Field(default=0.2, gt=0.0)
    dual_clip: float | None = Field(default=3.0, gt=1.0)


class Ppo(Stateless):
    """See `PpoConfig`."""

    def __init__(self, config: PpoConfig) -> None:
        self.config = config

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The clipped loss of each token, [n]."""
        config, ratio = self.config, importance_ratio(logprob, tokens.old_logprob)
        return clipped(ratio, advantage, 1.0 - config.clip_low, 1.0 + config.clip_high, config.dual_clip)
