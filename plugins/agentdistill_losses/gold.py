"""GOLD's hybrid: a divergence on the tokens both vocabularies have, sorted probabilities for the rest (TRL's GOLD).

    loss = w JSD_beta(q, p on matched tokens) + (1 - w) sum_i |sort(q on the others)_i - sort(p on the others)_i|

with w the share of the teacher's vocabulary that is matched, or `matched_weight`. Tokens are matched when they write
the same bytes. Where both cut a text differently, distributions are merged over spans as in `uld`: they and their parts
do not sum to 1, and

    JSD_beta(q, p) = beta sum p log(p / m) + (1 - beta) sum q log(q / m),   m = beta p + (1 - beta) q

is at least 0 all the same, and 0 only where q = p. A teacher with the student's tokenizer is compared at every token,
and gives the numbers of `opd` with `divergence = "jsd"` on the full support.

beta = 0.5. The source is the code released in TRL 1.16; the JSD is GKD's (arXiv 2306.13649), the rest ULD's (arXiv
2402.12030). Differs from the code: tokens are matched by their bytes and not by the vocabularies' spelling (" go" is
"Ġgo" in one and "▁go" in another); the forward and reverse KL at beta = 0 and 1 have the masses' difference added,
without which they are least where the masses differ most; logarithms have no floor at 1e-8, under which GOLD teaches
nothing; and what `uld` says (`scripts/check_uld_against_trl.py` compares both). Proofs: values and gradients against a
naive sum over spans; never below 0; teacher = student gives zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Divergence, Objective
from agentdistill.learner.vocabularies import SpanDistance
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.uld import sorted_distance


class GoldConfig(PluginConfig):
    """A divergence on matched tokens, sorted probabilities on the others.

    Attributes:
        beta: the JSD's beta, in [0, 1]: 0 is the forward KL, 1 the reverse KL.
        matched_weight: what the matched tokens count, in [0, 1]; the others count the rest. Unset is their share of
            the teacher's vocabulary.
    """

    beta: float = Field(default=0.5, ge=0.0, le=1.0)
    matched_weight: float | None = Field(default=None, ge=0.0, le=1.0)


def measure_jsd(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """The generalised JSD of measures, which need not sum to 1, [n].

    Args:
        student: [n, k], logarithms; differentiable.
        teacher: [n, k], logarithms.
        beta: in [0, 1].
    """
    q, p = student.exp(), teacher.exp()
    if beta in (0.0, 1.0):
        # Generalised Kullback-Leibler divergences: for measures, the difference of the masses belongs to them.
        one, log_ratio, other = (p, teacher - student, q) if beta == 0.0 else (q, student - teacher, p)
        return (one * log_ratio - one + other).sum(-1)
    share = torch.tensor(beta, dtype=student.dtype, device=student.device)
    mixture = torch.logaddexp(teacher + share.log(), student + torch.log1p(-share))
    return (beta * p * (teacher - mixture) + (1 - beta) * q * (student - mixture)).sum(-1)


@dataclass(frozen=True, slots=True)
class Hybrid:
    """The distance over two vocabularies.

    Attributes:
        beta: of the JSD.
        weight: of the matched tokens; None is their share of the teacher's vocabulary.
    """

    beta: float
    weight: float | None = None

    def __call__(self, student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
        """The distance of each row; see `agentdistill.learner.vocabularies.VocabularyDistance`."""
        theirs = ids >= 0
        mine = torch.zeros(student.shape[-1], dtype=torch.bool, device=ids.device)
        mine[ids[theirs]] = True
        weight = float(theirs.sum()) / len(ids) if self.weight is None else self.weight
        matched = measure_jsd(student[:, ids[theirs]], teacher[:, theirs], self.beta)
        if bool(theirs.all()) or bool(mine.all()):  # GOLD leaves out what has nothing to be compared with
            return weight * matched
        return weight * matched + (1.0 - weight) * sorted_distance(student[:, ~mine].exp(), teacher[:, ~theirs].exp())


@dataclass(frozen=True, slots=True)
class Scaled:
    """A constant times a divergence.

    Attributes:
        divergence: the divergence.
        factor: the constant.
    """

    divergence: Divergence
    factor: float

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The value of each row, [n]."""
        return self.factor * self.divergence(student, teacher)


class GoldLoss:
    """See `GoldConfig`."""

    request = ScoreRequest(sampled=True, hidden=True)

    def __init__(self, config: GoldConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """The hybrid at every span."""
        beta, weight = self.config.beta, self.config.matched_weight
        same = generalised_jsd(beta)
        return SpanDistance(Hybrid(beta, weight), same if weight is None else Scaled(same, weight))
