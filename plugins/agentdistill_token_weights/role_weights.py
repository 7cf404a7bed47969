"""One weight for each role a token can have in its response.

    w_t = text | action | special,   by the role of the token

Thinking and format are `text`, the command that was sent to the environment is `action`, special tokens of the
tokenizer and the terminator are `special`. Reasoning often fills nine tenths of a response: weights of 1 and 9 make
the decision count as much as the thoughts that led to it. Branches as given, `kd` by default.

`action-only` and `special-mask` are the two cases with a name of their own. There is no paper to follow; defaults are
uniform.

Proofs: tests/weights/test_token_methods.py (every role gets its own weight, branches, all zero is refused).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics, requires
from agentdistill.plugins import PluginConfig


class RoleWeightsConfig(PluginConfig):
    """Weights by role.

    Attributes:
        text: weight of thinking and format.
        action: weight of the command.
        special: weight of special tokens and the terminator.
        branches: which signals are weighed: "kd", "rl" or both.
    """

    text: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    action: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    special: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    branches: tuple[Literal["kd", "rl"], ...] = Field(default=("kd",), min_length=1)

    @model_validator(mode="after")
    def _trains_something(self) -> RoleWeightsConfig:
        if self.text == self.action == self.special == 0:
            raise ValueError("text, action and special are all 0, so no token would be trained: raise one of them")
        return self


@requires("role")
def role_weights(tokens: TokenStatistics, config: RoleWeightsConfig) -> dict[str, Tensor]:
    """Weighs tokens by role.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N] for each branch.
    """
    table = torch.tensor([config.text, config.action, config.special], device=tokens.role.device)
    return dict.fromkeys(config.branches, table[tokens.role])
