"""One optimiser step from played and scored episodes. It is blind to the method: plugins give it numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentdistill.errors import CheckpointError, ConfigError, TrainingError
from agentdistill.hashing import digest
from agentdistill.learner.batch import LearnerBatch, assemble
from agentdistill.learner.dump import non_finite
from agentdistill.learner.facts import BatchExtras
from agentdistill.learner.fusion import Fusion, Scales
from agentdistill.learner.heads import enable_checkpointing, split_model
from agentdistill.learner.imitation import Imitation, imitation_factors
from agentdistill.learner.kernels import SampledLogprobs, fused_head
from agentdistill.learner.losses import (
    Loss,
    Objective,
    ScheduledLoss,
    TeacherHead,
    TeacherTop,
    TeacherView,
    objective_at,
)
from agentdistill.learner.metrics import batch_metrics, loss_metrics
from agentdistill.learner.micro import MicroBatch, Picked, micro_batches, padding_share, teacher_states
from agentdistill.learner.optim import clip_gradients, learning_rate, make_optimizer
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.reduce import reduction_coefficients
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import step_statistics
from agentdistill.learner.surrogates import Surrogate
from agentdistill.learner.terms import Term, make_terms
from agentdistill.learner.updates import joined, updates
from agentdistill.learner.vocabularies import check_one_vocabulary
from agentdistill.learner.weights import StepWeight, TokenWeight, branch_weights, functions
from agentdistill.records import TeacherScores, Trajectory


class Learner:
    """Trains a student.

    The loss of a step is

        sum_t c_t * W_step * W_tok * loss_t  (distilled tokens)  +  imitation * sum_t c_t * (-log pi(t))  (imitated)

    where each branch's coefficients c_t sum to 1 under the declared reduction. With rewards, loss_t also has what they
    say, by its own weights and scale (`agentdistill.learner.terms`). Weights do not act on imitated tokens.
    """

    def __init__(
        self,
        model: Any,
        *,
        loss: Loss | ScheduledLoss | None,
        step_weight: StepWeight | Sequence[StepWeight] | None = None,
        token_weight: TokenWeight | Sequence[TokenWeight] | None = None,
        fusion: Fusion | None = None,
        surrogate: Surrogate | None = None,
        imitation: Imitation | None = None,
        settings: LearnerSettings | None = None,
        teacher_weight: Tensor | None = None,
        teacher_ids: Any = None,
        roles: bool = False,
        members: Sequence[str] = (),
    ) -> None:
        """Makes a learner.

        Args:
            model: the student, a `LoadedModel` or a `transformers` causal language model (peft-wrapped or not).
            loss: the distillation loss; None trains imitated turns, and with rewards the student's own.
            step_weight: `StepStatistics` -> [trajectories, steps]; several are multiplied; None is 1.
            token_weight: `TokenStatistics` -> [N]; likewise.
            fusion: how much teacher and rewards count; None is both fully.
            surrogate: what advantages become; None is what the loss says, or the clipped ratio.
            imitation: what the cross-entropy of each imitated token counts; None is 1.
            settings: how to optimise.
            teacher_weight: `Teacher.output_weight()`, for losses over the full vocabulary.
            teacher_ids: int64 [V], the student's id for each of the teacher's, -1 for none, where the teacher has a
                vocabulary of its own (`agentdistill.teachers.optional.student_ids`); None is one vocabulary.
            roles: tell weights what each token is in its response.
            members: names of several teachers, as `TeacherScores.source` counts them, to report what each contributes.

        Raises:
            ConfigError: the loss needs an output layer and there is none, or does not work across vocabularies.
            TrainingError: the model cannot be taken apart, or nothing in it is trainable.
        """
        self.settings = settings or LearnerSettings()
        self.parts = split_model(model)
        self.loss, self.fusion, self.surrogate, self.imitation = loss, fusion, surrogate, imitation
        self.step_weights, self.token_weights = functions(step_weight), functions(token_weight)
        self.teacher_weight = teacher_weight
        self.teacher_ids = None if teacher_ids is None else torch.as_tensor(teacher_ids, dtype=torch.int64)
        self.tokenizer = getattr(model, "tokenizer", None) if roles else None
        self.members = tuple(members)
        self.steps_done = 0
        objective = self.objective
        if objective is not None and objective.needs_hidden and teacher_weight is None:
            raise ConfigError(
                "The loss compares full distributions, and the teacher offers no output layer.",
                'It needs a teacher with the capability "hidden".',
                'Use a local teacher, or set `loss.support = "sampled"`.',
            )
        apart = teacher_ids is not None and objective is not None and objective.needs_hidden
        if apart and not getattr(objective, "across", False):
            raise ConfigError(
                "The loss compares distributions token by token, and the teacher has a vocabulary of its own.",
                "Its tokenizer is not the student's, so that one id means two tokens.",
                'Choose a loss that works across vocabularies, or set `loss.support = "sampled"`.',
            )
        # Models of one family pad the same vocabulary to different sizes; the ids beyond the shorter are padding.
        self.vocabulary = len(self.parts.weight)
        if objective is not None and objective.needs_hidden and teacher_weight is not None:
            if self.teacher_ids is None:
                self.vocabulary = min(self.vocabulary, len(teacher_weight))
            self.set_teacher_weight(teacher_weight)
        if self.settings.gradient_checkpointing:
            enable_checkpointing(self.parts.model)
        self.optimizer = make_optimizer(self.parts.model, self.settings)

    def set_teacher_weight(self, weight: Tensor) -> None:
        """Takes the output layer [V, D] of a teacher whose weights have moved."""
        self.teacher_weight = weight if self.teacher_ids is not None else weight[: self.vocabulary]

    @property
    def progress(self) -> LearnerProgress:
        """Where the run stands."""
        return LearnerProgress(self.steps_done, self.settings.steps)

    @property
    def objective(self) -> Objective | None:
        """The loss's objective in the next batch."""
        return None if self.loss is None else objective_at(self.loss, self.progress)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(
        self,
        trajectories: Sequence[Trajectory],
        scores: Sequence[Sequence[TeacherScores]] | None = None,
        extras: BatchExtras | None = None,
    ) -> dict[str, float]:
        """Makes one step: an optimiser update, or `epochs` x `minibatches` of them at one learning rate.

        Args:
            trajectories: the batch; aborted episodes are left out and counted.
            scores: the teacher's, one per row per trajectory; None when there is only imitation, or only rewards.
            extras: rewards, advantages, reference log-probabilities, as far as the run has them.

        Returns:
            Metrics; see `agentdistill.learner.metrics` for the curves over the turn index.

        Raises:
            TrainingError: nothing to train on, a broken record, or a loss or gradient that is not finite (the batch
                is then dumped to a file and the update that it was for is not made).
            PluginError: a weight function returned something unusable.
        """
        lr = learning_rate(self.settings, self.steps_done)
        parts = updates(trajectories, scores, extras, self.settings, self.steps_done)
        seen = []
        for number, part in enumerate(parts):
            seen.append(self.accumulate(*part, update=number))
            self.optimizer.set_learning_rate(lr)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        metrics = joined(seen, self.settings.epochs)
        return metrics | {"optim/lr": lr, "optim/step": float(self.steps_done)}

    def skip(self) -> dict[str, float]:
        """Counts a step whose batch had nothing to train on; schedules go on, weights stay."""
        self.steps_done += 1
        return {"batch/empty": 1.0, "optim/step": float(self.steps_done)}

    def accumulate(
        self,
        trajectories: Sequence[Trajectory],
        scores: Sequence[Sequence[TeacherScores]] | None = None,
        extras: BatchExtras | None = None,
        update: int = 0,
    ) -> dict[str, float]:
        """Computes the clipped gradient of a step's `update`-th update without taking it; see `step`."""
        settings, objective = self.settings, self.objective
        rewarded = extras is not None and extras.advantages is not None
        batch = assemble(
            trajectories,
            scores,
            distill=objective is not None or rewarded,
            hidden=objective is not None and objective.needs_hidden,
            top_k=bool(getattr(objective, "needs_top", False)),
            extras=extras,
            tokenizer=self.tokenizer,
        )
        if objective is not None and objective.needs_hidden and self.teacher_ids is None:
            check_one_vocabulary(scores or ())
        if not batch.rows:
            raise TrainingError(
                f"There is nothing to train on in the batch of step {self.steps_done}.",
                f"{len(trajectories)} episodes, of which {batch.counts['episodes/aborted']} aborted; "
                f"{batch.counts['tokens/dead']} sampled tokens without a teacher score.",
                "Check that the environment runs and that the teacher scores what the student writes.",
            )
        if batch.counts["rows/dead"] > settings.max_dead_rows * batch.counts["rows/asked"]:
            raise TrainingError(
                f"The teacher has no score for {batch.counts['rows/dead']} of the {batch.counts['rows/asked']} rows of "
                f"step {self.steps_done}.",
                f"Up to a share of {settings.max_dead_rows:g} they are left out and counted; more is not the run that "
                "was asked for.",
                "Look for time-outs or a shorter context of the teacher, or raise `optim.max_dead_rows`; --resume "
                "goes on from the last checkpoint.",
            )
        tokens = batch.tokens
        steps = step_statistics(tokens, len(batch.trajectories), batch.facts)
        base = reduction_coefficients(tokens.trajectory, tokens.turn, settings.reduction, settings.alpha)
        step_weights, weights = branch_weights(
            self.step_weights,
            self.token_weights,
            self.fusion,
            steps,
            tokens,
            base,
            settings.weight_norm,
            self.progress,
            taught=objective is not None,
        )
        scales = Scales() if self.fusion is None else self.fusion.scales(self.progress)
        passes = micro_batches(batch, settings.batch_tokens, self.parts.packing)
        surrogate = self.surrogate or getattr(objective, "surrogate", None)
        current = self._logprobs(batch, passes) if update and getattr(surrogate, "looks_ahead", False) else None
        terms = make_terms(tokens, objective, batch.rewarded, base, weights, scales, self.surrogate, current)
        copied = settings.imitation * reduction_coefficients(
            batch.imitate.trajectory, batch.imitate.turn, settings.reduction, settings.alpha
        )
        metrics = batch_metrics(batch, steps, step_weights, weights, base)
        if self.fusion is not None:
            metrics |= {"fusion/kd": scales.kd, "fusion/rl": scales.rl}
        if len(batch.distill) and int(batch.distill.token_id.max()) >= self.vocabulary:
            raise TrainingError(
                f"The batch has the token id {int(batch.distill.token_id.max())}, but student and teacher share "
                f"{self.vocabulary} ids only.",
                "Their tokenizers differ, or the student samples ids that no token has.",
                "Use a pair that shares a tokenizer.",
            )
        if self.imitation is not None and len(batch.imitate):
            copied = copied * imitation_factors(self.imitation, batch, passes, self.parts, settings.head_chunk)
        values = {name: torch.zeros(len(batch.distill)) for name in ("logprob", "clipped", *(t.name for t in terms))}
        values["imitate"] = torch.zeros(len(batch.imitate))
        if batch.source is not None:
            values["gradient"] = torch.zeros(len(batch.distill))
        model, device = self.parts.model, self.parts.device
        self.optimizer.zero_grad(set_to_none=True)
        model.train()
        try:
            # Dropout depends on the seed and the step only, so a resumed run draws the same masks.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                draw = ["dropout", settings.seed, self.steps_done] + ([update] if update else [])
                torch.manual_seed(int(digest(draw)[:15], 16))
                total = sum(self._backward(batch, p, terms, copied, values) for p in passes)
        finally:
            model.eval()
        coefficients = {**{term.name: term.coefficients for term in terms}, "imitate": copied}
        branches = {name: values[name] * coefficient for name, coefficient in coefficients.items()}
        if not np.isfinite(total):
            self.optimizer.zero_grad(set_to_none=True)
            raise non_finite(batch, self.steps_done, settings.dump_directory, branches)
        norm = clip_gradients(self.parameters, settings.grad_clip)
        if not np.isfinite(norm):
            self.optimizer.zero_grad(set_to_none=True)
            raise non_finite(batch, self.steps_done, settings.dump_directory, branches, norm)
        metrics |= {"loss": total, "optim/grad_norm": norm, "batch/passes": float(len(passes))}
        metrics["batch/padding"] = 0.0 if self.parts.packs else padding_share(passes)
        return metrics | loss_metrics(batch, terms, objective, coefficients, values, self.members)

    def _backward(
        self, batch: LearnerBatch, micro: MicroBatch, terms: Sequence[Term], copied: Tensor, values: dict[str, Tensor]
    ) -> float:
        """Forward and backward of one pass; fills the per-token values and returns its part of the loss."""
        settings, parts = self.settings, self.parts
        autocast = torch.autocast(parts.device.type, dtype=torch.bfloat16) if settings.bf16 else nullcontext()
        with autocast:
            hidden = parts.hidden(micro.input_ids)
        sums: list[Tensor] = []

        def head(picked: Picked, loss: Any, coefficients: Tensor, vocabulary: int) -> Tensor:
            states = hidden[picked.line.to(parts.device), picked.source.to(parts.device)]
            weight, bias = parts.layer(vocabulary)
            c = coefficients[picked.index].to(parts.device)
            total, token_values = fused_head(states, weight, bias, loss, c, chunk=settings.head_chunk)
            sums.append(total)
            return token_values.float().cpu()

        if len(picked := micro.distill):
            some = batch.tokens.select(picked.index, parts.device)
            for term in terms:
                loss = term.make(picked.index, some, self._teacher(batch, picked) if term.needs_teacher else None)
                values[term.name][picked.index] = head(picked, loss, term.coefficients, self.vocabulary)
                values["logprob"][picked.index] = loss.logprobs.cpu()
                if loss.clipped is not None:
                    values["clipped"][picked.index] = loss.clipped.float().cpu()
        if len(picked := micro.imitate):
            copy = SampledLogprobs(batch.imitate.token_id[picked.index].to(parts.device))
            values["imitate"][picked.index] = head(picked, copy, copied, len(parts.weight))
        if not sums:
            return 0.0
        total = torch.stack(sums).sum()
        if bool(torch.isfinite(total)):
            if "gradient" in values:
                hidden.retain_grad()
            total.backward()
            if "gradient" in values and hidden.grad is not None:
                picked = micro.distill
                at = hidden.grad[picked.line.to(parts.device), picked.source.to(parts.device)]
                values["gradient"][picked.index] = at.float().norm(dim=-1).cpu()
        return float(total.detach())

    def _logprobs(self, batch: LearnerBatch, passes: Sequence[MicroBatch]) -> Tensor:
        """What the student says of the distilled tokens as it is now, float32 [N], for surrogates that look ahead."""
        parts, found = self.parts, torch.full((len(batch.distill),), float("nan"))
        rows = [micro for micro in passes if len(micro.distill)]
        with torch.no_grad():
            for micro in rows:
                picked, hidden = micro.distill, parts.hidden(micro.input_ids)
                states = hidden[picked.line.to(parts.device), picked.source.to(parts.device)]
                weight, bias = parts.layer(self.vocabulary)
                copy = SampledLogprobs(batch.distill.token_id[picked.index].to(parts.device))
                ones = torch.ones(len(picked), device=parts.device)
                _, values = fused_head(states, weight, bias, copy, ones, chunk=self.settings.head_chunk)
                found[picked.index] = -values.cpu()
        return found

    def _teacher(self, batch: LearnerBatch, picked: Picked) -> TeacherView:
        device = self.parts.device
        if batch.top_ids is not None and batch.top_logprobs is not None:
            return TeacherTop(batch.top_ids[picked.index].to(device), batch.top_logprobs[picked.index].to(device))
        assert self.teacher_weight is not None  # checked at construction
        ids = None if self.teacher_ids is None else self.teacher_ids.to(device)
        return TeacherHead(teacher_states(batch, picked).to(device), self.teacher_weight.to(device), ids)

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
