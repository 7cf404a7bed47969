from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import CHAT_TEMPLATE, tiny_model, tiny_tokenizer

from agentdistill.errors import ConfigError, DataError, TokenizationError
from agentdistill.models import (
    compare_tokenizers,
    count_parameters,
    fingerprint,
    generation_stop_ids,
    load_model,
    tokenizer_fingerprint,
    weights_fingerprint,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tiny_model(seed=1).save_pretrained(tmp_path / "small")
    tiny_tokenizer().save_pretrained(tmp_path / "small")
    return tmp_path / "small"


class Registry:
    """Only what `load_model` asks of a registry."""

    def __init__(self, **models: Path):
        self.models = models

    def names(self, kind: str) -> list[str]:
        return sorted(self.models) if kind == "model" else []

    def get(self, kind: str, name: str):
        return SimpleNamespace(path=lambda: self.models[name])


def test_a_directory_gives_the_model_that_was_saved(directory):
    loaded = load_model(str(directory))
    assert loaded.path == directory and loaded.name == str(directory)
    assert not loaded.model.training and loaded.model.dtype == torch.float32
    assert loaded.fingerprint == fingerprint(tiny_model(seed=1), tiny_tokenizer())


def test_a_registered_name_comes_before_everything(directory):
    loaded = load_model("small", registry=Registry(small=directory), dtype="bfloat16")
    assert loaded.name == "small" and loaded.path == directory
    assert loaded.model.dtype == torch.bfloat16


def test_an_unknown_name_is_met_with_the_names_there_are(directory):
    with pytest.raises(ConfigError, match="smal") as caught:
        load_model("smal", registry=Registry(small=directory))
    assert "small" in str(caught.value)


def test_a_missing_directory_is_said_to_be_missing(tmp_path):
    with pytest.raises(ConfigError, match="no model directory"):
        load_model(str(tmp_path / "nowhere"))


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(DataError, match=r"config\.json"):
        load_model(str(tmp_path))


def test_a_directory_without_weights(directory):
    (directory / "model.safetensors").unlink()
    with pytest.raises(DataError, match="complete"):
        load_model(str(directory))


def test_a_hub_id_that_cannot_be_reached_is_one_paragraph():
    with pytest.raises(DataError, match="Cannot load the model 'nobody/nothing'"):
        load_model("nobody/nothing")


def test_an_unknown_dtype(directory):
    with pytest.raises(ConfigError, match="float8"):
        load_model(str(directory), dtype="float8")


def test_a_tokenizer_without_a_template(directory):
    for name in ("chat_template.jinja",):
        (directory / name).unlink()
    with pytest.raises(TokenizationError, match="no chat template"):
        load_model(str(directory))


def test_a_tokenizer_larger_than_the_model(tmp_path):
    tiny_model(vocab=100).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(TokenizationError, match="259 tokens but the model embeds only 100"):
        load_model(str(tmp_path))


def test_fingerprints_change_with_any_weight_and_any_token():
    model, tokenizer = tiny_model(seed=1), tiny_tokenizer()
    before, other = weights_fingerprint(model), weights_fingerprint(tiny_model(seed=2))
    assert before == weights_fingerprint(tiny_model(seed=1)) != other
    with torch.no_grad():
        model.model.norm.weight[0] += 1e-6
    assert weights_fingerprint(model) != before
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(tiny_tokenizer())
    grown = tiny_tokenizer()
    grown.add_tokens(["<new>"])
    assert tokenizer_fingerprint(grown) != tokenizer_fingerprint(tokenizer)


def test_a_tokenizers_fingerprint_does_not_depend_on_how_it_was_called():
    used = tiny_tokenizer()
    before = tokenizer_fingerprint(used)
    used(["a", "longer text"], padding=True, truncation=True, max_length=4)
    assert tokenizer_fingerprint(used) == before


def test_equal_tokenizers_compare_equal():
    compare_tokenizers(tiny_tokenizer(), tiny_tokenizer())


def test_the_same_size_is_not_the_same_vocabulary():
    a, b = tiny_tokenizer(), tiny_tokenizer()
    a.add_tokens(["<left>"])
    b.add_tokens(["<right>"])
    assert len(a) == len(b)
    with pytest.raises(TokenizationError, match=r"differ in 1 of 260 ids.*'<left>' for the student and '<right>'"):
        compare_tokenizers(a, b)


def test_a_longer_vocabulary_is_named():
    longer = tiny_tokenizer()
    longer.add_tokens(["<more>"])
    with pytest.raises(TokenizationError, match="unused for the student and '<more>' for the teacher"):
        compare_tokenizers(tiny_tokenizer(), longer)


def test_special_tokens_are_compared():
    other = tiny_tokenizer()
    other.eos_token = "<|endoftext|>"
    with pytest.raises(TokenizationError, match="`eos` is 2 for the student and 0 for the judge"):
        compare_tokenizers(tiny_tokenizer(), other, ("student", "judge"))


def test_templates_are_compared_and_the_first_difference_shown():
    other = tiny_tokenizer(CHAT_TEMPLATE.replace("assistant", "agent"))
    with pytest.raises(TokenizationError, match=r"other chat templates.*agent"):
        compare_tokenizers(tiny_tokenizer(), other)


def test_tied_parameters_count_once():
    model = tiny_model(layers=1, hidden=64, vocab=100)
    assert count_parameters(model) == sum(p.numel() for p in dict(model.named_parameters()).values())
    model.model.embed_tokens.weight.requires_grad_(False)
    assert count_parameters(model) - count_parameters(model, trainable=True) == 6400


def test_stop_tokens_of_the_generation_config():
    model = tiny_model(layers=1)
    assert generation_stop_ids(model) == (2,)
    model.generation_config.eos_token_id = [2, 0]
    assert generation_stop_ids(model) == (2, 0)
    model.generation_config.eos_token_id = None
    assert generation_stop_ids(model) == generation_stop_ids(object()) == ()
