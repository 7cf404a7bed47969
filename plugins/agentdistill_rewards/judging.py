"""What every judge of this package shares: how an episode is shown, how a verdict is read, what is asked again.

An agent's text is data, not instructions: it stands between tags, and whatever in it looks like one of the tags that
structure a prompt or carry a verdict loses its bracket, so that an episode can neither close its own transcript nor
hand in a verdict. Verdicts are read from the end of an answer, after its reasoning.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import Field

from agentdistill.clients import Account, ChatClient, ChatRequest, EndpointConfig
from agentdistill.errors import TrainingError
from agentdistill.records import Step, StopReason, Trajectory

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

AGAIN = 0.7
"""Temperature of a question that is asked again: at 0 the same unreadable answer would come back."""

_TAGS = "goal|turn|observation|response|action|end|episode|score|better|label|rubric|transcript|first|second|judgement"
_LOOKS_LIKE_OURS = re.compile(rf"<(?=\s*/?\s*(?:{_TAGS})\b)", re.IGNORECASE)

_ENDS = {
    StopReason.SUCCESS: "the environment says that the goal was reached",
    StopReason.FAILURE: "the environment ended the episode without success",
    StopReason.ENV_LIMIT: "the limit of steps was reached",
    StopReason.CONTEXT_LIMIT: "the conversation became too long",
    StopReason.HORIZON: "the episode was cut here; it did not fail",
    StopReason.ABORTED: "the environment broke down",
}


class JudgeConfig(EndpointConfig):
    """A judge behind an endpoint.

    Attributes:
        attempts: how often a judgement that cannot be read is asked for, all in all.
        unreadable: what an episode is worth whose judgement stays unreadable; false stops the run.
        show_end: tell the judge why the episode ended, success included.
    """

    attempts: int = Field(default=3, ge=1)
    unreadable: float | None = Field(default=None, allow_inf_nan=False)
    show_end: bool = True


class Judge:
    """A client, and the account of what it costs: numbers for every step, and a budget that a resumed run keeps to.

    Args:
        config: the endpoint.

    Raises:
        ConfigError: the variable with the endpoint's key is not set.
        MissingExtraError: the extra `api` is not installed.

    Attributes:
        client: of the judge.
    """

    def __init__(self, config: JudgeConfig) -> None:
        self.client = ChatClient(config)
        self._account = Account(self.client.usage)

    def metrics(self) -> dict[str, float]:
        """What was asked and spent since the last call."""
        return self._account.news()

    def state_dict(self) -> dict[str, Any]:
        """What has been spent; plain JSON."""
        return self._account.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        self._account.load_state_dict(state)


def quoted(text: str) -> str:
    """A text of the episode, unable to play a tag of the prompt."""
    return _LOOKS_LIKE_OURS.sub("&lt;", text)


def goal(trajectory: Trajectory) -> str:
    """The goal in words, quoted."""
    return quoted(str(trajectory.meta.get("goal", trajectory.task.key)))


def turn(step: Step) -> str:
    """One turn as a judge sees it: what was seen, what was written, what was done."""
    refused = "" if step.valid else ' accepted="no"'
    return (
        f'<turn index="{step.index}">\n<observation>\n{quoted(step.observation)}\n</observation>\n'
        f"<response>\n{quoted(step.response)}\n</response>\n<action{refused}>{quoted(step.action)}</action>\n</turn>"
    )


def transcript(trajectory: Trajectory, show_end: bool) -> str:
    """The whole episode as a judge sees it."""
    turns = "\n".join(turn(step) for step in trajectory.steps)
    end = f"\n<end>{_ENDS[trajectory.stop]}</end>" if show_end else ""
    return f"<transcript>\n<goal>{goal(trajectory)}</goal>\n{turns}{end}\n</transcript>"


def last(tag: str, text: str) -> str | None:
    """What stands in the last <tag>...</tag> of an answer; None without one."""
    found = re.findall(rf"<{tag}>\s*(.*?)\s*</{tag}>", text, re.IGNORECASE | re.DOTALL)
    return found[-1] if found else None


def number(text: str | None, low: float, high: float) -> float | None:
    """A number within limits, None for anything else: a judge that says 11 of 10 has not understood the question."""
    match = re.fullmatch(r"([-+]?\d+(?:\.\d+)?)(?:\s*/\s*\d+(?:\.\d+)?)?", (text or "").strip())
    value = float(match[1]) if match else None
    return value if value is not None and low <= value <= high else None


def ask(
    client: ChatClient, requests: Sequence[ChatRequest], read: Sequence[Callable[[str], _T | None]], attempts: int
) -> list[_T | None]:
    """Asks, reads, and asks again what could not be read.

    Args:
        client: of the judge.
        requests: what to ask.
        read: for each request, a function from the answer's text to the verdict, or to None.
        attempts: most times each is asked.

    Returns:
        The verdicts; None where none could be read.

    Raises:
        EndpointError: the endpoint gives no answers.
    """
    verdicts: list[_T | None] = [None] * len(requests)
    open_ = list(range(len(requests)))
    for attempt in range(attempts):
        asked = [requests[i] for i in open_]
        if attempt:
            warm = max(AGAIN, client.config.temperature or 0.0)
            asked = [replace(request, sample=request.sample + attempt, temperature=warm) for request in asked]
        for i, answer in zip(open_, client.complete(asked), strict=True):
            verdicts[i] = None if answer.finish == "length" else read[i](answer.text)
        open_ = [i for i in open_ if verdicts[i] is None]
        if not open_:
            break
    if open_:
        logger.warning("%d of %d judgements could not be read after %d attempts", len(open_), len(requests), attempts)
    logger.debug("judge %s: %s", client.config.model, client.usage.summary())
    return verdicts


def unread(config: JudgeConfig, trajectory: Trajectory, wanted: str) -> float:
    """What an unreadable judgement is worth.

    Raises:
        TrainingError: the config does not say.
    """
    if config.unreadable is not None:
        return config.unreadable
    raise TrainingError(
        f"The judge `{config.model}` gave no readable verdict on an episode of the task {trajectory.task.key!r}.",
        f"It was asked {config.attempts} times and shall end its answer with {wanted}.",
        "Raise max_tokens or attempts, use a stronger judge, or say with `unreadable` what such an episode is worth.",
    )


def annotate(step: Step, name: str, value: float) -> None:
    """Writes a number about a turn where weights and filters find it."""
    step.info.setdefault("annotations", {})[name] = value
