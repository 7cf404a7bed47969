"""The loss contract: a loss says what one token is worth; the core does everything else.

A loss plugin has an `objective`, one of three forms. None of them sees masks, weights, denominators or devices, and
what must be detached arrives detached:

* `PolicyGradient`: an advantage per sampled token, used through the clipped importance ratio;
* `SampledLoss`: a differentiable function of the sampled token's log-probability under student and teacher;
* `FullDivergence`: a divergence between the two distributions over the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from agentdistill.learner.kernels import ChunkLoss, SampledLogprobs
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.records import ScoreRequest


class Divergence(Protocol):
    """A divergence between next-token distributions: a pure function of log-probabilities."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row.

        Args:
            student: float32 [n, V], log-probabilities; differentiable.
            teacher: float32 [n, V], log-probabilities; constant.

        Returns:
            float32 [n], nats.
        """
        ...


@runtime_checkable
class AnalyticDivergence(Divergence, Protocol):
    """A divergence that brings its gradient, which saves memory and time."""

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values [n] and their gradient with respect to the student's logits [n, V]; may overwrite its arguments."""
        ...


@dataclass(frozen=True, slots=True)
class TeacherHead:
    """What turns a teacher's hidden states into logits.

    Attributes:
        hidden: [N, Dt], the teacher's states for the tokens of this pass.
        weight: [V, Dt].
    """

    hidden: Tensor
    weight: Tensor


class Objective(Protocol):
    """Makes the chunk loss of one forward pass."""

    @property
    def needs_hidden(self) -> bool:
        """Whether it needs the teacher's hidden states."""
        ...

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherHead | None) -> TokenLoss:
        """The chunk loss over these tokens."""
        ...


class TokenLoss(ChunkLoss, Protocol):
    """A chunk loss that also tells the student's log-probabilities of the sampled tokens and what was clipped."""

    @property
    def logprobs(self) -> Tensor:
        """float32 [N], filled by evaluation."""
        ...

    @property
    def clipped(self) -> Tensor | None:
        """Tokens (bool [N]) whose gradient the ratio clip removed; None when there is no ratio."""
        ...


@runtime_checkable
class Loss(Protocol):
    """Registered as a class, constructed with its config."""

    @property
    def request(self) -> ScoreRequest:
        """What it needs from the teacher."""
        ...

    @property
    def objective(self) -> Objective:
        """What one token is worth."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyGradient:
    """An advantage per sampled token through PPO's clipped ratio (with the dual clip of arXiv 1912.09729).

    Attributes:
        advantage: `TokenStatistics` -> float32 [N].
        advantage_clip: advantages are clipped to +- this.
        ratio_clip: the ratio pi / pi_old is clipped to 1 +- this.
        dual_clip: for negative advantages the loss is at most this many times |A|.
    """

    advantage: Callable[[TokenStatistics], Tensor]
    advantage_clip: float = 20.0
    ratio_clip: float = 0.2
    dual_clip: float = 3.0

    @property
    def needs_hidden(self) -> bool:
        """Sampled tokens are enough."""
        return False

    def clipped_advantage(self, tokens: TokenStatistics) -> Tensor:
        """The advantage as the loss uses it, [N]."""
        return self.advantage(tokens).detach().clamp(-self.advantage_clip, self.advantage_clip)

    def surrogate(self, logprob: Tensor, old_logprob: Tensor, advantage: Tensor) -> Tensor:
        """The per-token loss [N], differentiable in `logprob`.

        With one pass over an on-policy batch the ratio is 1: the value is -A, the gradient is -A grad log pi.
        """
        ratio = torch.exp((logprob - old_logprob).clamp(-20.0, 20.0))
        bounded = ratio.clamp(1.0 - self.ratio_clip, 1.0 + self.ratio_clip)
        loss = torch.maximum(-ratio * advantage, -bounded * advantage)
        return torch.where(advantage < 0, torch.minimum(loss, -self.dual_clip * advantage), loss)

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherHead | None) -> TokenLoss:
        """See `Objective`."""
        advantage, old = self.clipped_advantage(tokens), tokens.old_logprob

        def values(logprob: Tensor, span: slice) -> Tensor:
            return self.surrogate(logprob, old[span], advantage[span])

        return _OnSampled(tokens.token_id, values, track_clipping=True)


@dataclass(frozen=True, slots=True)
class SampledLoss:
    """A differentiable function of the sampled tokens' log-probabilities.

    Attributes:
        values: (student log-probs [N], teacher log-probs [N]) -> float32 [N].
    """

    values: Callable[[Tensor, Tensor], Tensor]

    @property
    def needs_hidden(self) -> bool:
        """Sampled tokens are enough."""
        return False

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherHead | None) -> TokenLoss:
        """See `Objective`."""
        reference = tokens.teacher_logprob
        return _OnSampled(tokens.token_id, lambda logprob, span: self.values(logprob, reference[span]))


@dataclass(frozen=True, slots=True)
class FullDivergence:
    """A divergence over the whole vocabulary.

    Attributes:
        divergence: the function.
        temperature: both distributions are softened by it; the value is not rescaled (as in TRL's GKD).
    """

    divergence: Divergence
    temperature: float = 1.0

    @property
    def needs_hidden(self) -> bool:
        """The teacher's distribution comes from its hidden states."""
        return True

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherHead | None) -> TokenLoss:
        """See `Objective`."""
        if teacher is None:
            raise ValueError("a full-vocabulary divergence needs the teacher's output layer")
        return DivergenceLoss(tokens.token_id, teacher, self.divergence, self.temperature)


