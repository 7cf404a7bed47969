"""Options of the engine `vllm`, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from agentdistill.clients.address import base_address
from agentdistill.errors import ConfigError
from agentdistill.plugins import PluginConfig

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel

Way = Literal["weights", "adapter", "off"]
"""How new weights get to vLLM."""

OWN = frozenset(
    {"model", "dtype", "max_model_len", "logprobs_mode", "host", "port", "served_model_name", "enable_lora", "seed"}
)
"""vLLM's options that this engine sets from others of its own."""


class VllmConfig(PluginConfig):
    """Options of the engine `vllm`. Without `url` and `python`, vLLM runs in this process.

    Attributes:
        url: address of a running vLLM server, ending in /v1.
        python: a Python interpreter that has vLLM; the engine starts a server with it and ends it with the run.
        model: name of the student's model on the server of `url`; by default the only one it serves.
        key_variable: environment variable that holds the key of `url`.
        sync: how new weights get there. "weights" hands over all of them (in memory, or to a server through a folder),
            "adapter" the LoRA adapter alone, "off" none: the model is served as it is. "auto" takes the adapter where
            the student has one and vLLM is a server.
        dtype: what vLLM computes in; by default the student's dtype.
        max_context: most tokens of a row, prompt and response together; by default what the model's config says.
        folder: where weights for a server are written, and the log of one that the engine starts; a path that the
            server sees too. By default a temporary folder.
        tolerance: largest difference of a log-probability between vLLM and the learner, nats; by default 1e-3 for
            float32 and 0.15 for 16-bit models. After the first probe ten times its result is the limit, if smaller.
        concurrency: most requests under way at a server.
        timeout: seconds a request to a server may take.
        retries: how often a request that failed for a passing reason is sent again; its seed makes it the same one.
        start_timeout: seconds a server that the engine starts may take until it answers.
        options: more options of vLLM itself, by their Python names, e.g. { enforce_eager = true }.
    """

    url: str | None = None
    python: str | None = None
    model: str | None = None
    key_variable: str | None = None
    sync: Literal["auto", "weights", "adapter", "off"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    max_context: int | None = Field(default=None, ge=2)
    folder: str | None = None
    tolerance: float | None = Field(default=None, gt=0.0)
    concurrency: int = Field(default=128, ge=1)
    timeout: float = Field(default=600.0, gt=0.0)
    retries: int = Field(default=4, ge=0)
    start_timeout: float = Field(default=900.0, gt=0.0)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        return None if url is None else base_address(url, "/completions")

    @model_validator(mode="after")
    def _one_place(self) -> VllmConfig:
        if self.url and self.python:
            raise ValueError("url and python exclude each other: a server that runs, or one that the engine starts")
        if self.url and self.options:
            raise ValueError("options are for a vLLM that the engine starts; the server of url has its own already")
        return self

    @field_validator("options")
    @classmethod
    def _free_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(OWN & {key.replace("-", "_") for key in options})
        if taken:
            raise ValueError(f"options.{taken[0]} is not free: the engine sets it, from its own options or the student")
        return {key.replace("-", "_"): value for key, value in options.items()}

    def way(self, model: LoadedModel) -> Way:
        """How this student's weights get to vLLM.

        Raises:
            ConfigError: an adapter shall be handed over, and the student has none.
        """
        adapted = hasattr(model.model, "peft_config")
        if self.sync == "adapter" and not adapted:
            raise ConfigError(
                '`engine.sync` is "adapter", and the student has none.', "", 'Set student.lora, or sync = "weights".'
            )
        if self.sync != "auto":
            return self.sync
        return "adapter" if adapted and (self.url or self.python) else "weights"


def adapter_rank(model: LoadedModel) -> int:
    """The smallest rank that vLLM can be started with and that holds the student's adapter."""
    rank = max(int(one.r) for one in model.model.peft_config.values())
    return next((size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank), rank)
