"""A teacher in this process: any `transformers` causal language model."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field

from agentdistill.errors import TrainingError
from agentdistill.hashing import digest
from agentdistill.learner.heads import SplitModel, split_model
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.scoring import score_rows


class LocalConfig(PluginConfig):
    """A model loaded beside the student.

    Attributes:
        model: registered model name, directory, or hub id.
        device: torch device.
        dtype: "float32", "bfloat16" or "float16".
        temperature: the teacher's logits are divided by it before anything is scored; above 1 softens a teacher so
            sure of itself that a small student finds little to follow but its mistakes.
        batch_tokens: most tokens of one forward pass, padding included.
        chunk: tokens whose logits exist at one time.
        positions: "written" scores what somebody in the episode wrote, "all" every token after the first.
    """

    model: str
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    batch_tokens: int = Field(default=16384, ge=1)
    chunk: int = Field(default=64, ge=1)
    positions: Literal["written", "all"] = "written"


class LocalTeacher:
    """Scores every row with one forward pass, without gradient."""

    needs: frozenset[str] = frozenset()

    def __init__(self, config: LocalConfig, model: LoadedModel) -> None:
        """Takes a loaded model; `local_teacher` loads one."""
        self.config, self.loaded = config, model
        self.parts = tempered(split_model(model), config.temperature)

    @property
    def capabilities(self) -> frozenset[str]:
        """Everything; hidden states only where they alone determine the logits."""
        offered = {"sampled", "top_k", "entropy", "confidence", "act"}
        return frozenset(offered | {"hidden"} if self.parts.bias is None else offered)

    @property
    def fingerprint(self) -> str:
        """Over weights, tokenizer and precision; batching does not change what is asked."""
        config = self.config
        asked = ["local", self.loaded.fingerprint, config.dtype, config.positions, config.temperature]
        return digest(asked)[:16]

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.loaded.tokenizer

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores every row of every trajectory.

        Raises:
            TrainingError: a row does not fit the model, or hidden states are wanted of a model with an output bias.
        """
        if request.hidden and "hidden" not in self.capabilities:
            raise TrainingError(
                f"The teacher {self.loaded.name} cannot give hidden states.",
                "Its output layer has a bias, so they do not determine its logits alone.",
                'Use `loss.support = "sampled"`, or another teacher.',
            )
        rows = [row for trajectory in trajectories for row in trajectory.rows]
        config = self.config
        flat = iter(
            score_rows(
                self.parts,
                rows,
                request,
                batch_tokens=config.batch_tokens,
                chunk=config.chunk,
                positions=config.positions,
            )
        )
        return [[next(flat) for _ in trajectory.rows] for trajectory in trajectories]

    def policy(self) -> LoadedModel:
        """The model as it was loaded; `temperature` changes what is scored, not how it acts."""
        return self.loaded

    def output_weight(self) -> Any:
        """The [V, D] output layer, detached."""
        return self.parts.weight.detach()


def tempered(parts: SplitModel, temperature: float) -> SplitModel:
    """The same decoder under an output layer whose logits are divided by a temperature; the model stays as it is."""
    if temperature == 1.0:
        return parts
    output = copy.deepcopy(parts.output).requires_grad_(False)
    with torch.no_grad():
        for tensor in output.parameters():
            tensor.div_(temperature)
    return dataclasses.replace(parts, output=output)


def local_teacher(config: LocalConfig, *, registry: PluginRegistry | None = None) -> LocalTeacher:
    """Loads the model.

    Args:
        config: what to load.
        registry: where registered model names are looked up.

    Raises:
        ConfigError: nothing has that name.
        DataError: the model cannot be loaded.
    """
    model = load_model(config.model, registry=registry, device=config.device, dtype=config.dtype)
    model.model.requires_grad_(False)
    return LocalTeacher(config, model)
