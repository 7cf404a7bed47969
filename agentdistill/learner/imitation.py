"""What each token of a demonstration counts: the coefficient of its cross-entropy, which a loss may choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from agentdistill.errors import PluginError
from agentdistill.learner.batch import LearnerBatch
from agentdistill.learner.facts import were_cut
from agentdistill.learner.heads import SplitModel
from agentdistill.learner.kernels import sampled_logprobs
from agentdistill.learner.micro import MicroBatch
from agentdistill.learner.statistics import TokenStatistics, turn_columns

Imitation = Callable[[TokenStatistics], Tensor]
"""All N imitated tokens of a batch -> float32 [N], what their cross-entropy counts: 1 imitates, negative pushes away.

The statistics' `old_logprob` is that of the student as it is before the step; of the teacher and of entropies nothing
is known.
"""


def imitation_factors(
    imitation: Imitation, batch: LearnerBatch, passes: Sequence[MicroBatch], parts: SplitModel, chunk: int
) -> Tensor:
    """Asks a loss what the imitated tokens of a batch count.

    Args:
        imitation: the loss's answer.
        batch: the batch.
        passes: its forward passes.
        parts: the student, in evaluation mode.
        chunk: tokens whose vocabulary rows exist at one time.

    Returns:
        float32 [N], on the CPU.

    Raises:
        PluginError: the answer is not one finite number per token.
    """
    tokens = _statistics(batch, _logprobs(batch, passes, parts, chunk))
    factors = imitation(tokens)
    if not isinstance(factors, Tensor) or factors.shape != (len(tokens),) or not bool(torch.isfinite(factors).all()):
        raise PluginError(
            "The loss's `imitation` did not return one finite number per imitated token.",
            f"{len(tokens)} tokens were asked about.",
            "Return a float tensor of shape [len(tokens)].",
        )
    return factors.detach().float()


def _statistics(batch: LearnerBatch, logprob: Tensor) -> TokenStatistics:
    at = batch.imitate
    assert batch.facts is not None  # batches of episodes have them
    unknown = torch.full_like(logprob, torch.nan)
    column = turn_columns(at.trajectory, at.turn)
    # A turn is written in one row, so its tokens are numbered from the first of them.
    stride = int(at.turn.max()) + 1
    _, owner = torch.unique(at.trajectory * stride + at.turn, return_inverse=True)
    first = torch.full((int(owner.max()) + 1,), int(at.position.max())).scatter_reduce(0, owner, at.position, "amin")
    return TokenStatistics(
        at.trajectory,
        at.turn,
        column,
        at.position - first[owner],
        at.token_id,
        logprob,
        unknown,
        unknown,
        group=batch.facts.group[at.trajectory],
        success=batch.facts.success[at.trajectory],
        reward=batch.facts.reward[at.trajectory],
        cut=were_cut(batch.trajectories)[at.trajectory],
    )


@torch.no_grad()
def _logprobs(batch: LearnerBatch, passes: Sequence[MicroBatch], parts: SplitModel, chunk: int) -> Tensor:
    logprob = torch.empty(len(batch.imitate))
    for micro in passes:
        if not len(picked := micro.imitate):
            continue
        states = parts.hidden(micro.input_ids)[picked.line.to(parts.device), picked.source.to(parts.device)]
        weight, bias = parts.layer(len(parts.weight))
        targets = batch.imitate.token_id[picked.index].to(parts.device)
        logprob[picked.index] = sampled_logprobs(states, weight, bias, targets, chunk=chunk).cpu()
    return logprob
