"""Losses over the whole vocabulary without the whole vocabulary in memory.

The output layer is applied to a few dozen tokens at a time, and the gradients with respect to hidden states and
weight are computed in the forward pass, so nothing of size tokens x vocabulary ever exists. What is computed from a
chunk of logits is a `ChunkLoss`; the kernel itself knows no loss.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class ChunkLoss(Protocol):
    """Per-token loss values from logits, with their gradient.

    One whose tokens depend on one another has `look(logits, span)` besides, and is shown every chunk of a pass before
    the first is evaluated; the output layer is then applied twice.
    """

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """Evaluates one chunk.

        Args:
            logits: float32 [n, V] (float64 for a float64 layer), owned by the callee, which may overwrite it.
            span: which of the N tokens these are.
            want_grad: whether the gradient is needed.

        Returns:
            Values [n], and the gradient of each value with respect to its logits [n, V] (None when not wanted).
        """
        ...


class _FusedHead(torch.autograd.Function):
    """sum_t c_t * loss_t over chunks of tokens, gradients computed on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, loss: ChunkLoss, coefficients: Tensor, chunk: int
    ) -> tuple[Tensor, Tensor]:
        count = len(hidden)
        exact = torch.promote_types(weight.dtype, torch.float32)
        want = [bool(ctx.needs_input_grad[i]) for i in range(3)]
        grad_hidden = torch.empty_like(hidden) if want[0] else None
        # Low-precision gradients of thousands of chunks are summed in float32.
        grad_weight = torch.zeros(weight.shape, dtype=exact, device=weight.device) if want[1] else None
        grad_bias = torch.zeros(len(weight), dtype=exact, device=weight.device) if want[2] else None
        values = torch.empty(count, dtype=exact, device=hidden.device)
        coefficients = coefficients.to(exact)
        spans = [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]

        def applied(part: Tensor) -> Tensor:
            return (part @ weight.T if bias is None else torch.addmm(bias, part, weight.T)).to(exact)

        look = getattr(loss, "look", None)
        if look is not None:
            for span in spans:
                look(applied(hidden[span].to(weight.dtype)), span)
        for span in spans:
            part = hidden[span].to(weight.dtype)
            value, grad = loss(applied(part), span, any(want))
            values[span] = value
            if grad is None:
                continue
            grad = grad.mul_(coefficients[span, None]).to(weight.dtype)
            if grad_hidden is not None:
                grad_hidden[span] = (grad @ weight).to(hidden.dtype)
            if grad_weight is not None:
                if weight.dtype == exact:
                    grad_weight.addmm_(grad.T, part)
                else:
                    grad_weight += grad.T @ part
            if grad_bias is not None:
                grad_bias += grad.sum(0)
            del grad
        ctx.gradients = [
            grad_hidden,
            grad_weight if grad_weight is None else grad_weight.to(weight.dtype),
            grad_bias if grad_bias is None or bias is None else grad_bias.to(bias.dtype),
        ]
        ctx.mark_non_differentiable(values)
        # A coefficient of 0 switches a token off even where its loss is infinite.
        total = torch.where(coefficients == 0, torch.zeros_like(values), values * coefficients).sum(dtype=torch.float64)
        return total.to(exact), values

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        # The gradients leave the context, so that the accumulation may take them without a copy of [V, D].
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the fused head was differentiated twice; its gradients are computed once")
        scale = upstream[0]
        if float(scale) != 1.0:
            gradients = [None if g is None else g.mul_(scale.to(g.dtype)) for g in gradients]
        return (*gradients, None, None, None)


def fused_head(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    loss: ChunkLoss,
    coefficients: Tensor,
    *,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Weighted sum of per-token losses of an output layer.

    Args:
        hidden: [N, D], the states that predict the tokens.
        weight: [V, D], the output layer.
        bias: [V] or None.
        loss: what to compute from each chunk of logits.
        coefficients: [N], detached weight of each token in the sum.
        chunk: tokens whose logits exist at one time.

    Returns:
        The scalar sum_t c_t loss_t, differentiable once with respect to hidden, weight and bias, and the detached
        per-token losses [N]; both float32, or float64 for a float64 layer.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        return _FusedHead.apply(hidden, weight, bias, loss, coefficients.detach(), chunk)


class SampledLogprobs:
    """A chunk loss equal to minus the log-probability of given tokens (cross-entropy).

    Attributes:
        logprobs: float32 [N], filled as chunks are evaluated.
    """

    def __init__(self, targets: Tensor) -> None:
        """Makes it for int64 targets [N]."""
        self.targets = targets
        self.logprobs = torch.empty(len(targets), dtype=torch.float32, device=targets.device)

    def take(self, logits: Tensor, span: slice) -> tuple[Tensor, Tensor]:
        """The targets' log-probabilities [n] and the log-normaliser [n, 1] of a chunk."""
        log_z = torch.logsumexp(logits, dim=-1, keepdim=True)
        logprob = (logits.gather(1, self.targets[span, None]) - log_z).squeeze(1)
        self.logprobs[span] = logprob
        return logprob, log_z

    def gradient(self, logits: Tensor, log_z: Tensor, span: slice, factor: Tensor) -> Tensor:
        """`factor` [n, 1] times the gradient of the log-probabilities; overwrites the logits."""
        grad = logits.sub_(log_z).exp_().mul_(-factor)
        return grad.scatter_add_(1, self.targets[span, None], factor.to(grad.dtype))

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChunkLoss`."""
        logprob, log_z = self.take(logits, span)
        if not want_grad:
            return -logprob, None
        return -logprob, self.gradient(logits, log_z, span, torch.full_like(log_z, -1.0))


def sampled_logprobs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *, chunk: int = 64
) -> Tensor:
    """Log-probabilities of given tokens in bounded memory, without gradient.

    Args:
        hidden: [N, D].
        weight: [V, D].
        bias: [V] or None.
        targets: int64 [N].
        chunk: tokens whose logits exist at one time.

    Returns:
        float32 [N].
    """
    loss = SampledLogprobs(targets)
    with torch.no_grad():
        fused_head(hidden, weight, bias, loss, torch.ones(len(targets), device=hidden.device), chunk=chunk)
    return loss.logprobs
