"""What the comparisons with TRL share: how it is found, how far two results are apart, and the table of them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

torch.set_num_threads(1)  # everything here is small

Result = tuple[float, Tensor, Tensor]
"""Value, gradient of the hidden states, gradient of the output layer."""


def find(**wanted: str) -> Any:
    """TRL, with classes of its experimental modules as attributes.

    Args:
        **wanted: attribute name -> "module:class" below `trl.experimental`.

    Raises:
        SystemExit: with status 2, when TRL or what it needs is not installed.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    try:
        trl = importlib.import_module("trl")
        for name, place in wanted.items():
            module, _, attribute = place.partition(":")
            setattr(trl, name, getattr(importlib.import_module(f"trl.experimental.{module}"), attribute))
    except ModuleNotFoundError as error:
        print(f"TRL is needed for this comparison ({error.name} is missing): pip install trl", file=sys.stderr)
        raise SystemExit(2) from None
    return trl


def result(loss: Tensor, hidden: Tensor | list[Tensor], weight: Tensor) -> Result:
    """The loss and its gradients; those of several hidden states one after the other."""
    states = [hidden] if isinstance(hidden, Tensor) else hidden
    *slopes, slope = torch.autograd.grad(loss, (*states, weight))
    return float(loss.detach()), torch.cat(slopes).double(), slope.double()


def distance(a: Result, b: Result) -> float:
    """Largest difference of the values, or of the gradients relative to their largest entry."""
    slopes = [float((x - y).abs().max() / y.abs().max()) for x, y in zip(a[1:], b[1:], strict=True)]
    return max(abs(a[0] - b[0]), *slopes)


def heading() -> None:
    """Prints the head of the table."""
    print("| loss | TRL | ours | float64: ours - TRL | float32: ours | float32: TRL |")
    print("|---|---|---|---|---|---|")


def agrees(
    name: str,
    trl: Sequence[Result],
    ours: Sequence[Result],
    tolerance: Mapping[torch.dtype, float],
    loose: float = 1.0,
) -> bool:
    """Prints a row: differences from TRL's result in float64.

    Args:
        name: of the loss.
        trl: its results in float64 and in float32.
        ours: the same of ours.
        tolerance: what may be between our results and TRL's in float64.
        loose: times that much in float32.

    Returns:
        Whether ours is within the tolerance.
    """
    exact, theirs = trl
    double, single, reference = (distance(found, exact) for found in (*ours, theirs))
    print(f"| {name} | {exact[0]:.9f} | {ours[0][0]:.9f} | {double:.1e} | {single:.1e} | {reference:.1e} |")
    return double <= tolerance[torch.float64] and single <= loose * tolerance[torch.float32]
