"""Asking a server about token rows: each row once, many at a time, through outages, and always the same model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.clients.completions import CompletionsClient
from agentdistill.clients.errors import EndpointError
from agentdistill.errors import TeacherOutage, TrainingError
from agentdistill.records import TokenRow
from agentdistill.teachers.outage import OutagePolicy, TeacherRefusal
from agentdistill.teachers.selfcheck import PROBES
from agentdistill_teachers.vllm_probe import Served, largest_gap, served_model
from agentdistill_teachers.vllm_reply import RowScores, advice, read_scores, scoring_body

_LONGEST = 48


class ServedRows:
    """Scores of token rows from one served model.

    Args:
        config: the server and what to do while it is away (a `ServerConfig` and `OutageConfig` with `tolerance`).
        tokenizer: cuts the texts that the served weights are recognised by; None recognises them by the first ids.

    Attributes:
        client: asks the server.
        policy: carries requests through outages.
        asked: rows asked about so far, however often each was sent.
    """

    def __init__(self, config: Any, tokenizer: Any) -> None:
        self._config, self._tokenizer = config, tokenizer
        self.asked = 0
        self.client = CompletionsClient(config, advice)
        self.policy = OutagePolicy(config, f"the teacher at {config.url}", self._healthy)

    @cached_property
    def served(self) -> Served:
        """The model behind the address, asked for once.

        Raises:
            ConfigError: it is not served there.
            EndpointError: the server cannot be reached.
        """
        try:
            return served_model(self.client)
        except EndpointError as error:
            do = (
                "Start it, for instance with `vllm serve MODEL` or `python -m vllm.entrypoints.openai.api_server "
                "--model MODEL`, wait until it says that it is ready, and check teacher.url. A run whose scores are "
                'all kept needs no server with teacher.cache = "only".'
            )
            raise EndpointError(
                f"The teacher's server at {self._config.url} cannot be asked.",
                f"{error.what} {error.why}",
                do if error.status is None else error.do,
                status=error.status,
            ) from error

    @cached_property
    def face(self) -> npt.NDArray[np.float32]:
        """Scores of a known sequence, asked for alone: what the served weights are recognised by."""
        return self._face()

    @cached_property
    def known_ids(self) -> list[int]:
        """The known sequence: the probe texts; without a tokenizer the first ids there are."""
        if self._tokenizer is None:
            return list(range(1, _LONGEST))
        ids = [int(index) for text in PROBES for index in self._tokenizer(text, add_special_tokens=False)["input_ids"]]
        return ids[:_LONGEST]

    def ask(self, rows: Sequence[TokenRow], at: Sequence[npt.NDArray[np.int64]], top_k: int) -> list[RowScores | None]:
        """Scores rows at some positions, one request for each row.

        Args:
            rows: the rows.
            at: int64 [n] for each row, increasing, at least one and none of them 0.
            top_k: most likely tokens to ask for.

        Returns:
            The scores in order; None for rows that the outage policy left out.

        Raises:
            TrainingError: a row does not fit the served model.
            TeacherOutage: the server cannot be reached and the policy is to stop, or another model came back.
            TeacherRefusal: the server refuses, or answers something else.
        """
        prompts = [row.token_ids[: int(positions[-1]) + 1].tolist() for row, positions in zip(rows, at, strict=True)]
        if prompts:
            self._check_lengths(max(map(len, prompts)))
        self.asked += len(prompts)
        bodies = [scoring_body(self.served.name, ids, top_k) for ids in prompts]

        def ask(numbers: Sequence[int]) -> Sequence[RowScores | EndpointError]:
            def read(answer: Mapping[str, Any], place: int) -> RowScores:
                number = numbers[place]
                return read_scores(answer, prompts[number], at[number], top_k)

            return self.client.complete([bodies[number] for number in numbers], read)

        try:
            return self.policy.collect(len(rows), ask)
        except EndpointError as error:
            raise TeacherRefusal(error.what, error.why, error.do, status=error.status) from error

    def totals(self) -> dict[str, float]:
        """Rows, requests, tokens and outages since the start."""
        counts, policy = self.client.counts, self.policy
        return {
            "rows": float(self.asked),
            "requests": float(counts.sent),
            "retries": float(counts.retries),
            "failures": float(counts.failures),
            "prompt_tokens": float(counts.prompt_tokens),
            "outages": float(policy.outages),
            "skipped_rows": float(policy.skipped),
            "waited_seconds": policy.waited,
        }

    def _check_lengths(self, longest: int) -> None:
        limit = self.served.limit
        if limit and longest >= limit:
            raise TrainingError(
                f"A row of {longest} tokens does not fit the served teacher's context of {limit}.",
                "It needs one token more than it has, and a truncated row would be scored in another context.",
                "Start the server with a larger --max-model-len, or use a context policy with shorter prompts.",
            )

    def _face(self) -> npt.NDArray[np.float32]:
        ids = self.known_ids
        answer = self.client.post(f"{self._config.url}/completions", scoring_body(self.served.name, ids, 1))
        return read_scores(answer, ids, np.arange(1, len(ids), dtype=np.int64), 1).sampled

    def recognise(self, face: Sequence[float]) -> None:
        """In a resumed run: the same model is served, whatever its name is now.

        Args:
            face: what `face` was when the run began.

        Raises:
            TeacherOutage: it is another one.
        """
        gap = largest_gap(np.array(face, dtype=np.float32), self.face)
        if not gap <= self._config.tolerance:
            raise self._another("when the run began", gap)

    def _healthy(self) -> None:
        """After an outage: the same model is back."""
        self.client.alive()
        served, gap = served_model(self.client), largest_gap(self.face, self._face())
        if served != self.served or not gap <= self._config.tolerance:
            raise self._another(f"before the outage ({served} in place of {self.served})", gap)

    def _another(self, when: str, gap: float) -> TeacherOutage:
        return TeacherOutage(
            f"Another model is served at {self._config.url} than {when}.",
            f"The scores of a known text moved by {gap:.3g} nats.",
            "Serve the first one again and go on with --resume.",
        )
