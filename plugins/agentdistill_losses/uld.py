"""ULD: universal logit distillation, for teachers with another vocabulary (arXiv 2402.12030).

Nobody says which of the teacher's tokens is which of the student's, so the probabilities are compared by rank:

    loss = sum_i |sort(q)_i - sort(p)_i|        largest first, the shorter filled up with zeros (Eq. 5)

It is the Wasserstein-1 distance when any two tokens are equally far apart. It teaches how sure to be, and no content:
**alone it ruins a student** (words said right fall from 0.41 to 0.00 in the fifty steps of the identity test). The
paper adds cross-entropy on the teacher's text; on the student's own, `sampled` adds the policy gradient of the sampled
tokens (with 5, each of three seeds learns to say at least 0.95 of the words). `gold` needs no such help.

Where both cut a text differently, it is taken at the first token of every span of the same bytes, between merged
("observed") distributions: q times the probability of the student's later tokens in the span, p times that of the
teacher's. The later tokens have the value 0 and the gradient of their factor. A teacher with the student's tokenizer is
compared at every token, and gives the numbers of `opd` with `divergence = "uld"` on the full support.

Differs from the paper, which compares the i-th token with the i-th after cutting the longer text off: spans are GOLD's.
Differs from GOLD as TRL 1.16 releases it, whose default merge reads each distribution one position late (after the
token it should predict); given the right ones, TRL's numbers are these (`scripts/check_uld_against_trl.py`). The factor
of later tokens is the behaviour policy's: as long as a batch is fresh, the student's own. Proofs: values and gradients
against a naive sum over spans and enumerated ranks; teacher = student gives zero.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.vocabularies import SpanDistance
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.blend import Blend, always
from agentdistill_losses.opd import reverse_kl_advantage
from agentdistill_losses.skew import rounded_sign
from agentdistill_losses.sorting import SortedProbabilities


class UldConfig(PluginConfig):
    """The distance of the sorted probabilities.

    Attributes:
        sampled: coefficient of the policy gradient on the sampled tokens, which teaches what to say; 0 is the distance
            alone, as other code has it.
    """

    sampled: float = Field(default=0.0, ge=0.0)


def sorted_distance(q: Tensor, p: Tensor) -> Tensor:
    """The distance of sorted numbers, sum |sort(q) - sort(p)|, of each row.

    Args:
        q: [n, V], at least 0; differentiable.
        p: [n, W], at least 0.

    Returns:
        [n]. Where two numbers are equal to rounding the gradient is 0.
    """
    q, p = (x.sort(dim=-1, descending=True).values for x in (q, p))
    missing = p.shape[-1] - q.shape[-1]
    q, p = pad(q, (0, max(missing, 0))), pad(p, (0, max(-missing, 0)))
    return ((q - p) * rounded_sign(q.detach(), p)).sum(-1)


def universal(student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
    """ULD between measures over two vocabularies; see `agentdistill.learner.vocabularies.VocabularyDistance`."""
    return sorted_distance(student.exp(), teacher.exp())


class UldLoss:
    """See `UldConfig`."""

    request = ScoreRequest(sampled=True, hidden=True)

    def __init__(self, config: UldConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """ULD at every span."""
        distance = SpanDistance(universal, SortedProbabilities())
        if not self.config.sampled:
            return distance
        factor = self.config.sampled
        return Blend([(always, distance), (lambda t: factor * always(t), PolicyGradient(reverse_kl_advantage))])
