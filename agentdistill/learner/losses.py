"""The loss contract: a loss says what one token is worth; the core does everything else.

A loss plugin has an `objective` of one of these forms. None of them sees masks, weights, denominators or devices, and
what must be detached arrives detached:

* `PolicyGradient`: an advantage per sampled token, used through the clipped importance ratio;
* `SampledLoss`: a differentiable function of the sampled token's log-probability under student and teacher;
* `FullDivergence`: a divergence between the two distributions over the whole vocabulary, or `TopKDivergence`
  (`agentdistill.learner.topk`), over the most likely tokens and what is left.

A loss whose objective changes as training goes on has a method `at(progress)` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from agentdistill.learner.kernels import ChunkLoss, SampledLogprobs
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.surrogates import ClippedRatio, Surrogate
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


@runtime_checkable
class ContextualDivergence(Protocol):
    """A divergence that depends on more than the two distributions: on which token was sampled, for instance.

    One that must see the whole batch first has `prepare(tokens) -> ContextualDivergence` besides; the chunks it is then
    asked about say by `TokenStatistics.index` which tokens they are.
    """

    def at(self, tokens: TokenStatistics) -> Divergence:
        """The divergence for these n tokens, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class TeacherHead:
    """What turns a teacher's hidden states into logits.

    Attributes:
        hidden: [N, Dt], the teacher's states for the tokens of this pass.
        weight: [V, Dt].
        ids: int64 [V], the student's id for each of a teacher's own vocabulary, -1 for none; None is one vocabulary.
    """

    hidden: Tensor
    weight: Tensor
    ids: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TeacherTop:
    """A teacher's most likely tokens.

    Attributes:
        ids: int64 [N, k].
        logprobs: float32 [N, k], of the whole distribution at temperature 1.
    """

    ids: Tensor
    logprobs: Tensor


TeacherView = TeacherHead | TeacherTop


class Objective(Protocol):
    """Makes the chunk loss of one forward pass."""

    @property
    def needs_hidden(self) -> bool:
        """Whether it needs the teacher's hidden states."""
        ...

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
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


@runtime_checkable
class ScheduledLoss(Protocol):
    """A loss whose objective depends on where the run stands."""

    @property
    def request(self) -> ScoreRequest:
        """What it needs from the teacher, at any time."""
        ...

    def at(self, progress: LearnerProgress) -> Objective:
        """What one token is worth in the next batch."""
        ...


def prepared(objective: Any, tokens: TokenStatistics) -> Any:
    """The objective for one batch: a divergence that wants to see all N tokens first has seen them."""
    divergence = getattr(objective, "divergence", None)
    prepare = getattr(divergence, "prepare", None)
    return objective if prepare is None else replace(objective, divergence=prepare(tokens))


@runtime_checkable
class DemonstrationLoss(Protocol):
    """A loss that also says what demonstrations count; to others `agentdistill imitate` is cross-entropy.

    Attributes:
        failures: whether it wants failed episodes among the demonstrations.
    """

    failures: bool

    def imitation(self, tokens: TokenStatistics) -> Tensor:
        """What each token's cross-entropy counts, float32 [N]; see `agentdistill.learner.imitation.Imitation`."""
        ...


def objective_at(loss: Loss | ScheduledLoss, progress: LearnerProgress) -> Objective:
    """The objective of the next batch."""
    return loss.at(progress) if isinstance(loss, ScheduledLoss) else loss.objective


