"""Loading models and tokenizers, and telling them apart by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import ConfigError, DataError, TokenizationError
from agentdistill.hashing import digest

if TYPE_CHECKING:
    from agentdistill.plugins import PluginRegistry

DTYPES = ("float32", "bfloat16", "float16")
_SHOWN = 3


@dataclass(slots=True)
class LoadedModel:
    """A causal language model with its tokenizer.

    Attributes:
        model: a `transformers` causal LM in eval mode.
        tokenizer: its tokenizer, with a chat template.
        name: what the user called it.
        path: directory it came from; None for one fetched by hub id or made in memory.
        fingerprint: `fingerprint(model, tokenizer)` when it was loaded.
    """

    model: Any
    tokenizer: Any
    name: str
    path: Path | None
    fingerprint: str


def load_model(
    spec: str, *, registry: PluginRegistry | None = None, device: str = "cpu", dtype: str = "float32"
) -> LoadedModel:
    """Loads a model by the name of a registered one, by directory, or by hub id.

    Args:
        spec: registered model name, else a directory, else a hub id ("owner/name") for `from_pretrained`.
        registry: where registered names are looked up; None knows none.
        device: torch device.
        dtype: one of `DTYPES`.

    Returns:
        The model in eval mode on its device.

    Raises:
        ConfigError: the dtype is unknown, or nothing has that name.
        DataError: the directory is incomplete, or the model could not be fetched.
        TokenizationError: the tokenizer has no chat template or more tokens than the model has embeddings.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # bars of loading and saving would tear the run's own lines
    if dtype not in DTYPES:
        raise ConfigError(f"Unknown dtype {dtype!r}.", "", f"Use one of {', '.join(DTYPES)}.")
    path = _find(spec, registry)
    source = spec if path is None else str(path)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if path is not None:
            do = "Check that its weights, config and tokenizer files are complete."
        else:
            known = ", ".join(registry.names("model")) if registry is not None else ""
            do = "Give a directory, a hub id that this machine can reach" + (
                f", or a registered model: {known}." if known else "."
            )
        raise DataError(f"Cannot load the model {spec!r}.", f"transformers says: {first}", do) from error
    _require_chat(tokenizer, model, spec)
    model.to(device).eval()
    return LoadedModel(model, tokenizer, spec, path, fingerprint(model, tokenizer))


def _find(spec: str, registry: PluginRegistry | None) -> Path | None:
    if registry is not None and spec in registry.names("model"):
        return registry.get("model", spec).path()
    path = Path(spec).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise DataError(
                f"The directory {spec!r} holds no model.",
                "It has no `config.json`.",
                "Give a directory written by `save_pretrained`.",
            )
        return path
    if spec.count("/") > 1 or spec.startswith((".", "/", "~")):
        raise ConfigError(f"There is no model directory {spec!r}.", "", "Check the path.")
    if "/" not in spec and registry is not None:
        from agentdistill.plugins.suggest import hint

        names = registry.names("model")
        raise ConfigError(
            f"There is no model {spec!r}.{hint(spec, names)}",
            "It is neither a registered model nor a directory, and a hub id has the form owner/name.",
            f"Registered models: {', '.join(names) or 'none'}.",
        )
    return None


