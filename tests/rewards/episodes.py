"""Episodes of text for rewards."""

from __future__ import annotations

from collections.abc import Sequence

from agentdistill.records import Actor, EpisodePlan, LossRole, Step, StopReason, Task, Trajectory


def episode(
    rewards: Sequence[float] = (0.0, 0.0, 0.0),
    *,
    stop: StopReason = StopReason.FAILURE,
    score: float = 0.0,
    prefix: int = 0,
    lengths: Sequence[int] | None = None,
    responses: Sequence[str] | None = None,
    key: str = "task",
    goal: str = "put the cup on the shelf",
) -> Trajectory:
    """An episode of one step per reward, the first `prefix` of them replayed."""
    steps = []
    place = 0
    for k, reward in enumerate(rewards):
        length = lengths[k] if lengths else 5
        replayed = k < prefix
        steps.append(
            Step(
                k,
                f"observation {k}",
                responses[k] if responses else f"action: go {k}",
                f"go {k}",
                reward=reward,
                actor=Actor.EXPERT if replayed else Actor.STUDENT,
                loss_role=LossRole.NONE if replayed else LossRole.DISTILL,
                start=place,
                end=place + length,
            )
        )
        place += length
    return Trajectory(
        Task("made", "train", key), EpisodePlan(), steps, [], stop, score=score,
        success=stop is StopReason.SUCCESS, meta={"goal": goal},
    )  # fmt: skip
