"""Scores token rows with a model in this process: one forward pass per row, whatever the number of turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agentdistill.errors import TrainingError
from agentdistill.learner.heads import SplitModel
from agentdistill.learner.micro import pad_rows, plan_passes
from agentdistill.records import CONTEXT, ScoreRequest, TeacherScores, TokenRow

Positions = Literal["written", "all"]


@dataclass(frozen=True, slots=True, eq=False)
class SparseStates:
    """Hidden states of the scored positions of a row, indexed like a [T, D] tensor that is NaN elsewhere.

    Most tokens of an episode are context, whose states nobody asks for; a dense tensor would be mostly NaN.

    Attributes:
        length: tokens of the row, T.
        positions: int64 [n], increasing.
        states: [n, D].
    """

    length: int
    positions: Tensor
    states: Tensor

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | Tensor | npt.NDArray[np.int64]) -> Tensor:
        """The states at a position [D], or at positions [n, D]."""
        wanted = torch.as_tensor(index)
        if bool(((wanted < 0) | (wanted >= self.length)).any()):
            raise IndexError(f"position outside a row of {self.length} tokens")
        place = torch.searchsorted(self.positions, wanted).clamp(max=max(len(self.positions) - 1, 0))
        if not len(self.positions):
            return self.states.new_full((*wanted.shape, self.states.shape[-1]), float("nan"))
        found = self.positions[place] == wanted
        return torch.where(found[..., None], self.states[place], float("nan"))


def score_rows(
    parts: SplitModel,
    rows: Sequence[TokenRow],
    request: ScoreRequest,
    *,
    batch_tokens: int = 16384,
    chunk: int = 64,
    positions: Positions = "written",
) -> list[TeacherScores]:
    """Scores rows at temperature 1, without gradient.

    Args:
        parts: the model.
        rows: what to score.
        request: what is wanted. Entropy comes with the top k as well.
        batch_tokens: most tokens of a forward pass, padding included; a longer row goes alone.
        chunk: tokens whose logits exist at one time.
        positions: "written" scores the tokens somebody in the episode wrote, "all" every token after the first.
            The others are NaN and invalid.

    Returns:
        One `TeacherScores` per row, in order.

    Raises:
        TrainingError: a row does not fit the model's context or uses ids the model does not have.
    """
    wanted = [scored_positions(row, positions) for row in rows]
    _check(parts, rows)
    lengths = [int(w[-1]) if len(w) else 0 for w in wanted]
    busy = [i for i, length in enumerate(lengths) if length]
    results = [unscored(row, request, parts.weight.shape[1]) for row in rows]
    training = parts.model.training
    parts.model.eval()
    try:
        with torch.no_grad():
            inputs = [torch.from_numpy(rows[i].token_ids[: lengths[i]].astype("int64")) for i in busy]
            for group in plan_passes(inputs, batch_tokens, parts.packing):
                indices = [busy[g] for g in group]
                hidden = parts.hidden(pad_rows([inputs[g] for g in group]))
                for line, i in enumerate(indices):
                    states = hidden[line, torch.from_numpy(wanted[i] - 1).to(hidden.device)]
                    _fill(results[i], parts, rows[i], wanted[i], states, request, chunk)
    finally:
        parts.model.train(training)
    return results


def scored_positions(row: TokenRow, positions: Positions) -> npt.NDArray[np.int64]:
    """Positions of a row that `score_rows` scores, int64 [n], increasing."""
    chosen = np.ones(len(row), dtype=bool) if positions == "all" else row.step_of_token != CONTEXT
    chosen[:1] = False
    return np.flatnonzero(chosen)


def _check(parts: SplitModel, rows: Sequence[TokenRow]) -> None:
    config = getattr(parts.model, "config", None)
    limit = getattr(config, "max_position_embeddings", None)
    vocabulary = len(parts.weight)
    for row in rows:
        if limit is not None and len(row) > limit:
            raise TrainingError(
                f"A row of {len(row)} tokens does not fit the scoring model's context of {limit}.",
                "A truncated row would be scored in another context than the one it was written in.",
                "Use a teacher with a longer context, or a context policy with shorter prompts.",
            )
        if len(row) and int(row.token_ids.max()) >= vocabulary:
            raise TrainingError(
                f"A row contains the token id {int(row.token_ids.max())}, the scoring model has {vocabulary} ids.",
                "Teacher and student do not share a vocabulary.",
                "Use a teacher with the student's tokenizer.",
            )


def unscored(row: TokenRow, request: ScoreRequest, width: int = 1) -> TeacherScores:
    """The scores of a row that nobody has an opinion on: NaN and invalid, with room for everything that was asked for.

    Args:
        row: the row.
        request: what was asked; a top k brings the entropy along.
        width: of hidden states.
    """
    length, k = len(row), request.top_k

    def missing(*shape: int) -> npt.NDArray[np.float32]:
        return np.full(shape, np.nan, dtype=np.float32)

    states = SparseStates(length, torch.zeros(0, dtype=torch.int64), torch.zeros(0, width))
    return TeacherScores(
        sampled_logprob=missing(length),
        valid=np.zeros(length, dtype=np.bool_),
        hidden=states if request.hidden else None,
        topk_ids=np.full((length, k), -1, dtype=np.int32) if k else None,
        topk_logprobs=missing(length, k) if k else None,
        entropy=missing(length) if k or request.entropy else None,
        confidence=missing(length) if request.confidence else None,
    )


def _fill(
    scores: TeacherScores,
    parts: SplitModel,
    row: TokenRow,
    at: npt.NDArray[np.int64],
    states: Tensor,
    request: ScoreRequest,
    chunk: int,
) -> None:
    """Writes the scores of the positions `at`, predicted by `states` [n, D]."""
    if request.hidden:
        scores.hidden = SparseStates(len(row), torch.from_numpy(at), states.cpu())
    for start in range(0, len(at), chunk):
        where = at[start : start + chunk]
        part = states[start : start + chunk].to(parts.weight.dtype)
        logprobs = torch.nn.functional.linear(part, parts.weight, parts.bias).float()
        logprobs.sub_(torch.logsumexp(logprobs, dim=-1, keepdim=True))
        targets = torch.from_numpy(row.token_ids[where].astype("int64")).to(logprobs.device)
        scores.sampled_logprob[where] = logprobs.gather(1, targets[:, None]).squeeze(1).cpu().numpy()
        write_distribution(scores, where, logprobs)
    scores.valid[at] = np.isfinite(scores.sampled_logprob[at])


def write_distribution(scores: TeacherScores, at: npt.NDArray[np.int64], logprobs: Tensor) -> None:
    """Writes what whole distributions tell, as far as `scores` has room for it: top k, confidence, entropy.

    Args:
        scores: to be filled.
        at: int64 [n], the positions.
        logprobs: [n, V].
    """
    if scores.topk_ids is not None and scores.topk_logprobs is not None:
        best = logprobs.topk(scores.topk_ids.shape[1], dim=-1)
        scores.topk_ids[at] = best.indices.int().cpu().numpy()
        scores.topk_logprobs[at] = best.values.cpu().numpy()
    if scores.confidence is not None:
        scores.confidence[at] = logprobs.max(-1).values.exp().cpu().numpy()
    if scores.entropy is not None:
        scores.entropy[at] = -torch.linalg.vecdot(logprobs.exp(), logprobs).cpu().numpy()
