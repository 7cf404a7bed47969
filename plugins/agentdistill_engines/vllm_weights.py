"""The student's weights as vLLM reads them from disk: a checkpoint, or the adapter alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel


def write_checkpoint(model: LoadedModel, folder: Path, *, whole: bool = False) -> None:
    """Writes the merged weights, with the output layer under its own name even where it is tied.

    vLLM reloads a tied model whose checkpoint has no `lm_head.weight` half: new embeddings, old output layer.

    Args:
        model: the student.
        folder: where; it must not be there yet.
        whole: with config and tokenizer, so that the folder loads on its own.
    """
    import torch
    from safetensors.torch import save_file

    from agentdistill.learner.merged import merged_weights

    inner: Any = model.model.get_base_model() if hasattr(model.model, "get_base_model") else model.model
    # Tensors that share memory cannot be saved twice: a tied output layer gets a copy.
    seen: set[int] = set()
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in merged_weights(model.model):
        place = tensor.data_ptr()
        tensors[name] = tensor.detach().clone() if place in seen else tensor.detach().contiguous()
        seen.add(place)
    # Nobody reads the folder before they are told, and nobody needs it after a crash: it need not appear at once.
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if whole:
        inner.config.save_pretrained(folder)
        inner.generation_config.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)


def write_adapter(model: LoadedModel, folder: Path) -> None:
    """Writes the adapter alone, as `peft` does."""
    folder.mkdir(parents=True)
    model.model.save_pretrained(folder)


class Folders:
    """Two folders in turn, so that what vLLM may still have open is never written over.

    Args:
        root: where.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = 0

    def next(self, kind: str) -> Path:
        """A folder that was never used; the one before the last is removed."""
        old = self.root / f"{kind}-{self._count - 1}"
        if old.exists():
            shutil.rmtree(old)
        self._count += 1
        path = self.root / f"{kind}-{self._count}"
        if path.exists():  # of a run that was killed
            shutil.rmtree(path)
        return path
