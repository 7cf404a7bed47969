"""A batch told twice: as the learner gets it, and as plain records with whole distributions, one per trained token.

The second telling owes nothing to the learner or its plugins: formulas written over it in loops, in float64 and with
automatic differentiation through the whole model, say what the learner's gradient has to be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from made_episodes import gradients, make_episode
from tiny import tiny_model
from torch import Tensor

from agentdistill.learner.facts import BatchExtras, task_groups
from agentdistill.learner.learner import Learner
from agentdistill.learner.settings import LearnerSettings
from agentdistill.plugins import PluginRegistry
from agentdistill.records import StopReason, TeacherScores
from agentdistill.training.rewarded import RewardedBatch

VOCABULARY = 24
TURNS = [(4, 3), (2, 5), (3, 1), (2, 4)]
SIZES = (3, 2, 4, 1, 2, 3)
WON = (True, False, True, False, False, True)
PER_TASK = 3
CUT = 3
"""An episode that the curriculum ended."""


@dataclass
class Token:
    """One trained token, float64.

    Attributes:
        episode: which episode.
        turn: which of its turns.
        token_id: its id.
        student: log-probabilities [V] under the student, differentiable.
        teacher: log-probabilities [V] under the teacher.
        now: log-probability of the token under the student, differentiable.
        old: under the policy that sampled it.
        theirs: under the teacher.
        first: under the student as the run began.
        old_entropy: of the policy that sampled it.
        teacher_entropy: the teacher's.
        confidence: the teacher's largest probability.
        overlap: share of the student's four favourites that are among the teacher's.
        advantage: the rewards', of its turn.
    """

    episode: int
    turn: int
    token_id: int
    student: Tensor
    teacher: Tensor
    now: Tensor
    old: float
    theirs: float
    first: float
    old_entropy: float
    teacher_entropy: float
    confidence: float
    overlap: float
    advantage: float

    @property
    def gap(self) -> float:
        """log pi_T - log pi_old."""
        return self.theirs - self.old

    @property
    def won(self) -> bool:
        """Whether its episode was."""
        return WON[self.episode]

    @property
    def cut(self) -> bool:
        """Whether the curriculum ended its episode."""
        return self.episode == CUT

    @property
    def task(self) -> int:
        """The task of its episode."""
        return self.episode // PER_TASK


class Batch:
    """Two tasks of three episodes, played by a policy that was a little different, with all that anybody asks for."""

    def __init__(self) -> None:
        self.registry = PluginRegistry.load(third_party=False)
        self.model = tiny_model(0, layers=1, hidden=32, vocab=VOCABULARY).double()
        self.teacher = tiny_model(1, layers=1, hidden=32, vocab=VOCABULARY).double()
        self.output = self.teacher.lm_head.weight.detach()
        rng = np.random.default_rng(3)
        self.episodes = []
        for number, size in enumerate(SIZES):
            key = f"task {number // PER_TASK}"
            episode = make_episode(self.model, TURNS[:size], seed=number, vocab=VOCABULARY, key=key, noise=0.4)
            episode.success = WON[number]
            if number == CUT:
                episode.stop = StopReason.HORIZON
            for step in episode.steps:
                step.observation = f"room {step.index * (number + 1) % 3}"
                step.info["annotations"] = {"judge": float(rng.integers(0, 3)) / 2}
            for row in episode.rows:
                own = row.mask[:, None]
                favourites = rng.permuted(np.tile(np.arange(8), (len(row), 1)), axis=1)[:, :4]
                row.old_entropy = np.where(row.mask, rng.random(len(row)) * 2, np.nan).astype(np.float32)
                row.old_top_ids = np.where(own, favourites, -1).astype(np.int32)
            self.episodes.append(episode)
        self.rewards = [0.5 * (rng.random(len(e.steps)) < 0.4).astype(np.float32) for e in self.episodes]
        for episode, reward in zip(self.episodes, self.rewards, strict=True):
            reward[-1] += episode.success
        self.reference = [
            [(r.old_logprob - 0.3 * np.abs(rng.standard_normal(len(r)))).astype(np.float32) for r in e.rows]
            for e in self.episodes
        ]
        self.scores = [[self._score(episode.rows[0].token_ids)] for episode in self.episodes]

    def _score(self, ids: np.ndarray) -> TeacherScores:
        with torch.no_grad():
            hidden = self.teacher.model(input_ids=torch.from_numpy(ids.astype("int64"))[None]).last_hidden_state[0]
            hidden = torch.cat([torch.zeros_like(hidden[:1]), hidden[:-1]]).float()
            known = (hidden.double() @ self.output.T).log_softmax(-1)
            known[0] = torch.nan
        top = known.sort(dim=-1, descending=True)
        sampled = known.gather(1, torch.from_numpy(ids.astype("int64"))[:, None])[:, 0].float().numpy()
        return TeacherScores(
            sampled,
            np.isfinite(sampled),
            topk_ids=top.indices.int().numpy(),
            topk_logprobs=top.values.float().numpy(),
            entropy=-(known.exp() * known).sum(-1).float().numpy(),
            confidence=known.exp().amax(-1).float().numpy(),
            hidden=hidden.numpy(),
        )

    @cached_property
    def rewarded(self) -> RewardedBatch:
        """The batch as an advantage sees it."""
        return RewardedBatch(self.episodes, self.rewards, task_groups(self.episodes))

    def advantages(self, **section: Any) -> Sequence[np.ndarray]:
        """What a registered advantage makes of the rewards."""
        return self.registry.function("advantage", section)(self.rewarded)

    def tokens(self, advantages: Sequence[np.ndarray] | None = None) -> list[Token]:
        """The second telling."""
        told = []
        for number, (episode, scores) in enumerate(zip(self.episodes, self.scores, strict=True)):
            row, score = episode.rows[0], scores[0]
            own = self.model(input_ids=torch.from_numpy(row.token_ids.astype("int64"))[None]).logits[0].log_softmax(-1)
            whole = (torch.from_numpy(score.hidden).double() @ self.output.T).log_softmax(-1)
            for t in np.flatnonzero(row.mask).tolist():
                turn, token = int(row.step_of_token[t]), int(row.token_ids[t])
                shared = set(row.old_top_ids[t].tolist()) & set(score.topk_ids[t, :4].tolist())
                told.append(
                    Token(
                        number,
                        turn,
                        token,
                        own[t - 1],
                        whole[t],
                        own[t - 1, token],
                        float(row.old_logprob[t]),
                        float(score.sampled_logprob[t]),
                        float(self.reference[number][0][t]),
                        float(row.old_entropy[t]),
                        float(score.entropy[t]),
                        float(score.confidence[t]),
                        len(shared) / 4,
                        float("nan") if advantages is None else float(advantages[number][turn]),
                    )
                )
        return told

    def learned(
        self,
        loss: dict[str, Any],
        advantages: Sequence[np.ndarray] | None = None,
        step: int = 3,
        steps: int = 10,
        optim: dict[str, Any] | None = None,
        **sections: Any,
    ) -> tuple[float, Tensor]:
        """What the learner makes of it: its loss and gradient."""
        made: dict[str, Any] = {
            kind: self.registry.build(kind, sections[kind]) for kind in ("fusion", "surrogate") if kind in sections
        }
        for kind in ("step_weight", "token_weight"):
            made[kind] = [self.registry.function(kind.replace("_", "-"), s) for s in sections.get(kind, ())]
        chosen = self.registry.build("loss", loss)
        k, scores = chosen.request.top_k, self.scores
        if k:
            scores = [
                [dataclasses.replace(s, topk_ids=s.topk_ids[:, :k], topk_logprobs=s.topk_logprobs[:, :k]) for s in row]
                for row in scores
            ]
        settings = LearnerSettings(grad_clip=0.0, steps=steps, batch_tokens=40, head_chunk=3, **(optim or {}))
        weight = self.output if chosen.request.hidden else None
        learner = Learner(self.model, loss=chosen, settings=settings, teacher_weight=weight, **made)
        learner.steps_done = step
        metrics = learner.accumulate(self.episodes, scores, BatchExtras(self.rewards, advantages, self.reference))
        return metrics["loss"], self._taken()

    def expected(self, total: Tensor) -> tuple[float, Tensor]:
        """What a formula over `tokens` makes of it."""
        self.model.zero_grad(set_to_none=True)
        total.backward()
        return float(total.detach()), self._taken()

    def _taken(self) -> Tensor:
        flat = gradients(self.model).clone()
        self.model.zero_grad(set_to_none=True)
        return flat
