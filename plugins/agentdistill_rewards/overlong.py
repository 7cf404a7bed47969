"""Soft punishment of overlong responses (DAPO, arXiv 2503.14476, Eq. 13), as used by SOD (arXiv 2605.07725).

    r(n) = 0                            n <= limit - buffer
           (limit - buffer - n)/buffer  limit - buffer < n <= limit        times `penalty`
           -1                           n > limit

for a length of n tokens: it falls linearly over the last `buffer` tokens before the limit, so that a response that was
almost cut off is told before it is. The released trainers have no third case, because a response cannot exceed their
limit; with a `limit` below the engine's own it matters.

`per = "turn"` measures each response of the student, `per = "episode"` their sum, and puts the punishment on the last
of them. The papers' episode is one response; for an agent whose turns are short the sum is the analogue.

Defaults: buffer 1024 and penalty 1 are SOD's; the limit is the engine's `rollout.max_new_tokens`, which this cannot
know, so it has no default.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import Rewards, nothing, own


class OverlongConfig(PluginConfig):
    """The limit and the way to it.

    Attributes:
        limit: tokens from which on the whole penalty is due.
        buffer: tokens before the limit over which it grows.
        penalty: what an overlong response costs.
        per: what is measured, each "turn" or the "episode".
    """

    limit: int = Field(ge=1)
    buffer: int = Field(default=1024, ge=1)
    penalty: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    per: Literal["turn", "episode"] = "turn"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.buffer > self.limit:
            raise ValueError(f"buffer = {self.buffer} is longer than limit = {self.limit}: silence would be punished")
        return self


def overlong(trajectory: Trajectory, config: OverlongConfig) -> Rewards:
    """The punishment, at most 0; float32 [steps]."""
    reward = nothing(trajectory)
    lengths = {place: step.end - step.start for place, step in enumerate(trajectory.steps) if own(step)}
    if config.per == "episode" and lengths:
        lengths = {max(lengths): sum(lengths.values())}
    for place, length in lengths.items():
        over = length - (config.limit - config.buffer)
        reward[place] = -config.penalty * min(max(over / config.buffer, 0.0), 1.0)
    return reward
