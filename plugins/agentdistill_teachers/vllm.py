"""A teacher behind a server: vLLM, or any OpenAI-compatible server whose completions give `prompt_logprobs`.

Every token row is one request, scored once over its whole length, whatever its number of turns: the prompt is the
row's token ids, one token is generated and thrown away, and the answer is read by token id. (`prompt_logprobs` bypass
a server's prefix cache, so that asking turn by turn would compute the whole episode again for every turn.) Requests go
out together, at most `concurrency` at a time; the server batches them.

With the k most likely tokens, the tail mass t is what their probabilities leave over. `entropy` is then a lower bound
of the entropy: the known tokens' share plus the least the tail can add, `-t log min(t, p)`, with p the smallest known
probability. How far the upper bound is above it is logged as `teacher/entropy_gap`. The bound is exact when k is the
whole vocabulary. `confidence` is exact.

A server scores at temperature 1, whatever it samples at; soften a teacher with `local` and its `temperature`.

While the server cannot be reached, `on_outage` says what the run does; see docs/teachers.md. Scores are as repeatable
as the server's: rows computed in other company may differ in the last digits, so that bit-equal runs need
`concurrency = 1` or a server that computes rows independently of their batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from agentdistill.clients.server_settings import ServerConfig
from agentdistill.errors import TrainingError
from agentdistill.hashing import digest
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest, TeacherScores, TokenRow, Trajectory
from agentdistill.teachers.base import ScoresOnly
from agentdistill.teachers.entropy import entropy_bounds
from agentdistill.teachers.outage import OutageConfig
from agentdistill.teachers.scoring import scored_positions, unscored
from agentdistill_teachers.loading import load_tokenizer
from agentdistill_teachers.vllm_probe import check_scores, compare_tokens
from agentdistill_teachers.vllm_reply import RowScores
from agentdistill_teachers.vllm_rows import ServedRows


class VllmConfig(ServerConfig, OutageConfig):
    """A served model.

    Attributes:
        tokenizer: directory, hub id or registered model with the served model's tokenizer, compared id by id with the
            student's; without it the server itself is asked.
        check_model: the same model as a directory, hub id or registered name: it is loaded once at the start, and the
            server must give its scores.
        tolerance: largest difference that the checks at the start allow, nats; 16-bit servers round.
        served_as: what its scores are filed under in place of what the server says of itself. With it, scores of an
            earlier run are found without the server.
        entropy_top_k: tokens an entropy is bounded from, where the loss asks for fewer.
        positions: "written" reads the scores of what somebody in the episode wrote, "all" of every token after the
            first.
    """

    tokenizer: str | None = None
    check_model: str | None = None
    tolerance: float = Field(default=0.15, gt=0.0, allow_inf_nan=False)
    served_as: str | None = None
    entropy_top_k: int = Field(default=20, ge=1)
    positions: Literal["written", "all"] = "written"


class VllmTeacher(ScoresOnly):
    """Asks a server for the scores of whole rows."""

    who = "A served teacher"
    capabilities: frozenset[str] = frozenset({"sampled", "top_k", "entropy", "confidence"})
    needs: frozenset[str] = frozenset()
    cache_default = "on"  # a server is slow or paid; teacher.cache = "off" asks it every time

    def __init__(
        self,
        config: VllmConfig,
        *,
        student: LoadedModel | None = None,
        tokenizer: Any = None,
        check_model: LoadedModel | None = None,
    ) -> None:
        """Connects to nothing yet; `vllm_teacher` makes one from options.

        Args:
            config: the server.
            student: whose tokens are scored; its tokenizer is compared with the server's.
            tokenizer: the served model's tokenizer, when it was given.
            check_model: the served model itself, when it was given.
        """
        self.config, self.tokenizer = config, tokenizer
        self._student, self._reference = student, check_model
        self._known_as = frozenset() if check_model is None else frozenset({check_model.fingerprint})
        self.rows = ServedRows(config, tokenizer or (student.tokenizer if student is not None else None))
        self._expected = 1
        self._gaps: list[float] = []
        self._reported: dict[str, float] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Over the served name, what it was loaded from, and its scores of a known sequence to three digits."""
        config, asked = self.config, ["vllm", self.config.positions, self.config.entropy_top_k]
        if config.served_as is not None:
            return digest([*asked, config.served_as])[:16]
        served, face = self.rows.served, np.round(self.rows.face.astype(np.float64), 3) + 0.0
        return digest([*asked, served.name, served.root, served.parent, self.rows.known_ids, face.tolist()])[:16]

    @property
    def identities(self) -> frozenset[str]:
        """Its fingerprint, and that of `check_model`: what records of who played may know it by."""
        return self._known_as | {self.fingerprint}

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores every row of every trajectory; rows that `on_outage = "skip"` left out are NaN and invalid.

        Raises:
            TrainingError: hidden states are wanted, or a row does not fit the served model.
            TeacherOutage: the server cannot be reached and the policy is to stop.
            TeacherRefusal: the server refuses the request, or answers something else.
        """
        if request.hidden:
            raise TrainingError(
                "A served teacher cannot give hidden states.",
                "They would be kilobytes for every token, and no completion carries them.",
                'Use `loss.support = "top-k"` or "sampled", or a local teacher.',
            )
        rows = [row for trajectory in trajectories for row in trajectory.rows]
        at = [self.positions(row) for row in rows]
        busy = [number for number, places in enumerate(at) if len(places)]
        scores = [unscored(row, request) for row in rows]
        found = self.rows.ask([rows[i] for i in busy], [at[i] for i in busy], self._top_k(request))
        for number, answer in zip(busy, found, strict=True):
            if answer is not None:
                self._fill(scores[number], at[number], answer, request)
        flat = iter(scores)
        return [[next(flat) for _ in trajectory.rows] for trajectory in trajectories]

    def expect(self, request: ScoreRequest) -> None:
        """Takes the number of most likely tokens into the checks: a server has a limit."""
        self._expected = max(1, self._top_k(request))

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """Who is served, whether ids mean the same, and whether scores are repeatable and those of `check_model`.

        Raises:
            AgentDistillError: something does not hold.
        """
        served = self.rows.served
        limit = f", rows below {served.limit:,} tokens" if served.limit else ""
        lines = [f"{self.config.url} serves {served}{limit} · fingerprint {self.fingerprint}"]
        if self.tokenizer is None and self._student is not None:
            lines.append(compare_tokens(self.rows.client, served.name, self._student.tokenizer))
        lines += check_scores(self, trajectories, self._expected, self.config.tolerance, self._reference)
        self._reference = None  # it was needed once and is large
        self.metrics()  # what the checks cost is not the first step's
        return lines

    def state_dict(self) -> dict[str, Any]:
        """What the served weights are recognised by when the run is resumed; nothing where `served_as` says it."""
        return {} if self.config.served_as is not None else {"face": self.rows.face.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes sure that a resumed run has the teacher it began with.

        Raises:
            TeacherOutage: another model is served.
        """
        if self.config.served_as is None and "face" in state:
            self.rows.recognise(state["face"])

    def metrics(self) -> Mapping[str, float]:
        """Rows, requests, tokens and outages since the last call, and how loose the entropy's bound was."""
        now = self.rows.totals()
        since = {name: value - self._reported.get(name, 0.0) for name, value in now.items()}
        self._reported = now
        if self._gaps:
            since["entropy_gap"] = float(np.mean(self._gaps))
            self._gaps = []
        return since

    def positions(self, row: TokenRow) -> npt.NDArray[np.int64]:
        """Positions of a row that are scored, int64 [n], increasing."""
        return scored_positions(row, self.config.positions)

    def _top_k(self, request: ScoreRequest) -> int:
        least = self.config.entropy_top_k if request.entropy else int(request.confidence)
        return max(request.top_k, least)

    def _fill(self, scores: TeacherScores, at: npt.NDArray[np.int64], found: RowScores, request: ScoreRequest) -> None:
        finite = np.isfinite(found.sampled)
        scores.sampled_logprob[at] = np.where(finite, found.sampled, np.nan)
        scores.valid[at] = finite
        if scores.topk_ids is not None and scores.topk_logprobs is not None:
            scores.topk_ids[at] = found.top_ids[:, : request.top_k]
            scores.topk_logprobs[at] = found.top_logprobs[:, : request.top_k]
        if scores.confidence is not None:
            scores.confidence[at] = np.exp(found.top_logprobs[:, 0])
        if scores.entropy is not None:
            low, high = entropy_bounds(found.top_logprobs, self._vocabulary)
            scores.entropy[at] = low
            self._gaps.append(float((high - low).mean()))

    @cached_property
    def _vocabulary(self) -> int:
        """Number of token ids, for the upper bound of entropies."""
        if self._student is not None:
            return int(self._student.model.get_output_embeddings().weight.shape[0])
        return len(self.tokenizer) if self.tokenizer is not None else 2**17


def vllm_teacher(
    config: VllmConfig, student: LoadedModel | None = None, *, registry: PluginRegistry | None = None
) -> VllmTeacher:
    """Makes the teacher; the server is asked for the first time when the run checks it.

    Args:
        config: the server.
        student: whose tokens it will score.
        registry: where registered model names are looked up.

    Raises:
        ConfigError: nothing has the name of `check_model`.
        DataError: it or the tokenizer cannot be loaded.
    """
    checked = load_model(config.check_model, registry=registry) if config.check_model else None
    tokenizer = load_tokenizer(config.tokenizer, registry) if config.tokenizer else None
    if tokenizer is None and checked is not None:
        tokenizer = checked.tokenizer
    return VllmTeacher(config, student=student, tokenizer=tokenizer, check_model=checked)
