"""SAGE-OPD's turn gate (arXiv 2606.19659): distil a turn as much as it needs help and the teacher knows better.

A judge that has seen the environment's answer calls each turn "skip" (0), "weak" (0.5) or "strong" (1), as the number
`judge` among the turn's annotations. It multiplies the teacher's confidence, and the product is rescaled so that the
weights of the batch's tokens sum up to the number of tokens: skipping moves the loss elsewhere, it does not shrink it.

    w_k  =  s c_k mean_j max_v pi_T(v | prefix_kj),   s such that sum_k n_k w_k = sum_k n_k

Branch `kd`. Needs the annotation, and `teacher_confidence` unless that is left out. A turn whose verdict cannot be read
counts as strong, as in the paper; so does a turn that nobody judged (NaN). When every verdict is "skip" nothing can be
rescaled and all weights are 0.

Accounts of the paper differ in two points. Over what the sum is preserved: here it is the batch, whose mean the loss
is; `scope = "episode"` preserves it in every episode, which lets one weak turn of an otherwise skipped episode count
for all of it. And whether the confidence weighs turns, as here, or single tokens: for those, set `confidence = false`,
add the token weight `teacher-confidence`, and let `optim.weight_norm = "mean1"` keep the scale.

Proofs: tests/weights/test_step_methods.py (the sum over tokens, verdicts as ratios, skip is 0, unread is strong,
scale of the confidence drops out, all skipped, a loop over turns).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.errors import PluginError
from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class SageConfig(PluginConfig):
    """Weights by a judge's verdict and the teacher's confidence.

    Attributes:
        annotation: name of the verdict among the turn's annotations; a [[reward]] that judges turns writes it.
        unread: verdict of a turn without a readable one (the paper's: strong).
        confidence: multiply by the teacher's confidence; false leaves the verdict alone.
        scope: where the sum over tokens is preserved, the "batch" or each "episode".
    """

    annotation: str = Field(default="judge", min_length=1)
    unread: float = Field(default=1.0, ge=0.0, le=1.0)
    confidence: bool = True
    scope: Literal["batch", "episode"] = "batch"


def needs(config: SageConfig) -> frozenset[str]:
    """The verdict, and the teacher's confidence unless it is left out."""
    verdict = f"annotation:{config.annotation}"
    return frozenset({verdict, "teacher_confidence"} if config.confidence else {verdict})


def sage(steps: StepStatistics, config: SageConfig) -> Tensor:
    """Weighs turns by verdict times confidence, with the sum over tokens preserved.

    Args:
        steps: step statistics, with verdicts in [0, 1].
        config: the options.

    Returns:
        float32 [trajectories, steps], at least 0.

    Raises:
        PluginError: no turn of the batch was judged, or a verdict is outside [0, 1].
    """
    if not bool(steps.mask.any()):
        return torch.zeros(steps.shape)
    if config.annotation not in steps.annotations:
        raise PluginError(
            "The step weight `sage` found no verdict in the batch.",
            f"It multiplies the annotation `{config.annotation}` of each turn, and no turn has one.",
            "See whether the reward that judges turns got any answer, or choose another step weight.",
        )
    verdict = steps.annotations[config.annotation].double()
    verdict = torch.where(verdict.isnan(), torch.full_like(verdict, config.unread), verdict)
    seen = verdict[steps.mask]
    if bool(((seen < 0) | (seen > 1)).any()):
        raise PluginError(
            f"A judge's verdict on a turn is {float(seen.min())} or {float(seen.max())}.",
            "The step weight `sage` reads 0 as skip, 0.5 as weak and 1 as strong.",
            f"Scale the annotation `{config.annotation}` to [0, 1].",
        )
    raw = verdict * steps.teacher_confidence.double() if config.confidence else verdict
    raw = torch.where(steps.mask, raw, torch.zeros_like(raw))
    tokens = steps.tokens.double()
    whole, kept = tokens.sum(dim=1, keepdim=True), (raw * tokens).sum(dim=1, keepdim=True)
    if config.scope == "batch":
        whole, kept = whole.sum(), kept.sum()
    return (raw * torch.where(kept == 0, torch.zeros_like(kept), whole / kept)).float()


sage.needs = needs  # type: ignore[attr-defined]
