"""Teacher scores as named arrays of bytes and back, every bit: NaN payloads, 16-bit floats, hidden states."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from agentdistill.errors import DataError
from agentdistill.records import TeacherScores

PLAIN = tuple(field.name for field in dataclasses.fields(TeacherScores) if field.name != "hidden")
"""Fields of `TeacherScores` that are NumPy arrays or None."""

_TORCH = "torch:"


class Packed(NamedTuple):
    """An array as bytes.

    Attributes:
        dtype: NumPy's name of a little-endian dtype, or "torch:" and the name of a torch dtype.
        shape: its shape.
        deflated: the bytes are compressed with zlib. Most positions of a row are context without a score, so that
            scores shrink a lot; hidden states do not and are kept as they are.
        data: the bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    deflated: bool
    data: bytes


def pack_scores(scores: TeacherScores) -> dict[str, Packed]:
    """The arrays of a row's scores by name; fields that are None are left out.

    Raises:
        DataError: hidden states are neither a `SparseStates` nor an array nor a tensor.
    """
    found = {name: getattr(scores, name) for name in PLAIN}
    packed = {name: pack_array(array, deflate=True) for name, array in found.items() if array is not None}
    hidden = scores.hidden
    if hidden is None:
        return packed
    if all(hasattr(hidden, name) for name in ("length", "positions", "states")):
        packed["hidden.positions"] = pack_tensor(hidden.positions, deflate=True)
        packed["hidden.states"] = pack_tensor(hidden.states)
    elif isinstance(hidden, np.ndarray):
        packed["hidden.array"] = pack_array(hidden)
    elif hasattr(hidden, "detach"):
        packed["hidden.tensor"] = pack_tensor(hidden)
    else:
        raise DataError(
            f"Hidden states of the type {type(hidden).__name__} cannot be kept.",
            "The cache knows `SparseStates`, arrays and tensors.",
            'Let the teacher return one of these, or set teacher.cache = "off".',
        )
    return packed


def unpack_scores(packed: Mapping[str, Packed]) -> TeacherScores:
    """Reverses `pack_scores`. Tensors lie on the CPU, whatever device they came from."""
    fields: dict[str, Any] = {name: unpack_array(packed[name]) for name in PLAIN if name in packed}
    if "hidden.states" in packed:
        from agentdistill.teachers.scoring import SparseStates

        fields["hidden"] = SparseStates(
            len(fields["sampled_logprob"]),
            unpack_tensor(packed["hidden.positions"]),
            unpack_tensor(packed["hidden.states"]),
        )
    elif "hidden.array" in packed:
        fields["hidden"] = unpack_array(packed["hidden.array"])
    elif "hidden.tensor" in packed:
        fields["hidden"] = unpack_tensor(packed["hidden.tensor"])
    return TeacherScores(**fields)


def pack_array(array: np.ndarray[Any, Any], *, deflate: bool = False) -> Packed:
    """A NumPy array as bytes."""
    flat = np.ascontiguousarray(array)
    flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    data = flat.tobytes()
    return Packed(flat.dtype.name, tuple(array.shape), deflate, zlib.compress(data, 1) if deflate else data)


def unpack_array(packed: Packed) -> np.ndarray[Any, Any]:
    """Reverses `pack_array`; the result is writable and in native byte order.

    Raises:
        DataError: the bytes do not fill the shape.
    """
    dtype = np.dtype(packed.dtype)
    data = _inflated(packed, dtype.itemsize)
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(packed.shape)


def pack_tensor(tensor: Any, *, deflate: bool = False) -> Packed:
    """A torch tensor as bytes."""
    import torch

    flat = tensor.detach().to("cpu").contiguous().flatten()
    data = flat.view(torch.uint8).numpy().tobytes()
    name = _TORCH + str(tensor.dtype).removeprefix("torch.")
    return Packed(name, tuple(tensor.shape), deflate, zlib.compress(data, 1) if deflate else data)


def unpack_tensor(packed: Packed) -> Any:
    """Reverses `pack_tensor`.

    Raises:
        DataError: the bytes do not fill the shape.
    """
    import torch

    dtype = getattr(torch, packed.dtype.removeprefix(_TORCH))
    data = _inflated(packed, dtype.itemsize)
    return torch.frombuffer(data, dtype=dtype).reshape(packed.shape) if data else torch.zeros(packed.shape, dtype=dtype)


def _inflated(packed: Packed, itemsize: int) -> bytearray:
    data = bytearray(zlib.decompress(packed.data) if packed.deflated else packed.data)
    if len(data) != math.prod(packed.shape) * itemsize:
        raise DataError(f"A kept {packed.dtype} array of shape {packed.shape} has {len(data)} bytes.", "It is damaged.")
    return data
