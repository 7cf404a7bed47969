"""A Gymnasium space of texts. Importing this module imports gymnasium."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Space

_SAMPLED = "abcdefghijklmnopqrstuvwxyz 0123456789"
_SAMPLED_LENGTH = 32


class Utf8Text(Space[str]):
    """Every text that can be written as UTF-8, up to a length.

    Gymnasium's own `Text` accepts only characters of a finite set, by default without the space. Vector environments
    hold such texts in a tuple; `AsyncVectorEnv` needs `shared_memory=False` and says so (with `Text` it silently
    returns garbage).

    Args:
        max_length: most characters, None for no limit.
        seed: seed of `sample`.
    """

    def __init__(self, max_length: int | None = None, seed: int | np.random.Generator | None = None) -> None:
        if max_length is not None and max_length < 0:
            raise ValueError(f"max_length must not be negative, got {max_length}")
        self.max_length = max_length
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Texts are not arrays."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draws a short text of letters, digits and spaces.

        Args:
            mask: not supported.
            probability: not supported.

        Raises:
            ValueError: a mask or probabilities were given.
        """
        if mask is not None or probability is not None:
            raise ValueError("Utf8Text samples without mask and probability")
        longest = _SAMPLED_LENGTH if self.max_length is None else min(self.max_length, _SAMPLED_LENGTH)
        length = int(self.np_random.integers(longest + 1))
        return "".join(_SAMPLED[int(i)] for i in self.np_random.integers(len(_SAMPLED), size=length))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a text that can be encoded (no lone surrogates) and is short enough."""
        if not isinstance(x, str) or (self.max_length is not None and len(x) > self.max_length):
            return False
        try:
            x.encode()
        except UnicodeEncodeError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Utf8Text) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((Utf8Text, self.max_length))

    def __repr__(self) -> str:
        return f"Utf8Text({'' if self.max_length is None else self.max_length})"
