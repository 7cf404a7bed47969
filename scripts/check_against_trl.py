"""Compares the divergence kernel with TRL's GKD loss: values and gradients, on the same hidden states.

Usage: python scripts/check_against_trl.py            (needs `trl`, which this package does not depend on)

TRL's `GKDTrainer.generalized_jsd_loss` takes full logits; ours takes hidden states and output layers.
"""

from __future__ import annotations

import importlib
import sys

import torch
from torch import Tensor

from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import FullDivergence, TeacherHead
from agentdistill.learner.statistics import TokenStatistics
from agentdistill_losses.divergences import generalised_jsd

BATCH, LENGTH, VOCABULARY, STUDENT_HIDDEN, TEACHER_HIDDEN = 4, 48, 2048, 64, 96
TOLERANCE = 1e-5


def ours(hidden: Tensor, weight: Tensor, teacher: TeacherHead, mask: Tensor, beta: float, temperature: float) -> Tensor:
    """The mean over unmasked tokens through the kernel."""
    count = int(mask.sum())
    zero, nan = torch.zeros(count, dtype=torch.int64), torch.zeros(count)
    tokens = TokenStatistics(zero, zero, zero, zero, zero, nan, nan, nan)
    head = TeacherHead(teacher.hidden[mask], teacher.weight)
    loss = FullDivergence(generalised_jsd(beta), temperature).chunk_loss(tokens, head)
    return fused_head(hidden[mask], weight, None, loss, torch.full((count,), 1.0 / count))[0]


def main() -> int:
    """Prints the differences; the exit status is 1 when one exceeds the tolerance."""
    try:
        trl = importlib.import_module("trl")
        reference_loss = importlib.import_module("trl.experimental.gkd.gkd_trainer").GKDTrainer.generalized_jsd_loss
    except ModuleNotFoundError as error:
        print(f"TRL is needed for this comparison ({error.name} is missing): pip install trl", file=sys.stderr)
        return 2
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(BATCH, LENGTH, STUDENT_HIDDEN, generator=g).requires_grad_()
    weight = (0.3 * torch.randn(VOCABULARY, STUDENT_HIDDEN, generator=g)).requires_grad_()
    teacher_hidden = torch.randn(BATCH, LENGTH, TEACHER_HIDDEN, generator=g)
    teacher = TeacherHead(teacher_hidden, 0.3 * torch.randn(VOCABULARY, TEACHER_HIDDEN, generator=g))
    mask = torch.rand(BATCH, LENGTH, generator=g) < 0.6
    labels = torch.where(mask, 1, -100)
    print(f"trl {trl.__version__}, torch {torch.__version__}, {int(mask.sum())} tokens, vocabulary {VOCABULARY}")
    print(
        "| beta | temperature | TRL | ours | difference | gradient difference (relative) |\n|---|---|---|---|---|---|"
    )
    worst = 0.0
    for beta in (0.0, 0.1, 0.5, 0.9, 1.0):
        for temperature in (1.0, 0.9):
            reference = reference_loss(
                hidden @ weight.T, teacher_hidden @ teacher.weight.T, labels, beta=beta, temperature=temperature
            )
            expected = torch.autograd.grad(reference, (hidden, weight))
            value = ours(hidden, weight, teacher, mask, beta, temperature)
            got = torch.autograd.grad(value, (hidden, weight))
            gap = abs(float(value.detach()) - float(reference.detach()))
            slope = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(got, expected, strict=True))
            worst = max(worst, gap, slope)
            print(f"| {beta} | {temperature} | {reference:.7f} | {value:.7f} | {gap:.1e} | {slope:.1e} |")
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