@dataclass(frozen=True, slots=True)
class PolicyGradient:
    """An advantage per sampled token, through a surrogate.

    Attributes:
        advantage: `TokenStatistics` of the whole batch -> float32 [N].
        advantage_clip: advantages are clipped to +- this.
        surrogate: what the advantage becomes as a loss; [surrogate] of a recipe takes its place.
    """

    advantage: Callable[[TokenStatistics], Tensor]
    advantage_clip: float = 20.0
    surrogate: Surrogate = field(default_factory=ClippedRatio)

    @property
    def needs_hidden(self) -> bool:
        """Sampled tokens are enough."""
        return False

    def clipped_advantage(self, tokens: TokenStatistics) -> Tensor:
        """The advantage as the loss uses it, [N]."""
        return self.advantage(tokens).detach().clamp(-self.advantage_clip, self.advantage_clip)

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `Objective`. Right for a whole batch; the learner cuts batches by `surrogate_loss`."""
        advantage = self.clipped_advantage(tokens)
        return surrogate_loss(self.surrogate.prepare(tokens, advantage), tokens, advantage)


def surrogate_loss(surrogate: Surrogate, tokens: TokenStatistics, advantage: Tensor) -> TokenLoss:
    """The chunk loss of a prepared surrogate.

    Args:
        surrogate: what an advantage becomes.
        tokens: N tokens.
        advantage: float32 [N], constant.
    """

    def values(logprob: Tensor, span: slice) -> Tensor:
        return surrogate.values(logprob, tokens[span], advantage[span])

    return OnSampled(tokens.token_id, values, pulls=advantage != 0)


@runtime_checkable
class ContextualValues(Protocol):
    """A sampled loss that depends on more than two log-probabilities: on whether the episode was won, for instance."""

    def at(self, tokens: TokenStatistics) -> Callable[[Tensor, Tensor], Tensor]:
        """The function for these n tokens, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class SampledLoss:
    """A differentiable function of the sampled tokens' log-probabilities.

    Attributes:
        values: (student log-probs [n], teacher log-probs [n]) -> float32 [n]; or an object whose `at(tokens)` gives
            that function for n tokens.
    """

    values: Callable[[Tensor, Tensor], Tensor] | ContextualValues

    @property
    def needs_hidden(self) -> bool:
        """Sampled tokens are enough."""
        return False

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `Objective`."""

        def values(logprob: Tensor, span: slice) -> Tensor:
            function = self.values.at(tokens[span]) if isinstance(self.values, ContextualValues) else self.values
            return function(logprob, tokens.teacher_logprob[span])

        return OnSampled(tokens.token_id, values)


@dataclass(frozen=True, slots=True)
class FullDivergence:
    """A divergence over the whole vocabulary.

    Attributes:
        divergence: the function.
        temperature: both distributions are softened by it; the value is not rescaled.
    """

    divergence: Divergence | ContextualDivergence
    temperature: float = 1.0

    @property
    def needs_hidden(self) -> bool:
        """The teacher's distribution comes from its hidden states."""
        return True

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `Objective`."""
        if not isinstance(teacher, TeacherHead):
            raise ValueError("a full-vocabulary divergence needs the teacher's output layer")
        return DivergenceLoss(tokens, teacher, self.divergence, self.temperature)


class OnSampled(SampledLogprobs):
    """A chunk loss that depends on the logits through the sampled tokens' log-probabilities only."""

    def __init__(
        self, targets: Tensor, values: Callable[[Tensor, slice], Tensor], *, pulls: Tensor | None = None
    ) -> None:
        """Makes it; `pulls`, bool [N], says which tokens have a gradient unless they are clipped or dropped."""
        super().__init__(targets)
        self.values = values
        self.pulls = pulls
        self.clipped = None if pulls is None else torch.zeros_like(pulls)

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChunkLoss`."""
        logprob, log_z = self.take(logits, span)
        with torch.enable_grad():
            leaf = logprob.detach().requires_grad_()
            value = self.values(leaf, span)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        if self.clipped is not None and self.pulls is not None:
            self.clipped[span] = (slope == 0) & self.pulls[span]
        grad = self.gradient(logits, log_z, span, slope[:, None]) if want_grad else None
        return value.detach(), grad


class DivergenceLoss:
    """A chunk loss over both full distributions.

    Attributes:
        logprobs: float32 [N], the student's log-probabilities of the sampled tokens at temperature 1.
        clipped: None, there is no ratio.
    """

    clipped: Tensor | None = None

    def __init__(
        self,
        tokens: TokenStatistics,
        teacher: TeacherHead,
        divergence: Divergence | ContextualDivergence,
        temperature: float = 1.0,
    ) -> None:
        """Makes it for N tokens."""
        self.tokens, self.teacher, self.divergence, self.temperature = tokens, teacher, divergence, temperature
        self.targets = tokens.token_id
        self.logprobs = torch.empty(len(tokens), dtype=torch.float32, device=self.targets.device)

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
        divergence = divergence_for(self.divergence, self.tokens, span)
        if not want_grad:
            with torch.no_grad():
                return divergence(student, teacher), None
        value, grad = divergence_with_gradient(divergence, student, teacher)
        return value, grad if self.temperature == 1.0 else grad.div_(self.temperature)


def divergence_for(divergence: Divergence | ContextualDivergence, tokens: TokenStatistics, span: slice) -> Divergence:
    """The divergence for some of the tokens."""
    return divergence.at(tokens[span]) if isinstance(divergence, ContextualDivergence) else divergence


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
