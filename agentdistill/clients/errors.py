"""Failures of an endpoint, in a paragraph a user can act on."""

from __future__ import annotations

import json
from collections.abc import Callable

from agentdistill.errors import AgentDistillError, BudgetSpent

EXCERPT = 300
"""Most characters of a server's own words in an error."""

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Status codes that a later attempt may not meet again."""


class EndpointError(AgentDistillError):
    """An endpoint gave no answer, or none that can be read.

    Attributes:
        status: the HTTP status of the last attempt, None without one.
        transient: whether another attempt may succeed.
        retry_after: seconds the endpoint asked to wait, None when it did not say.
    """

    def __init__(
        self,
        what: str,
        why: str = "",
        do: str = "",
        *,
        status: int | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, why, do)
        self.status, self.transient, self.retry_after = status, transient, retry_after


class SpentError(EndpointError, BudgetSpent):
    """What a client may spend is spent; a run stops with a checkpoint it can be resumed from."""


def given_up(error: EndpointError, attempts: int) -> EndpointError:
    """The failure of the last attempt, as what all of them came to."""
    times = f"after {attempts} attempts" if attempts > 1 else "and is not asked again (retries = 0)"
    what = error.what.rstrip(".") + f", {times}."
    return EndpointError(what, error.why, error.do, status=error.status, transient=True, retry_after=error.retry_after)


def advice(status: int, key_variable: str | None) -> str:
    """What to do about a refusal, by its status and the variable of the key that was sent."""
    if status in (401, 403):
        if key_variable is None:
            return "No key was sent: name the environment variable that holds it with key_variable."
        return f"Check the key in the environment variable {key_variable}."
    if status == 404:
        return "Check the address, which usually ends in /v1, and the model's name."
    if status in (413, 400, 422):
        return "Check the options of the endpoint; a conversation longer than the model's context is refused this way."
    if 300 <= status < 400:
        return "Redirects are not followed, so that no key goes elsewhere: give the address it points to."
    if status == 429:
        return "Lower concurrency, or raise retries and max_wait."
    return "Look at the server's log; raise retries and max_wait if it only needs time."


def server_words(body: str) -> str:
    """What a server says about its error: the message of a JSON error, else the beginning of the text."""
    text = body
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        found = value.get("error", value.get("detail", value.get("message", value)))
        if isinstance(found, dict):
            found = found.get("message", found)
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}..."


def cleaner(key: str | None) -> Callable[[str], str]:
    """A function that takes a key out of a text: servers like to quote what they refuse."""
    if not key:
        return lambda text: text
    return lambda text: text.replace(key, "[key]")
