"""Merged weights: those of peft to the last bit, and the model is left as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import tiny_model

from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.learner.merged import merged_weights


def adapted(**config):
    model = add_lora(tiny_model(seed=2, **config), LoraSettings(rank=4, seed=1))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.oracle
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_is_added_as_peft_merges_it(tied):
    model = adapted(tie_word_embeddings=tied)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = dict(merged_weights(model))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    wanted = copy.deepcopy(model).merge_and_unload().state_dict()
    assert list(found) == list(wanted) and "lm_head.weight" in found
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    plain = tiny_model(seed=2, tie_word_embeddings=tied).state_dict()
    changed = {name for name in plain if not torch.equal(plain[name], found[name])}
    assert changed and all("_proj" in name for name in changed)


def test_a_plain_model_gives_its_own_tensors():
    model = tiny_model()
    for name, tensor in merged_weights(model):
        assert tensor.data_ptr() == model.state_dict()[name].data_ptr(), name
