"""What a client asked for, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

from agentdistill.clients.messages import ChatAnswer


@dataclass(slots=True)
class Usage:
    """Counts of one client, since it was made.

    Attributes:
        price_in: US dollars per million tokens read, None when unknown.
        price_out: US dollars per million tokens written, None when unknown.
        answers: answers given, cached and shared ones included.
        cached: answers from the cache.
        shared: answers to requests that were asked twice in one batch.
        sent: HTTP requests, retries included.
        retries: requests sent again.
        prompt_tokens: tokens read by the endpoint.
        completion_tokens: tokens written by the endpoint.
        unmeasured: paid answers whose endpoint did not say how many tokens they took.
    """

    price_in: float | None = None
    price_out: float | None = None
    answers: int = 0
    cached: int = 0
    shared: int = 0
    sent: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unmeasured: int = 0

    def paid(self, answer: ChatAnswer) -> None:
        """Counts the tokens of an answer that the endpoint gave."""
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            self.unmeasured += 1
        self.prompt_tokens += answer.prompt_tokens or 0
        self.completion_tokens += answer.completion_tokens or 0

    @property
    def cost(self) -> float:
        """US dollars spent; NaN without prices, or when an answer's tokens are unknown."""
        if self.price_in is None or self.price_out is None or self.unmeasured:
            return float("nan")
        return (self.prompt_tokens * self.price_in + self.completion_tokens * self.price_out) / 1e6

    def metrics(self) -> dict[str, float]:
        """The counts by name, for a tracker; the cost only when it is known."""
        names = ("answers", "cached", "shared", "sent", "retries", "prompt_tokens", "completion_tokens", "unmeasured")
        found = {name: float(getattr(self, name)) for name in names}
        return found | ({"cost": self.cost} if self.cost == self.cost else {})

    def summary(self) -> str:
        """One line for people."""
        line = (
            f"{self.answers:,} answers ({self.cached:,} cached), {self.sent:,} requests ({self.retries:,} retries), "
            f"{self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written"
        )
        if self.unmeasured:
            line += f" ({self.unmeasured:,} answers without a count)"
        return line + (f", {self.cost:.4f} USD" if self.cost == self.cost else "")
