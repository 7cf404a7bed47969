"""A guide behind a chat endpoint: it reads the words that the student's prompt was made from, and writes its own.

Nothing of it is known but text. What it writes is put into the student's tokens, so that it can be played, and
imitated; it has no log-probabilities, and none are made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentdistill.clients.errors import EndpointError
from agentdistill.clients.messages import ChatAnswer, ChatRequest
from agentdistill.engines.base import Generation, Sampling
from agentdistill.errors import BudgetSpent, PluginError, TeacherOutage
from agentdistill.rollout.guide import GuideTurn

if TYPE_CHECKING:
    from agentdistill.clients.chat import ChatClient
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer

AGAIN = 0.7
"""Temperature of a question that is asked again: at 0 the same unusable answer would come back."""


@dataclass(frozen=True, slots=True)
class ChatGuideSettings:
    """How an endpoint is asked for turns.

    Attributes:
        attempts: how often a turn is asked for whose answers cannot be used.
        own_sampling: sample as the endpoint's options say, and not as the rollout or the relabelling asks.
        send_seed: send the turn's seed where anything is sampled; some endpoints refuse it.
        thoughts: put reasoning that the endpoint separates from its answer in front of it, between <think> tags.
    """

    attempts: int = 2
    own_sampling: bool = False
    send_seed: bool = True
    thoughts: bool = False


class ChatGuide:
    """Plays turns through an OpenAI-compatible chat endpoint.

    The messages are those of the context policy, word for word. An answer, without the blanks around it, is used when
    it was finished, when an action can be read in it in the format that the prompt asks for, and when the student could
    have written it: in its tokens, without a terminator inside, within `Sampling.max_new_tokens`. Any other is asked
    for again, and then leaves the turn to the student (or out, where states are relabelled); `counts` says how many and
    why. Nothing is cut to size.

    Args:
        client: asks the endpoint; it keeps answers, and the account.
        context: shows the episode and reads the answers.
        renderer: puts answers into the student's tokens.
        settings: how to ask.

    Attributes:
        counts: turns asked for ("turns"), answers that were not used by their reason ("cut", "empty", "unreadable",
            "too_long", "unwritable"), and turns left without any ("left").
    """

    def __init__(
        self,
        client: ChatClient,
        context: ContextPolicy,
        renderer: ChatRenderer,
        settings: ChatGuideSettings | None = None,
    ) -> None:
        self.client = client
        self.counts: Counter[str] = Counter()
        self._context, self._renderer = context, renderer
        self._settings = settings or ChatGuideSettings()

    def respond(self, turns: Sequence[GuideTurn], sampling: Sampling) -> list[Generation | None]:
        """One answer for each turn, asked for all at once; None where none could be used.

        Raises:
            BudgetSpent: the client may spend no more.
            TeacherOutage: the endpoint does not answer, retries included.
            EndpointError: it refuses the question.
            PluginError: whoever asks does not say what the prompt was made from.
        """
        requests = [self.question(turn, sampling) for turn in turns]
        answers: list[Generation | None] = [None] * len(turns)
        self.counts["turns"] += len(turns)
        waiting = list(range(len(turns)))
        for attempt in range(self._settings.attempts):
            asked = [requests[place] if not attempt else self._again(requests[place], attempt) for place in waiting]
            for place, answer in zip(waiting, self._complete(asked), strict=True):
                answers[place] = self._written(answer, sampling.max_new_tokens)
            waiting = [place for place in waiting if answers[place] is None]
            if not waiting:
                break
        self.counts["left"] += len(waiting)
        return answers

    def release(self, sessions: Iterable[str]) -> None:
        """There is nothing to forget."""

    def question(self, turn: GuideTurn, sampling: Sampling) -> ChatRequest:
        """What the endpoint is asked in a turn.

        Raises:
            PluginError: the turn does not say what its prompt was made from.
        """
        situation = turn.request.situation
        if situation is None:
            raise PluginError(
                "A guide that reads words was asked to answer a prompt of token ids.",
                "The request does not say what the prompt was made from.",
                "Whoever asks guides fills `GenerationRequest.situation`.",
            )
        messages = [{"role": m.role, "content": m.content} for m in self._context.messages(situation)]
        seed = turn.request.seed % 2**31
        if self._settings.own_sampling:
            sampled, temperature = self.client.config.temperature != 0.0, None
        else:
            sampled, temperature = sampling.temperature > 0.0, sampling.temperature
        return ChatRequest(
            messages,
            sample=seed if sampled else 0,
            seed=seed if sampled and self._settings.send_seed else None,
            temperature=temperature,
        )

    def _again(self, request: ChatRequest, attempt: int) -> ChatRequest:
        temperature = request.temperature
        if not self._settings.own_sampling or self.client.config.temperature is not None:
            temperature = max(AGAIN, temperature or self.client.config.temperature or 0.0)
        seed = None if request.seed is None else (request.seed + attempt) % 2**31
        return replace(request, sample=request.sample + attempt, seed=seed, temperature=temperature)

    def _complete(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        try:
            return self.client.complete(requests)
        except BudgetSpent:
            raise
        except EndpointError as error:
            if not error.transient:
                raise
            raise TeacherOutage(error.what, error.why, error.do) from error

    def _written(self, answer: ChatAnswer, limit: int) -> Generation | None:
        text = answer.text.strip()
        if self._settings.thoughts and answer.reasoning:
            text = f"<think>\n{answer.reasoning.strip()}\n</think>\n{text}"
        ids = self._renderer.response(text)
        problem = self._problem(answer, text, ids, limit)
        if problem:
            self.counts[problem] += 1
            return None
        return Generation(ids, [float("nan")] * len(ids), "stop", text=text)

    def _problem(self, answer: ChatAnswer, text: str, ids: Sequence[int], limit: int) -> str:
        """Why an answer cannot be used, or ""."""
        if answer.finish == "length":
            return "cut"
        if not text:
            return "empty"
        parsed = self._context.parse(text)
        if not parsed.well_formed or not parsed.action:
            return "unreadable"
        if len(ids) > limit:
            return "too_long"
        # A terminator inside, or a token for what the tokenizer does not know, would end or garble the student's turn.
        forbidden = {*self._renderer.stop_ids, getattr(self._renderer.tokenizer, "unk_token_id", None)}
        return "unwritable" if any(index in forbidden for index in ids[:-1]) else ""
