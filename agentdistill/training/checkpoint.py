"""Checkpoints: written whole or not at all, and enough to resume bit for bit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentdistill.atomic import atomic_directory, leftovers
from agentdistill.errors import CheckpointError

_NAME = re.compile(r"step-(\d{6,})")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on disk.

    Attributes:
        path: its directory: `student/` (a Hugging Face directory), `trainer.pt`, `state.json`.
        step: optimiser steps done when it was written.
        state: contents of `state.json`.
    """

    path: Path
    step: int
    state: Mapping[str, Any]


def save_checkpoint(
    directory: Path,
    *,
    step: int,
    student: Any,
    tokenizer: Any,
    trainer_state: Mapping[str, Any],
    state: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes `directory/step-NNNNNN` atomically, then drops all but the newest `keep` checkpoints.

    What a process left that was killed while it wrote one goes, too: a run directory is one process's at a time.

    Args:
        directory: folder of the run's checkpoints.
        step: optimiser steps done.
        student: the model (or its adapter), saved with `save_pretrained`.
        tokenizer: saved beside it, so that the folder loads on its own.
        trainer_state: tensors and numbers of the learner (`Learner.state_dict`).
        state: JSON-able rest: curriculum, config hash, counters.
        keep: number of checkpoints to keep, at least 1.

    Returns:
        The new checkpoint's directory.
    """
    import torch

    target = directory / f"step-{step:06d}"
    if target.exists():  # a resumed run comes by again with the same content
        shutil.rmtree(target)
    with atomic_directory(target) as partial:
        student.save_pretrained(partial / "student")
        tokenizer.save_pretrained(partial / "student")
        torch.save(dict(trainer_state), partial / "trainer.pt")
        text = json.dumps({"format": _FORMAT, "step": step, **state}, indent=1, sort_keys=True)
        (partial / "state.json").write_text(text + "\n")
    for unfinished in leftovers(directory):
        shutil.rmtree(unfinished)
    for old in list_checkpoints(directory)[:-keep]:
        shutil.rmtree(old.path)
    return target


def list_checkpoints(directory: Path) -> list[Checkpoint]:
    """Complete checkpoints under `directory`, oldest first."""
    found = []
    for path in directory.glob("step-*"):
        match = _NAME.fullmatch(path.name)
        if match and (path / "state.json").is_file():
            try:
                state = json.loads((path / "state.json").read_text())
            except ValueError as error:
                raise CheckpointError(
                    f"The checkpoint {path.name} cannot be read.",
                    f"Its state.json is not JSON: {error}.",
                    f"Delete {path.name} to go on from the checkpoint before it.",
                ) from error
            found.append(Checkpoint(path, int(match[1]), state))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def latest_checkpoint(directory: Path, config_hash: str) -> Checkpoint:
    """The newest checkpoint, which must belong to this configuration.

    Raises:
        CheckpointError: there is none, or it was written under another configuration or format.
    """
    found = list_checkpoints(directory)
    if not found:
        raise CheckpointError(
            f"There is no checkpoint to resume from in {directory}.",
            "The run stopped before its first checkpoint, or the folder is another run's.",
            "Start the run afresh with a new --output, or without --resume.",
        )
    newest = found[-1]
    if newest.state.get("format") != _FORMAT:
        raise CheckpointError(
            f"The checkpoint {newest.path.name} has format {newest.state.get('format')}, this version reads {_FORMAT}.",
            "It was written by another version of agentdistill.",
            "Resume it with the version that wrote it; its student/ folder loads anywhere as a model directory.",
        )
    if newest.state.get("config_hash") != config_hash:
        raise CheckpointError(
            f"The checkpoint {newest.path.name} belongs to another configuration.",
            f"It was written under config {newest.state.get('config_hash')}, this run's is {config_hash}.",
            "Resume with the recipe and overrides of the first start (they are in the run's config.toml), "
            "or start a new run from its student/ folder with --student.model.",
        )
    return newest


def load_trainer_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """The learner's state of a checkpoint."""
    import torch

    state: dict[str, Any] = torch.load(checkpoint.path / "trainer.pt", weights_only=True, map_location="cpu")
    return state


def load_student_weights(checkpoint: Checkpoint, model: Any) -> None:
    """Loads a checkpoint's weights into a model of the same shape, in place and exactly.

    Raises:
        CheckpointError: the stored tensors are not those of the model.
    """
    from safetensors.torch import load_file

    directory = checkpoint.path / "student"
    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict
        from peft.utils import load_peft_weights

        outcome = set_peft_model_state_dict(model, load_peft_weights(str(directory), device="cpu"))
        unexpected = list(getattr(outcome, "unexpected_keys", ()))
        missing: list[str] = []
    else:
        stored: dict[str, Any] = {}
        for file in sorted(directory.glob("*.safetensors")):
            stored.update(load_file(file))
        result = model.load_state_dict(stored, strict=False)
        tied = set(getattr(model, "_tied_weights_keys", None) or ())
        missing = [key for key in result.missing_keys if key not in tied]
        unexpected = list(result.unexpected_keys)
    if missing or unexpected:
        raise CheckpointError(
            f"The checkpoint {checkpoint.path.name} does not fit the student.",
            f"Missing tensors: {missing[:3]}; unexpected tensors: {unexpected[:3]}.",
            "Resume with the same student.model and student.lora as the first start.",
        )
