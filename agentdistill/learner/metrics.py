"""Numbers about one optimiser step, and curves over the turn index that can be added up across steps.

A curve is stored as sums and counts, `turn/<index>/<name>_sum` with `turn/<index>/tokens` and `turn/<index>/turns`,
so that steps, ranks and windows aggregate exactly; `curve` divides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agentdistill.learner.batch import LearnerBatch
from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.reduce import effective_share
from agentdistill.learner.shares import depth_shares, episode_shares, teacher_shares
from agentdistill.learner.statistics import StepStatistics
from agentdistill.learner.terms import Term

_TURN = re.compile(r"turn/(\d+)/(\w+)")
CURVES = {
    "kl": "tokens",
    "teacher_logprob": "tokens",
    "student_logprob": "tokens",
    "weight": "turns",
    "overlap": "overlap_tokens",
    "teacher_entropy": "teacher_entropy_tokens",
}
"""Name of each curve and the count it is divided by; the last two exist where engine and teacher report them."""


def turn_curves(batch: LearnerBatch, steps: StepStatistics, step_weights: Tensor) -> dict[str, float]:
    """Sums and counts per turn index.

    Args:
        batch: the batch.
        steps: its step statistics.
        step_weights: float32 [trajectories, steps], as used.

    Returns:
        For each turn index with a distilled token: tokens, turns, and the sums of the curves in `CURVES`. The KL is
        the sampled reverse KL, log pi_old - log pi_T, in nats.
    """
    if not len(batch.tokens):
        return {}
    tokens, size = batch.tokens, int(batch.tokens.turn.max()) + 1

    def total(index: Tensor, values: Tensor) -> list[float]:
        zeros = torch.zeros(size, dtype=torch.float64)
        return zeros.scatter_add_(0, index, values.double()).tolist()

    at = steps.index[steps.mask]
    columns = {
        "tokens": total(tokens.turn, torch.ones(len(tokens))),
        "turns": total(at, torch.ones(len(at))),
        "kl_sum": total(tokens.turn, tokens.log_ratio),
        "teacher_logprob_sum": total(tokens.turn, tokens.teacher_logprob),
        "student_logprob_sum": total(tokens.turn, tokens.old_logprob),
        "weight_sum": total(at, step_weights[steps.mask]),
    }
    for name, values in (("overlap", tokens.overlap), ("teacher_entropy", tokens.teacher_entropy)):
        known = torch.isfinite(values)
        if bool(known.any()):
            columns[f"{name}_sum"] = total(tokens.turn[known], values[known])
            columns[f"{name}_tokens"] = total(tokens.turn[known], torch.ones(int(known.sum())))
    return {
        f"turn/{turn}/{name}": values[turn]
        for turn in range(size)
        if columns["tokens"][turn]
        for name, values in columns.items()
    }


def curve(metrics: Mapping[str, object], name: str) -> dict[int, float]:
    """One curve over the turn index.

    Args:
        metrics: of `Learner.step`; those of several steps may be added up.
        name: a key of `CURVES`.

    Returns:
        Turn index -> mean, in increasing order of the index.
    """
    found = sorted(int(m[1]) for key in metrics if (m := _TURN.fullmatch(key)) and m[2] == f"{name}_sum")
    return {
        turn: float(metrics[f"turn/{turn}/{name}_sum"]) / float(metrics[f"turn/{turn}/{CURVES[name]}"])  # type: ignore[arg-type]
        for turn in found
        if metrics[f"turn/{turn}/{CURVES[name]}"]
    }


def batch_metrics(
    batch: LearnerBatch, steps: StepStatistics, step_weights: Tensor, weights: Mapping[str, Tensor], base: Tensor
) -> dict[str, float]:
    """Metrics that are known before the forward pass.

    Args:
        batch: the batch.
        steps: its step statistics.
        step_weights: float32 [trajectories, steps], as the plugin gave them, masked.
        weights: by branch, float32 [N], step x token weights as used, normalised.
        base: float32 [N], coefficients of the reduction, which the weights multiply.

    Returns:
        Counts, weights and KLs; see the keys.
    """
    metrics = {key: float(value) for key, value in batch.counts.items()}
    distill, dead = metrics["tokens/distill"], metrics["tokens/dead"]
    metrics["tokens/dead_rate"] = dead / (distill + dead) if distill + dead else 0.0
    metrics["rows/dead_rate"] = metrics["rows/dead"] / (metrics["rows/asked"] or 1.0)
    if not len(batch.tokens):
        return metrics
    tokens, count = batch.tokens, len(batch.trajectories)
    per_episode = torch.zeros(count, dtype=torch.float64)
    kl = per_episode.clone().scatter_add_(0, tokens.trajectory, tokens.log_ratio.double())
    lengths = per_episode.clone().scatter_add_(0, tokens.trajectory, torch.ones(len(tokens), dtype=torch.float64))
    kl, lengths = kl[lengths > 0], lengths[lengths > 0]
    used = step_weights[steps.mask]
    known = {
        "entropy/teacher": tokens.teacher_entropy,
        "entropy/student": tokens.old_entropy,
        "overlap/mean": tokens.overlap,
    }
    metrics |= {
        "kl/token": float(tokens.log_ratio.double().mean()),
        "kl/abs_token": float(tokens.log_ratio.double().abs().mean()),
        # The estimator k3, exp(-r) - 1 + r: as unbiased as k1 (the mean of r) and never negative.
        "kl/k3_token": float((torch.expm1((-tokens.log_ratio.double()).clamp(max=20.0)) + tokens.log_ratio).mean()),
        "kl/episode_mean": float(kl.mean()),
        "kl/episode_std": float(kl.std(correction=0)),
        "logprob/teacher": float(tokens.teacher_logprob.double().mean()),
        "logprob/student": float(tokens.old_logprob.double().mean()),
        "weight/step_mean": float(used.double().mean()),
        "weight/step_min": float(used.min()),
        "weight/step_max": float(used.max()),
        "weight/step_ess": effective_share(used),
        "weight/token_mean": float(weights["kd"].double().mean()),
        # Effective sample size as a share of the tokens: under the reduction alone, and with the weights.
        "weight/ess_before": effective_share(base),
        "weight/token_ess": effective_share(base * weights["kd"]),
        # One long episode can own a batch: the effective number of episodes, (sum n)^2 / sum n^2.
        "episodes/effective": effective_share(lengths) * len(lengths),
        "turns/distill": float(steps.mask.sum()),
        **episode_shares(lengths),
    }
    metrics |= {
        name: float(v[torch.isfinite(v)].double().mean()) for name, v in known.items() if bool(v.isfinite().any())
    }
    if batch.rewarded:
        metrics["weight/rl_mean"] = float(weights["rl"].double().mean())
        metrics["weight/rl_ess"] = effective_share(base * weights["rl"])
        metrics["advantage/rl_abs_mean"] = float(tokens.advantage.double().abs().mean())
    return metrics | turn_curves(batch, steps, step_weights)


def loss_metrics(
    batch: LearnerBatch,
    terms: Sequence[Term],
    objective: Objective | None,
    coefficients: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    members: Sequence[str] = (),
) -> dict[str, float]:
    """Metrics that are known after the forward pass.

    Args:
        batch: the batch.
        terms: what the loss of the student's own tokens was made of.
        objective: the distillation objective, None when there is only imitation.
        coefficients: final coefficients by term, and of the branch "imitate".
        values: per-token losses by the same names, and "logprob" and "clipped" of the distilled tokens; with several
            teachers also "gradient", the length of the gradient at each.
        members: names of several teachers.
    """
    metrics: dict[str, float] = {}
    sizes = {"imitate": len(batch.imitate), **{term.name: len(batch.distill) for term in terms}}
    for name in [name for name, size in sizes.items() if size]:
        metrics[f"loss/{name}"] = float((values[name] * coefficients[name]).double().sum())
        metrics[f"loss/{name}_token"] = float(values[name].double().mean())
    if not terms:
        return metrics
    gap = (values["logprob"] - batch.tokens.old_logprob).double().abs()
    metrics |= {
        # How far the engine's log-probabilities are from the learner's: numerics plus staleness.
        "gap/logprob_mean": float(gap.mean()),
        "gap/logprob_max": float(gap.max()),
        **depth_shares(batch.tokens, terms, values),
    }
    if batch.source is not None:
        metrics |= teacher_shares(batch.source, values["gradient"], members)
    for advantage in [term.advantage for term in terms if term.advantage is not None][:1]:
        bound = objective.advantage_clip if isinstance(objective, PolicyGradient) else math.inf
        size = advantage.double().abs()
        top = max(1, len(size) // 100)
        metrics |= {
            "advantage/mean": float(advantage.double().mean()),
            "advantage/abs_max": float(size.max()),
            "advantage/clip_rate": float((size >= bound).double().mean()),
            # A few tokens can carry the whole signal: the share of the largest 1%.
            "advantage/top1_share": float(size.topk(top).values.sum() / size.sum()) if float(size.sum()) else 0.0,
            "ratio/clip_rate": float(values["clipped"].mean()),
        }
    return metrics
