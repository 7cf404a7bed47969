"""Distributions on fewer tokens, and the sampled token's own term: what several losses build from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agentdistill.learner.losses import Divergence
from agentdistill.learner.statistics import TokenStatistics


def bucketed(log_probs: Tensor, ids: Tensor) -> Tensor:
    """The log-probabilities of some tokens and, last, of all others together.

    Merging outcomes can only lower an f-divergence (data processing), so what is computed from this is a lower bound of
    the full one, 0 with zero gradient at equality, and it sees how much mass lies outside.

    Args:
        log_probs: [n, V]; differentiable.
        ids: int64 [n, k], distinct in each row.

    Returns:
        [n, k + 1], or [n, V] in the order of `ids` when they are all there are.
    """
    chosen = log_probs.gather(-1, ids)
    if ids.shape[-1] >= log_probs.shape[-1]:
        return chosen
    tail = log_probs.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([chosen, tail], dim=-1)


def top_ids(log_probs: Tensor, k: int) -> Tensor:
    """int64 [n, min(k, V)], the most likely tokens of each row, likeliest first."""
    return log_probs.detach().topk(min(k, log_probs.shape[-1]), dim=-1).indices


@dataclass(frozen=True, slots=True)
class TeacherTopK:
    """A divergence over the teacher's most likely tokens, from whole distributions.

    Attributes:
        divergence: over the last dimension.
        k: how many tokens.
        renormalise: forget the other tokens; otherwise they are one more outcome.
    """

    divergence: Divergence
    k: int
    renormalise: bool = False

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        ids = top_ids(teacher, self.k)
        if self.renormalise:
            return self.divergence(student.gather(-1, ids).log_softmax(-1), teacher.gather(-1, ids).log_softmax(-1))
        return self.divergence(bucketed(student, ids), bucketed(teacher, ids))


def entropy(log_probs: Tensor) -> Tensor:
    """[n], nats; differentiable."""
    # A probability of exactly 0 contributes nothing, and 0 * -inf would be NaN.
    finite = log_probs.clamp(min=torch.finfo(log_probs.dtype).min)
    return -(log_probs.exp() * finite).sum(-1)


def sampled_term(student: Tensor, tokens: TokenStatistics, advantage: Tensor, bound: float = 10.0) -> Tensor:
    """-sg(min(ratio, bound) A) log pi(y): the policy gradient of the sampled tokens, inside a direct loss.

    On-policy the ratio pi / pi_old is 1; where the rollout is older it is truncated at `bound` (importance sampling
    with bounded weights), which replaces PPO's clip in losses that are not policy gradients as a whole.

    Args:
        student: [n, V], log-probabilities; differentiable.
        tokens: the n tokens.
        advantage: [n].
        bound: largest importance ratio.

    Returns:
        [n]. The *value* is shifted by the detached log-probability so that it reads -ratio A, as a policy gradient's.
    """
    logprob = student.gather(-1, tokens.token_id[:, None]).squeeze(-1)
    ratio = (logprob.detach() - tokens.old_logprob.to(logprob.dtype)).exp().clamp(max=bound)
    # 1 + log pi - sg(log pi) is 1 with the gradient of log pi.
    return -(ratio * advantage.to(logprob.dtype)).detach() * (1.0 + logprob - logprob.detach())
