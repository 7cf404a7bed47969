"""A scripted episode in the run's own environment, prompts and template: which tokens would be trained?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import TrainingError
from agentdistill.records import Actor, EpisodePlan, StopReason, TeacherScores, Trajectory
from agentdistill.rollout.play import EpisodeRequest, play

if TYPE_CHECKING:
    from agentdistill.training.assembly import Parts

TURNS = 3


@dataclass
class Script:
    """An engine that says the same in every turn, ended in the first turn and cut short in the next.

    Attributes:
        response: token ids of the text.
        terminator: what ends it.
        context_length: see `Engine`.
        said: by session, the tokens of each turn.
    """

    response: list[int]
    terminator: int
    context_length: int
    said: dict[str, list[list[int]]] = field(default_factory=dict)

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """See `Engine`."""
        return [self._one(request, sampling) for request in requests]

    def _one(self, request: GenerationRequest, sampling: Sampling) -> Generation:
        turns = self.said.setdefault(request.session, [])
        room = min(sampling.max_new_tokens, self.context_length - len(request.prompt))
        if room < 1:
            return Generation([], [], "context")
        whole = [*self.response, self.terminator]
        ids = (whole if len(turns) % 2 == 0 else self.response)[:room]
        turns.append(ids)
        return Generation(ids, [-0.001 * (i + 1) for i in range(len(ids))], "stop" if ids == whole else "length")

    def release(self, sessions: Iterable[str]) -> None:
        """See `Engine`."""

    def sync(self, policy_version: int) -> None:
        """See `Engine`."""


def check_mask(parts: Parts) -> str:
    """See `SelfTest.mask`.

    Raises:
        TrainingError: a token is trained that was not sampled, or the other way round.
    """
    action = _action(parts)
    first, said = _play(parts, action, EpisodePlan(horizon=TURNS))
    _compare(first, said)
    trained, total, episodes = _trained(first), _tokens(first), 1
    opening = next((s.action for s in first.steps[:1] if s.valid and s.action), "")
    if opening:
        second, said = _play(parts, action, EpisodePlan(prefix=(opening,), horizon=TURNS - 1))
        if second.stop is not StopReason.ABORTED:
            _compare(second, said)
            trained, total, episodes = trained + _trained(second), total + _tokens(second), 2
    told = "one after a replayed action" if episodes == 2 else "no replay"
    return f"{trained} of {total} tokens trained in {episodes} scripted episodes ({told}): those that were sampled"


def _action(parts: Parts) -> str:
    env = parts.source.make()
    try:
        task = parts.tasks[0]
        _, info = env.reset(seed=task.seed, options={"task": task})
        offered = list(info.get("admissible_actions") or ())
        return str(offered[0]) if offered else "look"
    finally:
        env.close()


def _play(parts: Parts, action: str, plan: EpisodePlan) -> tuple[Trajectory, list[list[int]]]:
    ids = list(parts.renderer.response(parts.context.render_action(action)))
    engine = Script(ids[:-1], ids[-1], parts.engine.context_length)
    settings = replace(parts.settings, want_expert=False, want_entropy=False, want_top_ids=0, constrained=False)
    (trajectory,) = play(
        [EpisodeRequest(task=parts.tasks[0], plan=plan)],
        source=parts.source,
        engine=engine,
        renderer=parts.renderer,
        context=parts.context,
        settings=settings,
    )
    return trajectory, next(iter(engine.said.values()), [])


def _compare(trajectory: Trajectory, said: list[list[int]]) -> None:
    """The rows, and what the learner makes of them, hold what was said and nothing else."""
    if trajectory.stop is StopReason.ABORTED:
        raise TrainingError(
            "The self-test failed: a scripted episode was aborted by its environment.",
            str(trajectory.meta.get("error", "")),
            "Try the environment alone with `agentdistill envs check`.",
        )
    own = [step for step in trajectory.steps if step.actor is Actor.STUDENT]
    found = []
    for step in own:
        row = trajectory.rows[step.row]
        at = np.flatnonzero(row.mask & (row.step_of_token == step.index))
        found.append(row.token_ids[at].tolist())
        if np.isnan(row.old_logprob[at]).any():
            raise _wrong(trajectory, f"turn {step.index} has tokens without the log-probability they were sampled with")
    if found != said[: len(found)] or len(found) != len(said):
        place = next((i for i, (a, b) in enumerate(zip(found, said, strict=False)) if a != b), len(found))
        mine = found[place] if place < len(found) else []
        raise _wrong(trajectory, f"in turn {place} the tokens {said[place]} were sampled and {mine} would be trained")
    if _trained(trajectory) != sum(map(len, said)):
        raise _wrong(trajectory, f"{sum(map(len, said))} tokens were sampled and {_trained(trajectory)} marked so")
    _compare_with_learner(trajectory)


def _compare_with_learner(trajectory: Trajectory) -> None:
    from agentdistill.learner.batch import assemble

    scores = [TeacherScores(np.full(len(r), -1.0, np.float32), np.ones(len(r), bool)) for r in trajectory.rows]
    if not _trained(trajectory):
        return
    batch = assemble([trajectory], [scores])
    number = {(ref.trajectory, ref.row): place for place, ref in enumerate(batch.rows)}
    wanted = {
        (number[0, row], int(at))
        for row, r in enumerate(trajectory.rows)
        for at in np.flatnonzero(r.mask)
        if r.mask.any()
    }
    got = set(zip(batch.distill.row.tolist(), batch.distill.position.tolist(), strict=True))
    if got != wanted:
        raise _wrong(trajectory, f"the learner trains {len(got - wanted)} tokens more and {len(wanted - got)} less")


def _wrong(trajectory: Trajectory, why: str) -> TrainingError:
    return TrainingError(
        f"The self-test failed: a scripted episode of `{trajectory.task.key}` does not give the mask it must.",
        f"{why[0].upper()}{why[1:]}.",
        "Only what the student sampled may be trained; this is a fault of the context policy, the chat template or "
        "the rollout, not of the settings.",
    )


def _trained(trajectory: Trajectory) -> int:
    return int(sum(row.mask.sum() for row in trajectory.rows))


def _tokens(trajectory: Trajectory) -> int:
    return sum(len(row) for row in trajectory.rows)
