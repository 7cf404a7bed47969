"""What a user says about a server of completions: where it is, and how much it is trusted to be slow."""

from __future__ import annotations

from pydantic import Field, field_validator

from agentdistill.clients.address import base_address
from agentdistill.plugins import PluginConfig


class ServerConfig(PluginConfig):
    """A server with an OpenAI-compatible completions endpoint. What talks to one derives its options from this.

    Attributes:
        url: base address that ends where `/completions` begins, e.g. "http://localhost:8000/v1".
        model: the name it is served under; false takes the only model the server has.
        key_variable: environment variable that holds the key; without it no key is sent.
        concurrency: most requests under way at one time.
        timeout: seconds a request may take, from sending to the last byte.
        retries: how often a request that failed for a passing reason is sent again before that counts as an outage.
        max_wait: longest pause before a retry, seconds.
        trip: failures in a row after which the server is left alone; what waits to be sent then fails at once.
        rest: seconds it is left alone.
    """

    url: str
    model: str | None = None
    key_variable: str | None = None
    concurrency: int = Field(default=16, ge=1)
    timeout: float = Field(default=300.0, gt=0.0, allow_inf_nan=False)
    retries: int = Field(default=2, ge=0)
    max_wait: float = Field(default=5.0, ge=0.0, allow_inf_nan=False)
    trip: int = Field(default=8, ge=1)
    rest: float = Field(default=5.0, ge=0.0, allow_inf_nan=False)

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        return base_address(url, "/completions")

    @property
    def root(self) -> str:
        """The address without the version at its end, where a server's health lives."""
        return self.url.removesuffix("/v1")
