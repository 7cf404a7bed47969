"""Episodes made of random tokens, with behaviour log-probabilities that a real model computed the slow way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agentdistill.records import (
    CONTEXT,
    EpisodePlan,
    LossRole,
    Step,
    StopReason,
    Task,
    TeacherScores,
    TokenRow,
    Trajectory,
)


def naive_logprobs(model, token_ids) -> torch.Tensor:
    """[T] log-probability of each token given those before it; position 0 is NaN. One row, full logits."""
    ids = torch.as_tensor(np.asarray(token_ids), dtype=torch.int64)[None]
    logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return torch.cat([torch.full((1,), float("nan")), logp.gather(1, ids[0, 1:, None]).squeeze(1)])


def make_task(key: str = "task") -> Task:
    return Task(env="made", split="train", key=key)


def make_episode(
    model=None,
    turns: Sequence[tuple[int, int]] = ((5, 3), (4, 2)),
    *,
    seed: int = 0,
    vocab: int = 259,
    roles: Sequence[LossRole] | None = None,
    replayed: int = 0,
    one_row: bool = True,
    stop: StopReason = StopReason.SUCCESS,
    key: str = "",
    noise: float = 0.0,
) -> Trajectory:
    """An episode of `turns` (context tokens, response tokens).

    Args:
        model: scores the sampled tokens; None leaves small random log-probabilities.
        turns: lengths; a context of length 0 is an empty observation.
        seed: of the token ids.
        vocab: token ids are below it.
        roles: role of each turn.
        replayed: turns without tokens before the first one.
        one_row: one growing row, or one row per turn repeating everything before it as context.
        stop: stop reason.
        key: task key.
        noise: standard deviation of noise on the behaviour log-probabilities (a stale policy).
    """
    rng = np.random.default_rng(seed)
    roles = list(roles) if roles is not None else [LossRole.DISTILL] * len(turns)
    steps = [Step(index=i, observation="o", response="a", action="a", loss_role=LossRole.NONE) for i in range(replayed)]
    ids: list[int] = []
    owner: list[int] = []
    rows: list[TokenRow] = []
    for number, (context, response) in enumerate(turns):
        index = replayed + number
        ids += rng.integers(3, vocab, context).tolist()
        owner += [CONTEXT] * context
        start = len(ids)
        ids += rng.integers(3, vocab, response).tolist()
        owner += [index] * response
        steps.append(
            Step(
                index=index,
                observation="o",
                response="a",
                action="a",
                loss_role=roles[number],
                row=0 if one_row else number,
                start=start,
                end=len(ids),
            )
        )
        if not one_row:
            own = [index if index == o else CONTEXT for o in owner]
            rows.append(_row(ids, own, roles, replayed))
    if one_row:
        rows.append(_row(ids, owner, roles, replayed))
    for row in rows:
        if model is None:
            row.old_logprob[row.mask] = -rng.random(int(row.mask.sum())).astype(np.float32)
        else:
            with torch.no_grad():
                row.old_logprob[row.mask] = naive_logprobs(model, row.token_ids).numpy()[row.mask]
            row.old_logprob[row.mask] += noise * rng.standard_normal(int(row.mask.sum())).astype(np.float32)
    return Trajectory(make_task(key or f"seed-{seed}"), EpisodePlan(), steps, rows, stop, seed=seed)


def _row(ids, owner, roles, replayed) -> TokenRow:
    owner = np.array(owner, dtype=np.int32)
    sampled = np.array([o >= 0 and roles[o - replayed] is LossRole.DISTILL for o in owner], dtype=bool)
    return TokenRow(np.array(ids, dtype=np.int32), owner, sampled, np.full(len(owner), np.nan, dtype=np.float32))


def random_scores(trajectories: Sequence[Trajectory], seed: int = 0) -> list[list[TeacherScores]]:
    """Teacher log-probabilities drawn at random for the tokens somebody wrote, NaN elsewhere."""
    rng = np.random.default_rng(seed)
    result = []
    for trajectory in trajectories:
        scores = []
        for row in trajectory.rows:
            values = np.where(row.step_of_token >= 0, -2 * rng.random(len(row)), np.nan).astype(np.float32)
            scores.append(TeacherScores(values, np.isfinite(values)))
        result.append(scores)
    return result


def gradients(model) -> torch.Tensor:
    """All gradients of a model, flat; a parameter without one counts as 0."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
