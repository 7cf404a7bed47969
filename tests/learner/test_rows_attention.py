"""Rows fed one behind the other have the states and gradients they have when padded, in every kind of model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers
from tiny import tiny_model

from agentdistill.learner.heads import enable_checkpointing, split_model
from agentdistill.learner.micro import pad_rows
from agentdistill.learner.rows_attention import attend_within, attending, takes_rows

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
MODELS = {
    "qwen3, grouped heads": lambda: tiny_model(0),
    "llama": lambda: build(transformers.LlamaConfig(**SMALL)),
    "gpt2": lambda: build(transformers.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
}
LENGTHS = (17, 5, 1, 12)


def build(config) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def ragged() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return pad_rows([torch.randint(0, 60, (length,), generator=generator) for length in LENGTHS])


def states_and_gradients(parts, ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    parts.model.zero_grad(set_to_none=True)
    states = parts.hidden(ids)[ids >= 0]
    (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(4))).sum().backward()
    return states.detach(), [p.grad for p in parts.decoder.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", MODELS)
def test_packed_rows_equal_padded_ones(name):
    parts = split_model(MODELS[name]())
    assert parts.packs
    seen = []
    parts.decoder.register_forward_pre_hook(lambda _, a, k: seen.append(tuple(k["input_ids"].shape)), with_kwargs=True)
    packed, packed_gradients = states_and_gradients(parts, ragged())
    padded, gradients = states_and_gradients(replace(parts, packs=False), ragged())
    assert seen == [(1, sum(LENGTHS)), (len(LENGTHS), max(LENGTHS))]
    torch.testing.assert_close(packed, padded, rtol=1e-5, atol=1e-5)
    for left, right in zip(packed_gradients, gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4 * float(right.abs().max()))


def test_layers_that_run_again_in_the_backward_pass_see_padded_rows():
    parts = split_model(tiny_model(0))
    expected = states_and_gradients(parts, ragged())[1]
    enable_checkpointing(parts.model)
    parts.model.train()
    gradients = states_and_gradients(parts, ragged())[1]
    for left, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4 * float(right.abs().max()))


def test_models_that_attend_in_other_ways_keep_their_padding():
    eager = tiny_model(0)
    eager.set_attn_implementation("eager")
    assert not split_model(eager).packs
    assert not split_model(build(transformers.MistralConfig(**SMALL, sliding_window=16))).packs
    assert not takes_rows(torch.nn.Linear(2, 2))


def test_the_model_is_left_as_it_was_even_after_an_error():
    model = tiny_model(0)
    with pytest.raises(RuntimeError), attending(model, attend_within([2, 3])):
        model(input_ids=torch.tensor([[1, 2, 3]]))
    assert model.config._attn_implementation == "sdpa"
    assert torch.isfinite(model(input_ids=torch.tensor([[1, 2, 3]])).logits).all()