def _require_chat(tokenizer: Any, model: Any, spec: str) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise TokenizationError(
            f"The tokenizer of {spec!r} has no chat template.",
            "Agents talk in turns, and only a template says how turns become tokens.",
            "Use an instruct or chat model, or save a template into its tokenizer directory (`chat_template.jinja`).",
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise TokenizationError(
            f"The tokenizer of {spec!r} has {len(tokenizer)} tokens but the model embeds only {rows}.",
            "They do not belong together.",
            "Load the tokenizer that the model was trained with, or resize the embeddings and train them.",
        )


def count_parameters(model: Any, trainable: bool = False) -> int:
    """Number of parameters, tied ones counted once; only those that require gradients when `trainable`."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def generation_stop_ids(model: Any) -> tuple[int, ...]:
    """Token ids at which the model's own generation config ends a response; often more than its tokenizer names."""
    config = getattr(model, "generation_config", None)
    ids = getattr(config, "eos_token_id", None)
    if ids is None:
        return ()
    return (int(ids),) if isinstance(ids, int) else tuple(int(index) for index in ids)


def fingerprint(model: Any, tokenizer: Any) -> str:
    """Sixteen hex digits that change whenever a weight or the tokenizer does."""
    return digest([weights_fingerprint(model), tokenizer_fingerprint(tokenizer)])[:16]


def weights_fingerprint(model: Any) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all weights, as 64 hex digits; independent of the device."""
    import torch

    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().to("cpu").contiguous().flatten()
        sha.update(memoryview(flat.view(torch.uint8).numpy()))
    return sha.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 over vocabulary, special ids, chat template and segmentation rules, as 64 hex digits."""
    return digest([_vocabulary(tokenizer), _special(tokenizer), _template(tokenizer), _rules(tokenizer)])


def _vocabulary(tokenizer: Any) -> list[tuple[int, str]]:
    return sorted((int(index), token) for token, index in tokenizer.get_vocab().items())


def _special(tokenizer: Any) -> dict[str, Any]:
    named = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "pad", "unk")}
    return {**named, "all": sorted(int(index) for index in tokenizer.all_special_ids)}


def _template(tokenizer: Any) -> Any:
    return getattr(tokenizer, "chat_template", None)


def _rules(tokenizer: Any) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return type(tokenizer).__name__
    rules: Mapping[str, Any] = json.loads(backend.to_str())
    # Truncation and padding are call settings that leak into the serialised form.
    return {key: value for key, value in rules.items() if key not in ("truncation", "padding", "version")}


def compare_tokenizers(a: Any, b: Any, names: tuple[str, str] = ("student", "teacher")) -> None:
    """Requires that two tokenizers mean the same by every token id and write turns the same way.

    Sizes say nothing: ids are compared one by one, then the special ids, then the chat templates.

    Args:
        a: a tokenizer.
        b: another.
        names: what to call them in the error.

    Raises:
        TokenizationError: they differ; the first differences are named.
    """
    first, second = names
    advice = (
        f"Use a {second} of the {first}'s model family with the very same tokenizer, "
        "or a loss that works across tokenizers."
    )
    left, right = dict(_vocabulary(a)), dict(_vocabulary(b))
    different = [index for index in sorted({*left, *right}) if left.get(index) != right.get(index)]
    if different:
        shown = "; ".join(
            f"id {index} is {_name(left, index)} for the {first} and {_name(right, index)} for the {second}"
            for index in different[:_SHOWN]
        )
        raise TokenizationError(
            f"The tokenizers of {first} and {second} differ in {len(different)} of {max(len(left), len(right))} ids.",
            f"{shown[0].upper()}{shown[1:]}.",
            advice,
        )
    special_a, special_b = _special(a), _special(b)
    if special_a != special_b:
        key = next(key for key in special_a if special_a[key] != special_b[key])
        raise TokenizationError(
            f"The tokenizers of {first} and {second} have the same vocabulary but other special tokens.",
            f"`{key}` is {special_a[key]} for the {first} and {special_b[key]} for the {second}.",
            advice,
        )
    if _template(a) != _template(b):
        raise TokenizationError(
            f"The tokenizers of {first} and {second} have the same tokens but other chat templates.",
            f"{_first_difference(str(_template(a)), str(_template(b)), first, second)}",
            f"Copy the {first}'s chat template into the {second}'s tokenizer directory if the {second} can read it; "
            "otherwise use another model.",
        )


def _name(vocabulary: Mapping[int, str], index: int) -> str:
    return repr(vocabulary[index]) if index in vocabulary else "unused"


def _first_difference(a: str, b: str, first: str, second: str) -> str:
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    here = slice(max(0, at - 20), at + 20)
    return f"From character {at} on, the {first} has {a[here]!r} and the {second} {b[here]!r}."
