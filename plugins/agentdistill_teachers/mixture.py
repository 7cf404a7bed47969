"""A mixture of teachers, pi_T = sum_j w_j pi_j: the average of several opinions about every token.

The weights are fixed, or follow the student: w = softmax(-L / temperature), with L_j the smoothed recent loss
against member j, the mean of log pi_old - log pi_j over the student's tokens (an estimate of the reverse KL in nats). A
teacher that the student has come close to then counts more, and one that is far beyond it less. That is a
simplification of MIND (arXiv 2601.03717), whose teaching assistant is a network and whose filter of the loss is not
public.

L_j <- smoothing L_j + (1 - smoothing) (mean of this step), after every optimiser step; it is part of the checkpoint.

What is exact. The log-probability of the sampled token always is: log sum_j w_j exp(log pi_j). Top k, entropy and
largest probability are exact when every member gives hidden states (models of this process): the whole distributions
are mixed. With members that show their top k only (servers), the top k is taken on the union of their lists: a token
that all of them list, and the sampled one, is exact, any other is a lower bound, short by at most
sum_j w_j min(last listed probability, tail mass) over the members that do not list it; the tail 1 - sum is then an
upper bound. The mean of that shortfall is logged (`teacher/short`); ask for a larger k when it is not small. Entropy is
not offered then.

A mixture of distributions is no softmax of one hidden state, also where members share their output layer. Losses over
the full vocabulary are served for vocabularies of up to 4096 tokens, by handing over the distribution itself; beyond
that use `support = "teacher-topk"`, or `route` where one teacher at a time speaks.

Where a member has no opinion on a token (an expert after the first deviation, a server that was down), "drop" leaves
the token out, and "renormalise" takes the others' mixture.

Defaults: equal weights, "drop". For weights by loss: temperature 1 nat, smoothing 0.9. Logged: `teacher/weight/NAME`,
`teacher/part/NAME` (a member's mean part w_j pi_j / pi_T in the score of a token); a token counts for the member with
the largest part in `teacher/share/NAME` and `teacher/gradient/NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import TrainingError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest, TeacherScores, TokenRow, Trajectory
from agentdistill.teachers.base import Teacher
from agentdistill.teachers.scoring import unscored
from agentdistill_teachers.members import SeveralConfig, build_members, named
from agentdistill_teachers.mixing import Float64, Missing, mix_sampled, mix_top
from agentdistill_teachers.recent import RecentLoss, Tally
from agentdistill_teachers.several import Several
from agentdistill_teachers.whole import fill_whole, mix_whole

SMALL = 4096
"""Largest vocabulary whose distributions are handed over whole."""


class MixtureConfig(SeveralConfig):
    """Who is mixed, and how much each counts.

    Attributes:
        weights: by member, in any unit; without any, all that score count the same.
        by: "fixed" weights, or "loss", softmax(-recent loss / temperature) times the fixed ones.
        temperature: nats of loss that make a factor of e.
        smoothing: share of the past in the recent loss.
        missing: "drop" leaves out tokens on which a member has no opinion, "renormalise" mixes the others.
    """

    weights: dict[str, float] = Field(default_factory=dict)
    by: Literal["fixed", "loss"] = "fixed"
    temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    smoothing: float = Field(default=0.9, ge=0.0, lt=1.0)
    missing: Missing = "drop"

    @model_validator(mode="after")
    def _weights_of_members(self) -> Self:
        for name, weight in self.weights.items():
            if name not in self.members or not 0.0 < weight < float("inf"):
                raise ValueError(
                    f"weights.{name} = {weight:g} must be a positive weight of one of {list(self.members)}"
                )
        return self


class MixtureTeacher(Several):
    """The mixture of its scoring members."""

    def __init__(self, config: MixtureConfig, teachers: Mapping[str, Teacher]) -> None:
        """Takes the members; `mixture_teacher` builds them."""
        super().__init__(teachers, config.act)
        self.config = config
        for name in config.weights:
            named(name, self.scorers, f"teacher.weights.{name}")
        unit = 0.0 if config.weights else 1.0
        given = np.array([config.weights.get(name, unit) for name in self.scorers])
        self.scorers = tuple(name for name, weight in zip(self.scorers, given, strict=True) if weight > 0)
        self._given: Float64 = given[given > 0] / given.sum()
        self._recent = RecentLoss(len(self.scorers), config.smoothing)
        self._tally = Tally(self.scorers)
        self._places = np.array([self.members.index(name) for name in self.scorers], dtype=np.int16)
        self._whole = all("hidden" in self.teachers[name].capabilities for name in self.scorers)

    @property
    def weights(self) -> Float64:
        """The weights now, float64, adding up to 1, in the order of `scorers`."""
        return self._given if self.config.by == "fixed" else self._recent.weights(self._given, self.config.temperature)

    @property
    def capabilities(self) -> frozenset[str]:
        """See the module: what is exact, and top k as a bound."""
        if not self._whole:
            return self.shared_capabilities & {"sampled", "top_k", "act"}
        shared = self.shared_capabilities | {"top_k", "entropy", "confidence"}
        return shared if self._vocabulary <= SMALL else shared - {"hidden"}

    @property
    def _vocabulary(self) -> int:
        return min(len(self.teachers[name].output_weight()) for name in self.scorers)

    @property
    def fingerprint(self) -> str:
        """Over the members and their fixed weights."""
        return self.fingerprint_of("mixture", self._given.tolist(), self.config.by, self.config.missing)

    @property
    def cacheable(self) -> bool:
        """Weights that follow the student change the scores of the same tokens."""
        return self.config.by == "fixed" and super().cacheable

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Mixes the members' scores of every row."""
        beyond = request.top_k > 0 or request.entropy or request.confidence or request.hidden
        asked = ScoreRequest(hidden=beyond) if self._whole else replace(request, hidden=False)
        answers = [self.ask(name, trajectories, asked) for name in self.scorers]
        layers = [self.teachers[n].output_weight() for n in self.scorers] if beyond and self._whole else []
        weights = self.weights
        return [
            [
                self._mixed(row, [answer[number][place] for answer in answers], weights, request, layers)
                for place, row in enumerate(trajectory.rows)
            ]
            for number, trajectory in enumerate(trajectories)
        ]

    def _mixed(
        self,
        row: TokenRow,
        scores: Sequence[TeacherScores],
        weights: Float64,
        request: ScoreRequest,
        layers: Sequence[Any],
    ) -> TeacherScores:
        for name, score in zip(self.scorers, scores, strict=True):
            if score.span is not None:
                raise TrainingError(
                    f"The teacher `{name}`, one of several, has opinions on spans of several tokens only.",
                    "It cuts text otherwise than the student, and a mixture is made token by token.",
                    "Let it speak alone for some turns with the teacher `route`.",
                )
        mixed = mix_sampled(scores, weights, "drop" if layers else self.config.missing)
        valid, own = mixed.valid, mixed.valid & row.mask
        source = np.where(valid, self._places[mixed.source], -1).astype(np.int16)
        result = unscored(row, request if layers else ScoreRequest())
        result.sampled_logprob, result.valid, result.source = mixed.logprob.astype(np.float32), valid, source
        self._recent.add(row.old_logprob[own].astype(np.float64), np.stack([s.sampled_logprob[own] for s in scores]))
        self._tally.add(mixed.shares[:, own])
        if layers:
            at = np.flatnonzero(valid)
            states = [s.hidden[torch.from_numpy(at)] for s in scores]
            fill_whole(result, mix_whole(states, layers, weights), at, request)
        elif request.top_k:
            ids, logs, short = mix_top(scores, row.token_ids, mixed, weights, request.top_k)
            result.topk_ids, result.topk_logprobs = ids, logs
            self._tally.short += float(short[own].sum())
        return result

    def output_weight(self) -> Any:
        """The identity: the states of a small vocabulary are its log-probabilities."""
        return torch.eye(self._vocabulary)

    def metrics(self) -> dict[str, float]:
        """Weights, mean parts, recent losses, the shortfall of top k, and the members' own numbers."""
        weights = {f"weight/{name}": float(w) for name, w in zip(self.scorers, self.weights, strict=True)}
        recent = {f"recent_loss/{name}": loss for name, loss in self._recent.state(self.scorers).items()}
        return super().metrics() | weights | recent | self._tally.news(short=not self._whole)

    def after_step(self, step: int) -> None:
        """The step's losses become part of the recent ones."""
        super().after_step(step)
        self._recent.step()

    def state_dict(self) -> dict[str, Any]:
        """The members' states and the recent losses."""
        return super().state_dict() | {"recent": self._recent.state(self.scorers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        super().load_state_dict(state)
        self._recent.restore(state.get("recent", {}), self.scorers)


def mixture_teacher(
    config: MixtureConfig,
    student: LoadedModel | None = None,
    *,
    context: ContextPolicy | None = None,
    renderer: ChatRenderer | None = None,
    registry: PluginRegistry | None = None,
) -> MixtureTeacher:
    """Builds the members and mixes them.

    Raises:
        ConfigError: an option of a member is wrong, or a weight is given to nobody who scores.
        TokenizationError: the token ids of a member are not the student's.
    """
    return MixtureTeacher(config, build_members(config, student, context, renderer, registry))
