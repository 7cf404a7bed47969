"""The tokenizer of a teacher that shows none."""

from __future__ import annotations

from typing import Any

from agentdistill.errors import DataError
from agentdistill.plugins import PluginRegistry


def load_tokenizer(source: str, registry: PluginRegistry | None) -> Any:
    """Loads a tokenizer by the name of a registered model, by directory, or by hub id.

    Raises:
        DataError: it cannot be loaded.
    """
    import transformers

    place = source
    if registry is not None and source in registry.names("model"):
        place = str(registry.get("model", source).path())
    try:
        return transformers.AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"Cannot load the teacher's tokenizer {source!r}."
        raise DataError(what, f"transformers says: {first}", "Correct teacher.tokenizer.") from error
