"""Teachers made of the student's own weights: as they were, their moving average, or held near where they began."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agentdistill.errors import CheckpointError, TrainingError
from agentdistill.learner.heads import SplitModel


def copy_of(model: nn.Module) -> nn.Module:
    """A copy whose weights do not follow the model's.

    What the model does not train is shared and not copied: of a model with adapters, the copy is as large as those.

    Args:
        model: the student's module, adapters included.

    Returns:
        The copy, in eval mode, without gradients.
    """
    frozen = [p for p in model.parameters() if not p.requires_grad]
    memo: dict[int, Any] = {id(tensor): tensor for tensor in [*frozen, *model.buffers()]}
    made = copy.deepcopy(model, memo)
    return made.requires_grad_(False).eval()


class Average:
    """The moving average of a model's trained weights, in a copy of it.

        average <- (1 - rate) average + rate weights

    It is kept in float32 at least, so that small steps do not vanish in 16-bit weights.

    Attributes:
        model: the copy that has the average as its weights.
        updates: how often it has moved.
    """

    def __init__(self, student: nn.Module, rate: float) -> None:
        """Starts at the student's weights as they are.

        Args:
            student: the model that is followed.
            rate: share of the student's weights in each update, in (0, 1].

        Raises:
            TrainingError: nothing in the student is trained.
        """
        self.rate, self.updates = rate, 0
        self.model = copy_of(student)
        self._student = {name: p for name, p in student.named_parameters() if p.requires_grad}
        if not self._student:
            raise TrainingError("There is nothing to average.", "No weight of the student is trained.", "Train some.")
        copies = dict(self.model.named_parameters())
        self._copy = {name: copies[name] for name in self._student}
        # In 32 bits and more, the average and the copy's weights are the same tensors.
        wide = (torch.float32, torch.float64)
        self._mean = {n: p.detach() if p.dtype in wide else p.detach().float() for n, p in self._copy.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Moves towards the student."""
        for name, mean in self._mean.items():
            mean.lerp_(self._student[name].detach().to(mean.dtype), self.rate)
        self._store()
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The average and how often it moved."""
        return {"average": {name: mean.cpu().clone() for name, mean in self._mean.items()}, "updates": self.updates}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`.

        Raises:
            CheckpointError: it is the average of another model.
        """
        stored: Mapping[str, Tensor] = state.get("average", {})
        wrong = [n for n, mean in self._mean.items() if n not in stored or stored[n].shape != mean.shape]
        if wrong or len(stored) != len(self._mean):
            raise CheckpointError(
                "The checkpoint's averaged weights do not fit the student.",
                f"It has {len(stored)} tensors, {len(self._mean)} are needed; first that does not fit: "
                f"{wrong[0] if wrong else sorted(set(stored) - set(self._mean))[0]}.",
                "Resume with the student and the teacher that the run was started with.",
            )
        for name, mean in self._mean.items():
            mean.copy_(stored[name])
        self._store()
        self.updates = int(state["updates"])

    def _store(self) -> None:
        for name, mean in self._mean.items():
            if mean.dtype != self._copy[name].dtype:
                self._copy[name].copy_(mean)


@dataclass(frozen=True, slots=True)
class MixedModel(SplitModel):
    """Two models whose logits are mixed: (1 - share) of the anchor's, share of the model's own.

    A mix of logits is linear in both models' last hidden states, so it is itself a decoder and an output layer: the
    states stand side by side under both layers' weights, each scaled by its model's part, or are mixed where the two
    have one output layer. What needs a whole distribution gets it exactly.

    Attributes:
        anchor: the other model.
        share: the model's own part, in [0, 1].
        tied: both have the very same output layer.
    """

    anchor: SplitModel | None = None
    share: float = 1.0
    tied: bool = False

    def hidden(self, input_ids: Tensor) -> Tensor:
        """[R, L, 2 D], or [R, L, D] with one output layer; position t predicts token t + 1."""
        assert self.anchor is not None
        own, fixed = SplitModel.hidden(self, input_ids), self.anchor.hidden(input_ids)
        if self.tied:
            return torch.lerp(fixed, own, self.share)
        return torch.cat([own * self.share, fixed * (1.0 - self.share)], dim=-1)


class _Layer(nn.Module):
    """An output layer made of tensors that are there already."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias


@torch.no_grad()
def mixed(model: SplitModel, anchor: SplitModel, share: float) -> MixedModel:
    """Mixes the logits of two models of one vocabulary, with the weights they have now.

    Args:
        model: one.
        anchor: the other.
        share: part of the first, in [0, 1].
    """
    tied = model.weight is anchor.weight and model.bias is anchor.bias
    output: nn.Module = model.output
    if not tied:
        bias = None
        if model.bias is not None and anchor.bias is not None:
            bias = torch.lerp(anchor.bias, model.bias, share)
        output = _Layer(torch.cat([model.weight.detach(), anchor.weight], dim=1), bias)
    return MixedModel(model.model, model.decoder, output, model.packs, anchor=anchor, share=share, tied=tied)
