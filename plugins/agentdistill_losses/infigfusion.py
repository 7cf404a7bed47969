"""InfiGFusion's graph-on-logits loss, by its sorted-feature approximation (arXiv 2505.13893).

Token-wise divergences ignore which tokens rise together. The graph loss compares co-activation graphs: nodes are the k
likeliest tokens of each model, edges the products of their logits, and the Gromov-Wasserstein distance between the two
graphs is approximated by sorting one feature per node, the mean of its edges:

    C_ij = z_i z_j,   f_i = (1/k) sum_j C_ij = z_i mean(z),   graph = |sort f^S - sort f^T|^2 / (k + |f^T|^2)
    loss_t = KL_t + c graph_t

Nodes are matched by their order, so the vocabularies need not be the same, and the graph alone teaches a shape and no
content: a divergence goes with it (the paper adds its universal logit loss and cross-entropy). k = 10, c = 0.1.

Differs from the paper, which released no loss code: z is the log-probability renormalised on the k tokens plus log k,
since raw logits are known up to a constant only; the distance is relative to the teacher's graph, for the squares of
logits reach thousands where a model is sure, and drown any divergence; and the graph is one position's, where the
paper sums the products over the sequence first: chunks of the output layer see no sequence. Proofs: features against
the explicit matrix, O(k^2); invariance under shifts of the logits and renaming of tokens; gradient against finite
differences; teacher = student gives zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Divergence, FullDivergence, Objective
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.divergences import ForwardKL, ReverseKL


class InfigfusionConfig(PluginConfig):
    """A divergence and the distance between co-activation graphs.

    Attributes:
        divergence: the divergence over the whole vocabulary that goes with the graph.
        graph: coefficient of the graph's distance.
        k: how many nodes a graph has.
    """

    divergence: Literal["reverse-kl", "forward-kl"] = "reverse-kl"
    graph: float = Field(default=0.1, ge=0.0)
    k: int = Field(default=10, ge=2)


def node_features(log_probs: Tensor, k: int) -> Tensor:
    """The sorted node features of each row's graph, [n, min(k, V)], smallest first; differentiable.

    Args:
        log_probs: [n, V], log-probabilities or logits.
        k: how many nodes.
    """
    k = min(k, log_probs.shape[-1])
    z = log_probs.topk(k, dim=-1).values.log_softmax(-1) + math.log(k)
    return (z * z.mean(-1, keepdim=True)).sort(dim=-1).values


@dataclass(frozen=True, slots=True)
class GraphDivergence:
    """A divergence plus the distance of the graphs.

    Attributes:
        base: the divergence.
        graph: the distance's coefficient.
        k: nodes.
    """

    base: Divergence
    graph: float
    k: int

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of each row, [n]."""
        goal = node_features(teacher, self.k)
        gap = node_features(student, self.k) - goal
        return self.base(student, teacher) + self.graph * gap.square().mean(-1) / (1.0 + goal.square().mean(-1))


class InfigfusionLoss:
    """See `InfigfusionConfig`."""

    def __init__(self, config: InfigfusionConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def request(self) -> ScoreRequest:
        """The teacher's whole distribution."""
        return ScoreRequest(sampled=True, hidden=True)

    @property
    def objective(self) -> Objective:
        """The divergence and the graph."""
        c = self.config
        base = ReverseKL() if c.divergence == "reverse-kl" else ForwardKL()
        return FullDivergence(GraphDivergence(base, c.graph, c.k))
