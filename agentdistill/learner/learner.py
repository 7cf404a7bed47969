"""One optimiser step from played and scored episodes. It is blind to the method: plugins give it numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentdistill.errors import CheckpointError, ConfigError, TrainingError
from agentdistill.hashing import digest
from agentdistill.learner.batch import LearnerBatch, assemble
from agentdistill.learner.dump import non_finite
from agentdistill.learner.heads import enable_checkpointing, split_model
from agentdistill.learner.kernels import SampledLogprobs, fused_head
from agentdistill.learner.losses import Loss, TeacherHead
from agentdistill.learner.metrics import batch_metrics, loss_metrics
from agentdistill.learner.micro import MicroBatch, Picked, micro_batches, padding_share, teacher_states
from agentdistill.learner.optim import clip_gradients, learning_rate, make_optimizer
from agentdistill.learner.reduce import checked_weights, normalised, reduction_coefficients
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import StepStatistics, TokenStatistics, step_statistics
from agentdistill.records import TeacherScores, Trajectory

StepWeight = Callable[[StepStatistics], Tensor]
TokenWeight = Callable[[TokenStatistics], Tensor]


class Learner:
    """Trains a student.

    The loss of a step is

        sum_t c_t * W_step * W_tok * loss_t  (distilled tokens)  +  imitation * sum_t c_t * (-log pi(t))  (imitated)

    where each branch's coefficients c_t sum to 1 under the declared reduction. Step and token weights act on the
    distillation branch only.
    """

    def __init__(
        self,
        model: Any,
        *,
        loss: Loss | None,
        step_weight: StepWeight | None = None,
        token_weight: TokenWeight | None = None,
        settings: LearnerSettings | None = None,
        teacher_weight: Tensor | None = None,
    ) -> None:
        """Makes a learner.

        Args:
            model: the student, a `LoadedModel` or a `transformers` causal language model (peft-wrapped or not).
            loss: the distillation loss; None trains imitated turns only.
            step_weight: `StepStatistics` -> [trajectories, steps]; None is 1.
            token_weight: `TokenStatistics` -> [N]; None is 1.
            settings: how to optimise.
            teacher_weight: `Teacher.output_weight()`, for losses over the full vocabulary.

        Raises:
            ConfigError: the loss needs the teacher's output layer and there is none.
            TrainingError: the model cannot be taken apart, or nothing in it is trainable.
        """
        self.settings = settings or LearnerSettings()
        self.parts = split_model(model)
        self.loss, self.step_weight, self.token_weight = loss, step_weight, token_weight
        self.objective = None if loss is None else loss.objective
        self.teacher_weight = teacher_weight
        if self.objective is not None and self.objective.needs_hidden and teacher_weight is None:
            raise ConfigError(
                "The loss compares full distributions, and the teacher offers no output layer.",
                'It needs a teacher with the capability "hidden".',
                'Use a local teacher, or set `loss.support = "sampled"`.',
            )
        # Models of one family pad the same vocabulary to different sizes; the ids beyond the shorter are padding.
        self.vocabulary = len(self.parts.weight)
        if self.objective is not None and self.objective.needs_hidden and teacher_weight is not None:
            self.vocabulary = min(self.vocabulary, len(teacher_weight))
            self.teacher_weight = teacher_weight[: self.vocabulary]
        if self.settings.gradient_checkpointing:
            enable_checkpointing(self.parts.model)
        self.optimizer = make_optimizer(self.parts.model, self.settings)
        self.steps_done = 0

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None = None
    ) -> dict[str, float]:
        """Makes one optimiser step.

        Args:
            trajectories: the batch; aborted episodes are left out and counted.
            scores: the teacher's, one per row per trajectory; None when there is only imitation.

        Returns:
            Metrics; see `agentdistill.learner.metrics` for the curves over the turn index.

        Raises:
            TrainingError: nothing to train on, a broken record, or a loss or gradient that is not finite (the batch
                is then dumped to a file and the weights are unchanged).
            PluginError: a weight function returned something unusable.
        """
        metrics = self.accumulate(trajectories, scores)
        lr = learning_rate(self.settings, self.steps_done)
        self.optimizer.set_learning_rate(lr)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        return metrics | {"optim/lr": lr, "optim/step": float(self.steps_done)}

    def accumulate(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None = None
    ) -> dict[str, float]:
        """Computes the clipped gradient of a step without taking it; see `step`."""
        settings, objective = self.settings, self.objective
        batch = assemble(
            trajectories, scores, distill=objective is not None, hidden=objective is not None and objective.needs_hidden
        )
        if not batch.rows:
            raise TrainingError(
                f"There is nothing to train on in the batch of step {self.steps_done}.",
                f"{len(trajectories)} episodes, of which {batch.counts['episodes/aborted']} aborted; "
                f"{batch.counts['tokens/dead']} sampled tokens without a teacher score.",
                "Check that the environment runs and that the teacher scores what the student writes.",
            )
        steps, step_weights, coefficients, weights = self._coefficients(batch)
        metrics = batch_metrics(batch, steps, step_weights, weights)
        if len(batch.distill) and int(batch.distill.token_id.max()) >= self.vocabulary:
            raise TrainingError(
                f"The batch has the token id {int(batch.distill.token_id.max())}, but student and teacher share "
                f"{self.vocabulary} ids only.",
                "Their tokenizers differ, or the student samples ids that no token has.",
                "Use a pair that shares a tokenizer.",
            )
        passes = micro_batches(batch, settings.batch_tokens)
        values = {
            "distill": torch.zeros(len(batch.distill)),
            "imitate": torch.zeros(len(batch.imitate)),
            "logprob": torch.zeros(len(batch.distill)),
            "clipped": torch.zeros(len(batch.distill)),
        }
        model, device = self.parts.model, self.parts.device
        self.optimizer.zero_grad(set_to_none=True)
        model.train()
        try:
            # Dropout depends on the seed and the step only, so a resumed run draws the same masks.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(int(digest(["dropout", settings.seed, self.steps_done])[:15], 16))
                total = sum(self._backward(batch, p, coefficients, values) for p in passes)
        finally:
            model.eval()
        branches = {name: values[name] * coefficients[name] for name in ("distill", "imitate")}
        if not np.isfinite(total):
            self.optimizer.zero_grad(set_to_none=True)
            raise non_finite(batch, self.steps_done, settings.dump_directory, branches)
        norm = clip_gradients(self.parameters, settings.grad_clip)
        if not np.isfinite(norm):
            self.optimizer.zero_grad(set_to_none=True)
            raise non_finite(batch, self.steps_done, settings.dump_directory, branches, norm)
        metrics |= {"loss": total, "optim/grad_norm": norm, "batch/passes": float(len(passes))}
        metrics["batch/padding"] = padding_share(passes)
        return metrics | loss_metrics(batch, self.objective, coefficients, values)

    def _coefficients(self, batch: LearnerBatch) -> tuple[StepStatistics, Tensor, dict[str, Tensor], Tensor]:
        """Step statistics and weights, the final coefficient of every token, and the distilled tokens' weights."""
        settings, tokens = self.settings, batch.tokens
        steps = step_statistics(tokens, len(batch.trajectories))
        given = torch.ones(steps.shape) if self.step_weight is None else self.step_weight(steps)
        step_weights = checked_weights(given, steps.shape, steps.mask, "step_weight")
        weights = step_weights[tokens.trajectory, tokens.column]
        if self.token_weight is not None:
            given = self.token_weight(tokens)
            weights = weights * checked_weights(given, torch.Size([len(tokens)]), None, "token_weight")
        base = reduction_coefficients(tokens.trajectory, tokens.turn, settings.reduction, settings.alpha)
        weights = normalised(weights, base, settings.weight_norm)
        copied = reduction_coefficients(
            batch.imitate.trajectory, batch.imitate.turn, settings.reduction, settings.alpha
        )
        return steps, step_weights, {"distill": base * weights, "imitate": settings.imitation * copied}, weights

    def _backward(
        self, batch: LearnerBatch, micro: MicroBatch, coefficients: dict[str, Tensor], values: dict[str, Tensor]
    ) -> float:
        """Forward and backward of one pass; fills the per-token values and returns its part of the loss."""
        settings, parts = self.settings, self.parts
        autocast = torch.autocast(parts.device.type, dtype=torch.bfloat16) if settings.bf16 else nullcontext()
        with autocast:
            hidden = parts.hidden(micro.input_ids)
        terms: list[Tensor] = []
        for name, picked in (("distill", micro.distill), ("imitate", micro.imitate)):
            if not len(picked):
                continue
            states = hidden[picked.line.to(parts.device), picked.source.to(parts.device)]
            if name == "distill":
                loss = self._token_loss(batch, picked)
            else:
                loss = SampledLogprobs(batch.imitate.token_id[picked.index].to(parts.device))
            c = coefficients[name][picked.index].to(parts.device)
            shared = self.vocabulary if name == "distill" else len(parts.weight)
            weight, bias = parts.layer(shared)
            term, token_values = fused_head(states, weight, bias, loss, c, chunk=settings.head_chunk)
            terms.append(term)
            values[name][picked.index] = token_values.cpu()
            if name == "distill":
                values["logprob"][picked.index] = loss.logprobs.cpu()
                if getattr(loss, "clipped", None) is not None:
                    values["clipped"][picked.index] = loss.clipped.float().cpu()
        total = torch.stack(terms).sum()
        if bool(torch.isfinite(total)):
            total.backward()
        return float(total.detach())

    def _token_loss(self, batch: LearnerBatch, picked: Picked) -> Any:
        assert self.objective is not None  # distilled tokens exist only with a loss
        device = self.parts.device
        teacher = None
        if self.objective.needs_hidden:
            assert self.teacher_weight is not None  # checked at construction
            teacher = TeacherHead(teacher_states(batch, picked).to(device), self.teacher_weight.to(device))
        return self.objective.chunk_loss(batch.tokens.select(picked.index, device), teacher)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the student's weights that a resumed run needs: optimiser and step number.

        Schedule and dropout are functions of the step number and the seed, so they need no state of their own.
        """
        return {"optimizer": self.optimizer.state_dict(), "steps_done": self.steps_done, "seed": self.settings.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`.

        Raises:
            CheckpointError: it belongs to another model or another seed.
        """
        if state["seed"] != self.settings.seed:
            raise CheckpointError(
                f"The checkpoint was made with seed {state['seed']}, this run has seed {self.settings.seed}.",
                "",
                "Resume with the configuration the run was started with.",
            )
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise CheckpointError(
                "The optimiser state in the checkpoint does not fit the student.",
                str(error),
                "Resume with the model and adapter the run was started with.",
            ) from error
        self.steps_done = int(state["steps_done"])
