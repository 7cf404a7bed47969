"""TurnOPD's progressive turn normalisation (arXiv 2607.05804): from equal tokens to equal turns.

Under a mean over tokens the deep, short turns of an episode have almost no say (the paper measured 1.2% of the loss).
Under a mean over turns they have their share, but early in training they follow contexts that nobody should learn from.
So the share of a turn with n_t of the episode's N tokens in T turns moves from one to the other:

    q_t   = (1 - alpha) n_t / N + alpha / T
    alpha = clip((k / K - start) / (end - start), 0, 1)   at optimiser step k of K

As a weight on tokens that otherwise count the same, that is (1 - alpha) + alpha N / (T n_t), whose mean over the
episode's tokens is 1 for every alpha. It needs `optim.reduction = "token-mean"`: a mean over turns would correct for
lengths a second time, and is refused. For a constant alpha over the whole batch, `optim.reduction = "blend"` does the
same in the core.

The paper's q is per trajectory, so an episode keeps its share of the batch's tokens; `scope = "batch"` equalises over
all turns of the batch, which also evens out episodes. The other half of TurnOPD, the depth budget, is a curriculum.

Proofs: tests/weights/test_step_methods.py (the schedule's ends, alpha 0 is uniform, alpha 1 gives every turn the same
sum, the mean over tokens stays 1, `scope = "batch"` is the core's blend, a loop over turns).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class TurnEqualConfig(PluginConfig):
    """How the mean over tokens becomes a mean over turns.

    Attributes:
        start: share of the run's steps after which alpha leaves 0.
        end: share of the run's steps after which alpha is 1; a value beyond 1 is never reached.
        scope: what turns are made equal in, an "episode" (the paper) or the whole "batch".
    """

    start: float = Field(default=0.0, ge=0.0, le=1.0)
    end: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    scope: Literal["episode", "batch"] = "episode"

    @model_validator(mode="after")
    def _grows(self) -> TurnEqualConfig:
        if self.start >= self.end:
            raise ValueError(f"alpha grows from start to end, so start ({self.start}) must be below end ({self.end})")
        return self


def alpha(progress: LearnerProgress, config: TurnEqualConfig) -> float:
    """The share of turn-equal weighting at a point of the run, in [0, 1]."""
    return min(1.0, max(0.0, (progress.fraction - config.start) / (config.end - config.start)))


def turn_equal(steps: StepStatistics, config: TurnEqualConfig, progress: LearnerProgress) -> Tensor:
    """Weighs turns against their length.

    Args:
        steps: step statistics.
        config: the options.
        progress: where the run stands.

    Returns:
        float32 [trajectories, steps], positive.
    """
    tokens, turns = steps.tokens.double(), steps.mask.double()
    if config.scope == "episode":
        total, count = tokens.sum(dim=1, keepdim=True), turns.sum(dim=1, keepdim=True)
    else:
        total, count = tokens.sum(), turns.sum()
    share = alpha(progress, config)
    return ((1.0 - share) + share * total / (count.clamp(min=1) * tokens.clamp(min=1))).float()


turn_equal.reductions = ("token-mean",)  # type: ignore[attr-defined]
