"""AdaptThink's bonus for not thinking (arXiv 2505.13417, Eq. 6): the reward part of its constraint.

    r_k = delta 1[turn k skipped its thinking]

The paper's reward is 1[correct] + delta 1[NoThinking] - R_ref(task). The first term is the reward `outcome`, the last
is a baseline, which an advantage subtracts: use this term beside `outcome` with an advantage that knows nothing of
thinking (GRPO, RLOO), or leave it out and use the advantage `adaptthink`, which does both. With both, delta counts
twice.

A turn skipped its thinking when there is nothing but white space between `open` and `close`, or no thinking at all.
`per = "turn"` pays delta for each such turn, divided by the number of the student's turns; `per = "episode"` pays it
once, on the last step, when every turn of the student skipped. In the paper a turn is the whole answer: the two agree.

The paper's other half, sampling the first token of half of the answers to be the end of thinking, is a matter of the
rollout and is not done here: a student that always thinks earns nothing and learns nothing from this.
Defaults: delta 0.05.
Proofs: tests/rewards/test_rules.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentdistill.conversation.thinking import thought
from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill_rewards.turns import Rewards, at_the_end, nothing, own


class NoThinkingConfig(PluginConfig):
    """What not thinking is worth.

    Attributes:
        delta: the bonus.
        open: where thinking begins.
        close: where it ends.
        per: paid for each "turn", as a share, or for the "episode".
    """

    delta: float = Field(default=0.05, ge=0.0, allow_inf_nan=False)
    open: str = Field(default="<think>", min_length=1)
    close: str = Field(default="</think>", min_length=1)
    per: Literal["turn", "episode"] = "turn"


def no_thinking(trajectory: Trajectory, config: NoThinkingConfig) -> Rewards:
    """The bonus; float32 [steps]."""
    turns = [place for place, step in enumerate(trajectory.steps) if own(step)]
    skipped = [place for place in turns if not thought(trajectory.steps[place].response, config.open, config.close)]
    if config.per == "episode":
        return at_the_end(trajectory, config.delta if turns and len(skipped) == len(turns) else 0.0)
    reward = nothing(trajectory)
    for place in skipped:
        reward[place] = config.delta / len(turns)
    return reward
