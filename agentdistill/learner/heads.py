"""A causal language model taken apart: the decoder that makes hidden states, and the output layer that makes logits.

Losses over the whole vocabulary apply the output layer themselves, a few tokens at a time. That is only right for
models whose logits are exactly `hidden @ weight.T (+ bias)`, so it is checked on every model before use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from agentdistill.errors import TrainingError
from agentdistill.learner.prefixes import share_prefixes
from agentdistill.learner.rows_attention import attend_shared, attend_within, attending, takes_rows


@dataclass(frozen=True, slots=True)
class SplitModel:
    """Decoder and output layer of a causal language model.

    Attributes:
        model: the whole model.
        decoder: makes the last hidden states.
        output: the output layer.
        packs: whether rows can be fed one behind the other, so that padding costs nothing.
    """

    model: nn.Module
    decoder: nn.Module
    output: nn.Module
    packs: bool = False

    @property
    def weight(self) -> Tensor:
        """[V, D]."""
        return self.output.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        """[V] or None."""
        return getattr(self.output, "bias", None)

    def layer(self, vocabulary: int) -> tuple[Tensor, Tensor | None]:
        """The output layer's weight and bias for the first ids; whole tensors are not sliced, which would copy."""
        if vocabulary == len(self.weight):
            return self.weight, self.bias
        return self.weight[:vocabulary], None if self.bias is None else self.bias[:vocabulary]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weight.device

    def hidden(self, input_ids: Tensor) -> Tensor:
        """Last hidden states of right-padded rows.

        A causal model needs no mask for padding on the right: nothing looks at it. Without one, attention takes its
        fast causal path. `split_model` checks that what follows a token does not change its state. Where the model
        can take rows one behind the other, padding is not even computed, and what most rows begin with only once.

        Args:
            input_ids: int64 [R, L], right-padded with -1.

        Returns:
            [R, L, D]; position t predicts token t + 1. States of padding mean nothing.
        """
        real = input_ids >= 0
        padded = not bool(real.all())
        if self.packing and len(input_ids) > 1:
            shared = share_prefixes([row[row >= 0] for row in input_ids])
            if shared.worth_it:
                with attending(self.decoder, attend_shared(shared)):
                    output = self.decoder(
                        input_ids=shared.tokens[None], position_ids=shared.positions[None], use_cache=False
                    )
                places = pad_sequence(shared.places, batch_first=True)
                return output.last_hidden_state[0][places]
        if padded and self.packing:
            positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)[real][None]
            with attending(self.decoder, attend_within(real.sum(dim=1).tolist())):
                output = self.decoder(input_ids=input_ids[real][None], position_ids=positions, use_cache=False)
            flat = output.last_hidden_state[0]
            states = flat.new_zeros(*input_ids.shape, flat.shape[-1])
            states[real] = flat
            return states
        ids = input_ids.clamp(min=0) if padded else input_ids
        return self.decoder(input_ids=ids.to(self.device), use_cache=False).last_hidden_state

    @property
    def packing(self) -> bool:
        """Whether rows are fed one behind the other now: not where layers run once more in the backward pass."""
        return self.packs and not (
            torch.is_grad_enabled()
            and any(getattr(module, "gradient_checkpointing", False) for module in self.decoder.modules())
        )


def unwrap(model: Any) -> nn.Module:
    """The module inside a `LoadedModel`, or the module itself."""
    if isinstance(model, nn.Module):
        return model
    inner = getattr(model, "model", None)
    if isinstance(inner, nn.Module):
        return inner
    raise TypeError(f"expected a torch module or a LoadedModel, got {type(model).__name__}")


def split_model(model: Any, tolerance: float = 1e-3) -> SplitModel:
    """Takes a model apart and checks on a probe that the parts make the same logits.

    Args:
        model: a `transformers` causal language model, possibly wrapped by peft, or a `LoadedModel`.
        tolerance: largest allowed difference of a log-probability in float32; low-precision models get 100 times more.

    Returns:
        The parts.

    Raises:
        TrainingError: the logits are not a plain linear function of the last hidden state (softcapped or scaled
            logits, an adapted output layer), or the model is not causal.
    """
    module = unwrap(model)
    inner = module.get_base_model() if hasattr(module, "get_base_model") else module  # type: ignore[operator]
    output = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None  # type: ignore[operator]
    decoder = getattr(inner, "base_model", None)
    if output is None or not isinstance(getattr(output, "weight", None), Tensor) or decoder in (None, inner):
        raise TrainingError(
            f"The model {type(inner).__name__} cannot be trained here.",
            "It does not separate a decoder from an output layer as transformers' causal language models do.",
            "Use a `transformers` AutoModelForCausalLM architecture.",
        )
    parts = SplitModel(module, decoder, output)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            probe = torch.arange(min(8, len(parts.weight)), device=parts.device)[None]
            expected = inner(input_ids=probe, use_cache=False).logits.float().log_softmax(-1)
            padded = torch.cat([probe, torch.zeros_like(probe)], dim=1)
            states = parts.hidden(padded)[:, : probe.shape[1]]
            logits = nn.functional.linear(states, parts.weight, parts.bias)
            same = logits.shape == expected.shape
            gap = float((logits.float().log_softmax(-1) - expected).abs().max()) if same else float("inf")
            parts = replace(parts, packs=takes_rows(decoder) and _packs(parts, tolerance))
    finally:
        module.train(training)
    allowed = tolerance if parts.weight.dtype == torch.float32 else 100 * tolerance
    if not gap <= allowed:
        raise TrainingError(
            f"The logits of {type(inner).__name__} are not its output layer applied to its last hidden state.",
            f"Log-probabilities differ by {gap:.2g} on a probe; the model scales, caps or adapts its logits, or looks "
            "at what follows a token.",
            "Choose a model with a plain output layer, and leave `lm_head` out of the LoRA targets.",
        )
    return parts


def _packs(parts: SplitModel, tolerance: float) -> bool:
    """Whether two rows fed one behind the other have the states they have alone."""
    rows = torch.tensor([[0, 1, 2, 3, 4], [2, 1, 0, -1, -1]]).clamp(max=len(parts.weight) - 1)
    packed, alone = replace(parts, packs=True).hidden(rows), parts.hidden(rows)
    largest = float(alone.abs().max())
    return float((packed - alone)[rows >= 0].abs().max()) <= tolerance * max(largest, 1.0)


def enable_checkpointing(model: Any) -> None:
    """Recomputes activations in the backward pass; also right for frozen models with adapters."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    model.enable_input_require_grads()
