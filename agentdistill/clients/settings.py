"""What a user says about an endpoint: one set of options for judges, process rewards and teachers behind an API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from agentdistill.cache import cache_directory
from agentdistill.clients.address import base_address
from agentdistill.plugins import PluginConfig


class EndpointConfig(PluginConfig):
    """An OpenAI-compatible chat endpoint. A plugin that talks to one derives its options from this.

    Attributes:
        url: base address that ends where `/chat/completions` begins, e.g. "http://localhost:8000/v1".
        model: the name the endpoint knows the model by.
        key_variable: environment variable that holds the key; without it no key is sent, to anybody.
        temperature: of the answers; false leaves it to the endpoint.
        top_p: of the answers; false leaves it to the endpoint.
        max_tokens: longest answer; an answer that was cut off says so in its `finish`.
        length_field: what the endpoint calls that limit.
        body: more fields of the request, as they are, e.g. { chat_template_kwargs = { enable_thinking = false } }.
        concurrency: most requests under way at one time.
        timeout: seconds a request may take, from sending to the last byte.
        retries: how often a request that failed for a passing reason is sent again.
        max_wait: longest pause before a retry, seconds. An endpoint that asks for a longer one is taken at its word.
        cache: keep answers on disk, so that asking again costs nothing and gives the same answer.
        cache_folder: where; without it below the cache folder of agentdistill.
        served_as: what answers are filed under in place of the address, for a server whose port changes.
        price_in: US dollars per million tokens read; without prices, costs are unknown.
        price_out: US dollars per million tokens written.
        budget: US dollars this client may spend; needs prices.
    """

    url: str
    model: str = Field(min_length=1)
    key_variable: str | None = None
    temperature: float | None = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    max_tokens: int = Field(default=1024, ge=1)
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    body: dict[str, Any] = Field(default_factory=dict)
    concurrency: int = Field(default=16, ge=1)
    timeout: float = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    retries: int = Field(default=6, ge=0)
    max_wait: float = Field(default=60.0, ge=0.0, allow_inf_nan=False)
    cache: bool = True
    cache_folder: str | None = None
    served_as: str | None = None
    price_in: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    price_out: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    budget: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        return base_address(url, "/chat/completions")

    @field_validator("body")
    @classmethod
    def _own_fields_only(cls, body: dict[str, Any]) -> dict[str, Any]:
        taken = {"model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stream"}
        clash = sorted(taken & body.keys())
        if clash or body.get("n", 1) != 1:
            raise ValueError(f"body.{(clash or ['n'])[0]} is not free: it is set by the client itself")
        return body

    @model_validator(mode="after")
    def _a_budget_needs_prices(self) -> Self:
        if self.budget is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("a budget needs price_in and price_out: without prices nobody knows what was spent")
        return self

    def folder(self) -> Path | None:
        """Where answers are kept, or None."""
        if not self.cache:
            return None
        return Path(self.cache_folder).expanduser() if self.cache_folder else cache_directory() / "answers"
