"""A model's weights as a plain checkpoint has them: adapters added to their layers, tied weights under both names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from agentdistill.errors import ConfigError


@torch.no_grad()
def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields every weight as the plain model has it. The model is not changed, not even in its last bit.

    Merging in place and taking the adapter out again would round every weight twice a time.

    Args:
        model: a `transformers` causal language model, with or without a LoRA adapter of `peft`.

    Yields:
        (name, tensor), in the order of the state dict. A tied output layer is there as well as the embedding it is tied
        to. Tensors without an adapter are the model's own, not copies.

    Raises:
        ConfigError: an adapter is of a kind that cannot be added to a weight.
    """
    base: Any = model.get_base_model() if hasattr(model, "peft_config") else model  # type: ignore[operator]
    adapted: dict[str, Any] = {}
    for name, module in base.named_modules():
        if hasattr(module, "base_layer") and hasattr(module, "get_delta_weight"):
            if any(getattr(module, "lora_variant", {}).values()):
                raise ConfigError(
                    f"The adapter of the layer `{name}` cannot be merged.",
                    "It is not a plain low-rank update, which is added to the weight.",
                    "Train with a plain LoRA adapter.",
                )
            adapted[f"{name}.base_layer.weight"] = module
    own = {f"{name}." for name, module in base.named_modules() if name.rpartition(".")[2].startswith("lora_")}
    for name, tensor in base.state_dict().items():
        if any(name.startswith(prefix) for prefix in own):
            continue
        module = adapted.get(name)
        if module is not None and not module.merged:
            tensor = tensor.clone()
            for adapter in module.active_adapters:
                if adapter in module.lora_A or adapter in module.lora_embedding_A:
                    tensor += module.get_delta_weight(adapter).to(tensor.dtype)
        yield name.replace(".base_layer.", "."), tensor
