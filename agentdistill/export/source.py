"""What is exported: a student on disk, with or without an adapter, and what its run says about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.config.load import load_config
from agentdistill.errors import ConfigError, DataError, import_extra
from agentdistill.models import LoadedModel, load_model

if TYPE_CHECKING:
    from agentdistill.config.resolved import ResolvedConfig
    from agentdistill.plugins.registry import PluginRegistry

ADAPTER = "adapter_config.json"
"""The file by which a directory that `peft` wrote is known."""


@dataclass(slots=True)
class Source:
    """A student to be exported.

    Attributes:
        student: the model as it was trained, its adapter apart.
        name: what to call it.
        base: what it was made from, as the recipe names it; "" when nothing says.
        base_directory: where that lies; None when it does not lie on this machine.
        recipe: configuration it was trained with; None when nothing says.
        results: contents of its run's `results.json`, or of an evaluation's as {"after": ...}; empty without.
        adapter: it was trained as a LoRA adapter.
    """

    student: LoadedModel
    name: str
    base: str = ""
    base_directory: Path | None = None
    recipe: ResolvedConfig | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    adapter: bool = False


def of_run(run: Path, registry: PluginRegistry) -> Source:
    """The finished student of a run.

    Raises:
        DataError: there is no such run, or it has not finished.
    """
    if not (run / "config.toml").is_file():
        raise DataError(f"There is no run in {run}.", "It has no `config.toml`.", "Give a folder as runs/NAME.")
    if not (run / "student").is_dir():
        raise DataError(
            f"The run in {run} has no finished student.",
            "A run writes it after its last step.",
            f"Go on with --resume, or export a checkpoint with --student {run}/checkpoints/step-…/student.",
        )
    source = of_directory(run / "student", registry)
    source.name = run.resolve().name
    return source


def of_directory(directory: Path, registry: PluginRegistry) -> Source:
    """A student in a directory; its run is looked for around it.

    Raises:
        DataError: there is none, or what its adapter was trained on cannot be found.
    """
    folder, results = _run_around(directory)
    recipe = load_config([str(folder / "config.toml")], {"run.resume": False}, registry=registry) if folder else None
    section = recipe.config.student if recipe is not None else None
    base = section.model if section is not None else ""
    name = re.sub(r"[^\w.-]+", "-", (folder or directory).resolve().name)
    dtype = section.dtype if section is not None else "float32"
    if not (directory / ADAPTER).is_file():
        student = load_model(str(directory), dtype=dtype)
        return Source(student, name, base, _base_directory(base, registry), recipe, results)
    config = json.loads((directory / ADAPTER).read_text(encoding="utf-8"))
    base = base or str(config.get("base_model_name_or_path") or "")
    if not base:
        raise DataError(
            f"{directory} holds an adapter alone.",
            "Neither it nor a run around it says which model it belongs to.",
            "Export it from its run.",
        )
    student = load_model(base, registry=registry, dtype=dtype)
    peft = import_extra("peft", "lora", "A student with a LoRA adapter")
    student.model = peft.PeftModel.from_pretrained(student.model, str(directory)).eval()
    return Source(student, name, base, _base_directory(base, registry), recipe, results, adapter=True)


def _run_around(directory: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The run that a student's directory lies in, and its results; those of a run are about its last student only."""
    for folder in (directory.parent, directory.parent.parent.parent):  # runs/X/student, runs/X/checkpoints/S/student
        if (folder / "config.toml").is_file():
            path = folder / "results.json"
            if folder != directory.parent or not path.is_file():
                return folder, {}
            return folder, json.loads(path.read_text(encoding="utf-8"))
    return None, {}


def _base_directory(base: str, registry: PluginRegistry) -> Path | None:
    if base in registry.names("model"):
        return registry.path("model", base)
    path = Path(base).expanduser()
    return path if base and path.is_dir() else None


def license_of(directory: Path | None) -> str:
    """The licence that a model's own card states, "" for none."""
    card = directory / "README.md" if directory is not None else None
    if card is None or not card.is_file():
        return ""
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.S)
    found = re.search(r"^license:\s*(\S+)\s*$", front[1], re.M) if front else None
    return found[1].strip("\"'") if found else ""


def require_one(run: str | None, student: str | None) -> None:
    """Stops unless exactly one of the two was given.

    Raises:
        ConfigError: none was, or both.
    """
    if (run is None) == (student is None):
        raise ConfigError(
            "Say what to export: a run, or a student's directory.",
            "Both were given." if run else "None was given.",
            "Write `agentdistill export runs/NAME --output DIR`, or --student DIR in the place of the run.",
        )
