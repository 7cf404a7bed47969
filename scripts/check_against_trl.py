"""Compares the divergence kernel with TRL's GKD and ULD losses: values and gradients, on the same hidden states.

Usage: python scripts/check_against_trl.py            (needs `trl`, which this package does not depend on)

TRL's `GKDTrainer.generalized_jsd_loss` and GOLD's `ULDLoss` take full logits; ours takes hidden states and output
layers. Both run in float32 and in float64: in float64 they must agree, and in float32 ours must stay as near to that
as rounding allows.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import torch
from against_trl import Result, agrees, find, heading, result
from torch import Tensor

from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import FullDivergence, TeacherHead
from agentdistill.learner.statistics import TokenStatistics
from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.sorting import SortedProbabilities

BATCH, LENGTH, VOCABULARY, STUDENT_HIDDEN, TEACHER_HIDDEN = 4, 48, 2048, 64, 96
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-5}


class Problem:
    """Hidden states and output layers of a student and a teacher."""

    def __init__(self, dtype: torch.dtype) -> None:
        g = torch.Generator().manual_seed(0)

        def randn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

        self.hidden = randn(BATCH, LENGTH, STUDENT_HIDDEN).requires_grad_()
        self.weight = (0.3 * randn(VOCABULARY, STUDENT_HIDDEN)).requires_grad_()
        self.teacher = TeacherHead(randn(BATCH, LENGTH, TEACHER_HIDDEN), 0.3 * randn(VOCABULARY, TEACHER_HIDDEN))
        self.mask = torch.rand(BATCH, LENGTH, generator=g) < 0.6
        self.answers = torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (BATCH, 1), generator=g)

    def ours(self, beta: float, temperature: float) -> Result:
        """The mean over unmasked tokens through the kernel."""
        mean = torch.full((int(self.mask.sum()),), 1.0 / int(self.mask.sum()), dtype=torch.float64)
        return self._kernel(FullDivergence(generalised_jsd(beta), temperature), self.mask, mean)

    def our_uld(self, temperature: float) -> Result:
        """The mean over answers of each answer's mean, through the kernel."""
        per_token = 1.0 / (BATCH * self.answers.sum(1, keepdim=True).double())
        coefficients = per_token.expand(BATCH, LENGTH)[self.answers]
        return self._kernel(FullDivergence(SortedProbabilities(), temperature), self.answers, coefficients)

    def _kernel(self, objective: FullDivergence, mask: Tensor, coefficients: Tensor) -> Result:
        zero, nan = torch.zeros(len(coefficients), dtype=torch.int64), torch.zeros(len(coefficients))
        tokens = TokenStatistics(zero, zero, zero, zero, zero, nan, nan, nan)
        loss = objective.chunk_loss(tokens, TeacherHead(self.teacher.hidden[mask], self.teacher.weight))
        return self._result(fused_head(self.hidden[mask], self.weight, None, loss, coefficients)[0])

    def trl_uld(self, uld: Any, temperature: float) -> Result:
        """ULD through TRL, without cross-entropy, alignment and the special treatment of terminators."""
        config = SimpleNamespace(
            uld_crossentropy_weight=0.0,
            uld_distillation_weight=1.0,
            uld_student_temperature=temperature,
            uld_teacher_temperature=temperature,
            uld_skip_student_eos=False,
            uld_skip_teacher_eos=False,
            use_extended_uld=False,
            uld_token_merge_strategy="observed",
        )
        labels = torch.where(self.answers, 1, -100)
        student, teacher = self.hidden @ self.weight.T, self.teacher.hidden @ self.teacher.weight.T
        return self._result(uld(config)(student, teacher, labels, labels, labels, labels))

    def trl(self, reference_loss: object, beta: float, temperature: float) -> Result:
        """The same through TRL."""
        labels = torch.where(self.mask, 1, -100)
        student, teacher = self.hidden @ self.weight.T, self.teacher.hidden @ self.teacher.weight.T
        return self._result(reference_loss(student, teacher, labels, beta=beta, temperature=temperature))  # type: ignore[operator]

    def _result(self, loss: Tensor) -> Result:
        return result(loss, self.hidden, self.weight)


def main() -> int:
    """Prints the differences; the exit status is 1 when one exceeds its tolerance, 2 without TRL."""
    trl = find(gkd="gkd.gkd_trainer:GKDTrainer", uld="gold.gold_trainer:ULDLoss")
    jsd = trl.gkd.generalized_jsd_loss
    both = Problem(torch.float64), Problem(torch.float32)
    print(
        f"trl {trl.__version__}, torch {torch.__version__}, {int(both[0].mask.sum())} tokens, vocabulary {VOCABULARY}"
    )
    heading()
    right = True
    for t in (1.0, 0.9):
        for beta in (0.0, 0.1, 0.5, 0.9, 1.0):
            theirs, mine = [p.trl(jsd, beta, t) for p in both], [p.ours(beta, t) for p in both]
            right &= agrees(f"JSD, beta {beta}, temperature {t}", theirs, mine, TOLERANCE)
        theirs, mine = [p.trl_uld(trl.uld, t) for p in both], [p.our_uld(t) for p in both]
        # Where two sorted probabilities are equal to rounding, the sign of their difference is a matter of taste.
        right &= agrees(f"ULD, temperature {t}", theirs, mine, TOLERANCE, loose=100.0)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
