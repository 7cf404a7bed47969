"""Trains only the tokens of the command that was sent to the environment.

    w_t = 1 for tokens of the role action (and, if asked for, special ones), else 0

The environment sees nothing but the command: thoughts may differ from the teacher's without harm. Accumulated over
action tokens, disagreement is also what tells a drifting student (DASH-OPD, arXiv 2607.29078). Branches as given, `kd`
by default.

A response in which no command could be read has no action tokens and is not trained at all. Under a mean over tokens
the loss shrinks with the share of action tokens; `optim.weight_norm = "mean1"` makes it the mean over them.

Proofs: tests/weights/test_token_methods.py (exactly the tokens of the role, special tokens on request, branches).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenRole, TokenStatistics, requires
from agentdistill.plugins import PluginConfig


class ActionOnlyConfig(PluginConfig):
    """Selection of the command.

    Attributes:
        special: also train special tokens and the terminator, so that the student keeps being told when to stop.
        branches: which signals are weighed: "kd", "rl" or both.
    """

    special: bool = False
    branches: tuple[Literal["kd", "rl"], ...] = Field(default=("kd",), min_length=1)


@requires("role")
def action_only(tokens: TokenStatistics, config: ActionOnlyConfig) -> dict[str, Tensor]:
    """Selects the tokens of the command.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], 0 or 1, for each branch.
    """
    kept = tokens.role == TokenRole.ACTION
    if config.special:
        kept = kept | (tokens.role == TokenRole.SPECIAL)
    return dict.fromkeys(config.branches, kept.float())
