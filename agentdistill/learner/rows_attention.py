"""Attention over rows that lie one behind the other in a single sequence, so that no pass computes padding.

Everything else in a transformer looks at one token at a time and does not care whose row it is in. Only attention must
not look across rows; it gets a function of the caller's for the length of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agentdistill.learner.prefixes import SharedRows

Attend = Callable[[Tensor, Tensor, Tensor, float | None, float], Tensor]
"""(query [1, H, T, D], what the cache returned as keys, as values, scale, dropout) -> [1, H, T, D]."""

_NAME = "agentdistill_rows"
_current: ContextVar[Attend] = ContextVar("attend")


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function of a layer while `attending`; see transformers' `AttentionInterface`."""
    return _current.get()(query, key, value, scaling, dropout).transpose(1, 2), None


@contextmanager
def attending(model: Any, attend: Attend) -> Iterator[None]:
    """Lets every layer of a model attend with a function of the caller's.

    Args:
        model: a `transformers` model for which `takes_rows` holds.
        attend: what to use.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)
    config = model.config
    before = config._attn_implementation
    config._attn_implementation = _NAME
    token = _current.set(attend)
    try:
        yield
    finally:
        _current.reset(token)
        config._attn_implementation = before


def takes_rows(model: Any) -> bool:
    """Whether the layers of a model can be given another attention function, as far as its config tells.

    On other devices than the CPU, one call for each row costs more than padding.
    """
    config = getattr(model, "config", None)
    if config is None or getattr(config, "_attn_implementation", None) != "sdpa" or model.device.type != "cpu":
        return False
    text = config.get_text_config()
    windowed = getattr(text, "sliding_window", None) is not None and getattr(text, "use_sliding_window", True)
    return not windowed and set(getattr(text, "layer_types", None) or ()) <= {"full_attention"}


def attend_within(lengths: Sequence[int]) -> Attend:
    """Causal attention inside each of several rows.

    Args:
        lengths: tokens of each row; together they are the sequence.
    """
    sizes = list(lengths)

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float) -> Tensor:
        grouped = query.shape[1] != key.shape[1]
        parts = zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
        return torch.cat(
            [
                scaled_dot_product_attention(
                    q, k, v, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=grouped
                )
                for q, k, v in parts
            ],
            dim=2,
        )

    return attend


def attend_shared(shared: SharedRows) -> Attend:
    """Causal attention of the tokens of rows that share their beginnings.

    Args:
        shared: the rows; its tokens are the sequence.
    """
    sizes = [new for _, new in shared.own]
    keys = [shared.places[row] for row, _ in shared.own]
    # A row's own tokens are its last ones: the first of them sees everything before it.
    masks = [
        torch.ones(new, len(key), dtype=torch.bool).tril(len(key) - new) for new, key in zip(sizes, keys, strict=True)
    ]

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None, dropout: float) -> Tensor:
        grouped = query.shape[1] != key.shape[1]
        return torch.cat(
            [
                scaled_dot_product_attention(
                    q, key[:, :, place], value[:, :, place], mask, dropout, scale=scale, enable_gqa=grouped
                )
                for q, place, mask in zip(query.split(sizes, 2), keys, masks, strict=True)
            ],
            dim=2,
        )

    return attend