class _OnSampled(SampledLogprobs):
    """A chunk loss that depends on the logits through the sampled tokens' log-probabilities only."""

    def __init__(
        self, targets: Tensor, values: Callable[[Tensor, slice], Tensor], *, track_clipping: bool = False
    ) -> None:
        super().__init__(targets)
        self.values = values
        self.clipped = torch.zeros(len(targets), dtype=torch.bool, device=targets.device) if track_clipping else None

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        logprob, log_z = self.take(logits, span)
        with torch.enable_grad():
            leaf = logprob.detach().requires_grad_()
            value = self.values(leaf, span)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        if self.clipped is not None:
            # The clip holds exactly where the surrogate is flat although its value is not zero.
            self.clipped[span] = (slope == 0) & (value.detach() != 0)
        grad = self.gradient(logits, log_z, span, slope[:, None]) if want_grad else None
        return value.detach(), grad


class DivergenceLoss:
    """A chunk loss over both full distributions.

    Attributes:
        logprobs: float32 [N], the student's log-probabilities of the sampled tokens at temperature 1.
        clipped: None, there is no ratio.
    """

    clipped: Tensor | None = None

    def __init__(self, targets: Tensor, teacher: TeacherHead, divergence: Divergence, temperature: float = 1.0) -> None:
        """Makes it for int64 targets [N] (used for `logprobs` only)."""
        self.targets, self.teacher, self.divergence, self.temperature = targets, teacher, divergence, temperature
        self.logprobs = torch.empty(len(targets), dtype=torch.float32, device=targets.device)

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChunkLoss`."""
        sampled = logits.gather(1, self.targets[span, None])
        log_z = torch.logsumexp(logits, dim=-1, keepdim=True)
        self.logprobs[span] = (sampled - log_z).squeeze(1)
        if self.temperature != 1.0:
            logits.div_(self.temperature)
            log_z = torch.logsumexp(logits, dim=-1, keepdim=True)
        student = logits.sub_(log_z)
        hidden, weight = self.teacher.hidden[span], self.teacher.weight
        teacher = (hidden.to(weight.dtype) @ weight.T).to(student.dtype)
        if self.temperature != 1.0:
            teacher.div_(self.temperature)
        teacher.sub_(torch.logsumexp(teacher, dim=-1, keepdim=True))
        if not want_grad:
            with torch.no_grad():
                return self.divergence(student, teacher), None
        value, grad = divergence_with_gradient(self.divergence, student, teacher)
        return value, grad if self.temperature == 1.0 else grad.div_(self.temperature)


def divergence_with_gradient(divergence: Divergence, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Values of a divergence [n] and their gradient with respect to the student's logits [n, V].

    Uses the divergence's own gradient where it has one and automatic differentiation otherwise.
    """
    if isinstance(divergence, AnalyticDivergence):
        return divergence.with_gradient(student, teacher)
    with torch.enable_grad():
        leaf = student.detach().requires_grad_()
        value = divergence(leaf, teacher)
        (grad,) = torch.autograd.grad(value.sum(), leaf)
    # d/dz of log-softmax: g - softmax * sum(g).
    return value.detach(), grad - student.exp() * grad.sum(-1, keepdim=True)
