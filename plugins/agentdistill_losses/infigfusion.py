"""InfiGFusion's graph-on-logits loss, by its sorted-feature approximation (arXiv 2505.13893).

Token-wise divergences ignore which logits rise together. The graph loss compares co-activation graphs: of every
position the k largest logits are kept, and their outer products are averaged over a response; nodes are these k
channels, largest first. The Gromov-Wasserstein distance between the two graphs is approximated in O(k log k) by sorting
one feature per node, the mean of its edges:

    C_ij = mean_t z_ti z_tj,   f_i = (1/k) sum_j C_ij = mean_t z_ti mean_j z_tj
    graph = |sort f^S - sort f^T|^2 / (k + |f^T|^2),   loss_t = KL_t + c graph of the token's response

Nodes are matched by their order, so the vocabularies need not be the same, and the graph alone teaches a shape and no
content: a divergence goes with it (the paper adds its universal logit loss and cross-entropy). k = 10, c = 0.1.

Differs from the paper, which released no loss code: z is the log-probability renormalised on the k tokens plus log k,
since raw logits are known up to a constant only; and the distance is relative to the teacher's graph, for the squares
of logits reach thousands where a model is sure, and drown any divergence. The gradient is exact where the tokens of a
response weigh alike. Proofs: values and gradients against the explicit matrix of whole responses, also through the
learner; invariance under shifts of the logits and renaming of tokens; teacher = student gives zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Divergence, DivergenceLoss, Objective, TeacherHead, TeacherView, TokenLoss
from agentdistill.learner.statistics import TokenStatistics
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


def node_features(logits: Tensor, k: int) -> Tensor:
    """What each position adds to the features of the nodes, [n, min(k, V)], in the order of its logits; differentiable.

    Args:
        logits: [n, V], or log-probabilities.
        k: how many nodes.
    """
    k = min(k, logits.shape[-1])
    z = logits.topk(k, dim=-1).values.log_softmax(-1) + math.log(k)
    return z * z.mean(-1, keepdim=True)


def graph_distance(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of graphs [R] from the features of their nodes [R, k], and its derivative by the student's."""
    ordered, order = student.sort(dim=-1)
    goal = teacher.sort(dim=-1).values
    gap, scale = ordered - goal, 1.0 + goal.square().mean(-1, keepdim=True)
    slope = torch.zeros_like(gap).scatter(-1, order, 2.0 * gap / (gap.shape[-1] * scale))
    return gap.square().mean(-1) / scale.squeeze(-1), slope


@dataclass(frozen=True, slots=True)
class GraphObjective:
    """A divergence at every token, and the distance of the graphs of its response.

    Attributes:
        base: the divergence.
        graph: the distance's coefficient.
        k: nodes.
        needs_hidden: the teacher's whole distribution.
    """

    base: Divergence
    graph: float
    k: int
    needs_hidden: bool = True

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `agentdistill.learner.losses.Objective`; responses are whole in a pass."""
        assert isinstance(teacher, TeacherHead)
        return GraphLoss(tokens, teacher, self)


class GraphLoss(DivergenceLoss):
    """The chunk loss of a `GraphObjective`."""

    def __init__(self, tokens: TokenStatistics, teacher: TeacherHead, objective: GraphObjective) -> None:
        """Makes it for N tokens."""
        super().__init__(tokens, teacher, objective.base)
        self.graph, self.k = objective.graph, min(objective.k, len(teacher.weight))
        stride = int(tokens.turn.max()) + 1 if len(tokens) else 1
        keys, self.response, count = torch.unique(
            tokens.trajectory * stride + tokens.turn, return_inverse=True, return_counts=True
        )
        self.share = 1.0 / count.double()[:, None]
        self.features = torch.zeros(2, len(keys), self.k, dtype=torch.float64, device=keys.device)
        self.found: tuple[Tensor, Tensor] | None = None

    def look(self, logits: Tensor, span: slice) -> None:
        """Adds a chunk to the graphs."""
        weight = self.teacher.weight
        teacher = self.teacher.hidden[span].to(weight.dtype) @ weight.T
        for features, side in zip(self.features, (logits, teacher), strict=True):
            features.index_add_(0, self.response[span], node_features(side, self.k).double())

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `agentdistill.learner.kernels.ChunkLoss`."""
        if self.found is None:
            self.found = graph_distance(*(features * self.share for features in self.features))
        distance, slope = (x[self.response[span]].to(logits.dtype) for x in self.found)
        with torch.enable_grad():
            leaf = logits.detach().clone().requires_grad_()
            (more,) = torch.autograd.grad((slope * node_features(leaf, self.k)).sum(), leaf)
        value, grad = super().__call__(logits, span, want_grad)
        return value + self.graph * distance, None if grad is None else grad.add_(more, alpha=self.graph)


class InfigfusionLoss:
    """See `InfigfusionConfig`."""

    request = ScoreRequest(sampled=True, hidden=True)

    def __init__(self, config: InfigfusionConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """The divergence and the graph."""
        c = self.config
        return GraphObjective(ReverseKL() if c.divergence == "reverse-kl" else ForwardKL(), c.graph, c.k)
