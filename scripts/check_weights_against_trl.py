"""Compares the IW-OPD token weight with TRL's `IWOPDTrainer`: values and gradients, on the same logits.

Usage: python scripts/check_weights_against_trl.py            (needs `trl` and `datasets`, which this package does not)

TRL weighs a padded batch of answers inside its loss. Ours is a weight per token that the learner multiplies with the
advantage. Statistics are float32 by contract, so they agree to float32.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from against_trl import find
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill_token_weights.iw_opd import IwOpdConfig, iw_opd

BATCH, LENGTH, VOCABULARY = 6, 40, 300
TOLERANCE = 1e-6


class Problem:
    """Logits of a student, answers of different lengths, and what the teacher and the rollout said of their tokens."""

    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(BATCH, LENGTH, VOCABULARY, generator=g, dtype=torch.float64).requires_grad_()
        self.answers = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=g)
        lengths = torch.randint(1, LENGTH + 1, (BATCH,), generator=g)
        self.mask = torch.arange(LENGTH) < lengths[:, None]
        # Rounded once, so that both sides start from the same numbers.
        self.teacher, self.rollout = (-3 * torch.rand(2, BATCH, LENGTH, generator=g)).double().unbind()

    def trl(self, trainer: Any, gamma: float) -> tuple[float, Tensor]:
        """Loss and gradient of the logits through TRL."""
        state = SimpleNamespace(
            temperature=1.0,
            iw_opd_gamma=gamma,
            iw_opd_epsilon=1e-8,
            model=SimpleNamespace(training=True),
            _metrics=defaultdict(lambda: defaultdict(list)),
        )
        labels = torch.where(self.mask, self.answers, -100)
        loss = trainer._compute_iw_opd_loss(state, self.logits, self.answers, labels, self.teacher, self.rollout)
        return float(loss.detach()), torch.autograd.grad(loss, self.logits)[0]

    def ours(self, gamma: float) -> tuple[float, Tensor, float]:
        """The same with the token weight, each answer an episode of one turn; and the mean size of a token's loss.

        The loss itself is a sum of terms of both signs, so its own size says nothing about rounding.
        """
        row, column = self.mask.nonzero(as_tuple=True)
        zero, ids = torch.zeros_like(row), self.answers[self.mask]
        old, teacher = self.rollout[self.mask].float(), self.teacher[self.mask].float()
        tokens = TokenStatistics(row, zero, zero, column, ids, old, teacher, torch.full_like(old, torch.nan))
        weights = iw_opd(tokens, IwOpdConfig(gamma=gamma)).double()
        logprob = self.logits.log_softmax(-1)[row, column, ids]
        losses = -weights * (teacher.double() - old.double()) * logprob
        slope = torch.autograd.grad(losses.mean(), self.logits)[0]
        return float(losses.detach().mean()), slope, float(losses.detach().abs().mean())


def main() -> int:
    """Prints the differences; the exit status is 1 when one exceeds its tolerance, 2 without TRL."""
    trl = find(iw_opd="iw_opd.iw_opd_trainer:IWOPDTrainer")
    print(f"IW-OPD against TRL {trl.__version__}: largest differences over 20 batches,")
    print("relative to the mean size of a token's loss and to the largest slope")
    worst = 0.0
    for gamma in (0.0, 0.5, 1.0, 2.0):
        values, slopes = [], []
        for seed in range(20):
            problem = Problem(seed)
            (a, da, size), (b, db) = problem.ours(gamma), problem.trl(trl.iw_opd, gamma)
            values.append(abs(a - b) / size)
            slopes.append(float((da - db).abs().max() / db.abs().max()))
        worst = max(worst, *values, *slopes)
        print(f"  gamma {gamma:.1f}   loss {max(values):.1e}   gradient {max(slopes):.1e}")
    print("agrees" if worst <= TOLERANCE else f"DIFFERS by more than {TOLERANCE}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
