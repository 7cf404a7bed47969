"""Sampled estimators of KL(student || teacher) and what their gradients estimate.

With y drawn from the student, r = log pi_S(y) - log pi_T(y):

* k1 = r has the right value and, differentiated, a gradient whose expectation is zero and never sees the teacher;
* k2 = r^2 / 2 has a biased value and the exact gradient of the reverse KL;
* k3 = exp(-r) - 1 + r has the right value and the gradient of the *forward* KL.
"""

from __future__ import annotations

import torch
from torch import Tensor


def k1(student: Tensor, teacher: Tensor) -> Tensor:
    """The log-ratio itself: an advantage (negated), never a loss."""
    return student - teacher


def k2(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the squared log-ratio: as a loss on on-policy tokens, the reverse KL's gradient."""
    return 0.5 * (student - teacher) ** 2


def k3(student: Tensor, teacher: Tensor) -> Tensor:
    """exp(-r) - 1 + r >= 0: as a loss on on-policy tokens, the forward KL's gradient."""
    gap = student - teacher
    return torch.exp(-gap) - 1 + gap
