"""Options of the engine `cascade`, and what of them is checked against the run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from agentdistill.conversation.base import ContextPolicy
from agentdistill.errors import ConfigError
from agentdistill.plugins import PluginConfig, SectionOf
from agentdistill_engines.advice_endpoint import EndpointAdviserConfig
from agentdistill_engines.advice_model import ModelAdviserConfig


class CascadeConfig(PluginConfig):
    """Options of the engine `cascade`.

    Attributes:
        samples: how often the student answers in each turn, N.
        agree: how many answers must name the same action; unset is all of them.
        teacher: who is asked otherwise: a model of this process.
        endpoint: or a model behind an OpenAI-compatible chat endpoint.
        sampler: the engine that samples from the student; a `type` and that plugin's options.
        price_in: US dollars per million tokens the student reads; without prices, costs are unknown.
        price_out: US dollars per million tokens the student writes.
    """

    samples: int = Field(default=3, ge=1)
    agree: int | None = Field(default=None, ge=1)
    teacher: ModelAdviserConfig | None = None
    endpoint: EndpointAdviserConfig | None = None
    sampler: Annotated[dict[str, Any], SectionOf("engine")] = Field(default_factory=lambda: {"type": "hf"})
    price_in: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    price_out: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _can_agree(self) -> CascadeConfig:
        if self.agree is not None and self.agree > self.samples:
            raise ValueError(f"{self.agree} of {self.samples} answers can never agree; lower agree or raise samples")
        if self.teacher is not None and self.endpoint is not None:
            raise ValueError("give a teacher or an endpoint, not both")
        return self


def check_context(reads: ContextPolicy, records: ContextPolicy) -> None:
    """Checks a teacher's own context policy against the one that decides what episodes record.

    Raises:
        ConfigError: it shows what is not recorded, or episodes that could be those that are evaluated.
    """
    missing: frozenset[str] = getattr(reads, "needs", frozenset()) - getattr(records, "needs", frozenset())
    if missing and not getattr(reads, "fresh_rows", False):
        raise ConfigError(
            f"The teacher's context policy shows {', '.join(sorted(missing))} of past turns, which are not recorded.",
            "The student's context policy does not ask for them.",
            "Let the student's policy list them too, or give the teacher one without.",
        )
    if hasattr(reads, "hold_out"):
        raise ConfigError(
            "The teacher's context policy shows other episodes.",
            "Only the student's policy is told which tasks are evaluated, so its demonstrations could give them away.",
            "Give the demonstrations to the student (env.context), and the teacher a plain policy.",
        )
