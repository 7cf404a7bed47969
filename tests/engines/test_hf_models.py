"""Other architectures: those that can keep their cache do, those that cannot say so and work without."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
import transformers
from tiny import tiny_model

from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import ConfigError
from agentdistill_engines.hf import HfConfig, HfEngine

COMMON = {"vocab_size": 200, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = {
    **COMMON,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}


def build(config) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


FULL_ATTENTION = {
    "llama": lambda: transformers.LlamaConfig(**SMALL),
    "qwen2": lambda: transformers.Qwen2Config(**SMALL),
    "gpt2": lambda: transformers.GPT2Config(
        **COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.2
    ),
    "phi": lambda: transformers.PhiConfig(**{k: v for k, v in SMALL.items() if k != "head_dim"}),
    "mistral with a window as long as its context": lambda: transformers.MistralConfig(**SMALL, sliding_window=256),
}
SLIDING = {
    "mistral": lambda: transformers.MistralConfig(**SMALL, sliding_window=16),
    "gemma3": lambda: transformers.Gemma3TextConfig(**SMALL, sliding_window=16),
}


def three_turns(model, reuse: bool) -> list:
    engine = HfEngine(HfConfig(kv_reuse=reuse), SimpleNamespace(model=model))
    random = np.random.Generator(np.random.PCG64(1))
    rows = [random.integers(3, 200, n).tolist() for n in (9, 30, 17, 17)]
    result = []
    for turn in range(3):
        requests = [GenerationRequest(str(i), row, seed=turn * 10 + i) for i, row in enumerate(rows)]
        generations = engine.generate(requests, Sampling(6, (2, 5, 9, 70, 80, 90), 1.0))
        result += generations
        rows = [
            row + generation.token_ids + random.integers(3, 200, random.integers(1, 9)).tolist()
            for row, generation in zip(rows, generations, strict=True)
        ]
    return result


def all_equal(generation_rows: list) -> None:
    for kept, plain in generation_rows:
        assert kept.token_ids == plain.token_ids
        assert np.allclose(kept.logprobs, plain.logprobs, atol=1e-4)


@pytest.mark.parametrize("name", FULL_ATTENTION)
def test_models_with_full_attention_keep_their_cache(name):
    model = build(FULL_ATTENTION[name]())
    all_equal(list(zip(three_turns(model, True), three_turns(model, False), strict=True)))


def test_eager_attention_works_too():
    model = tiny_model(seed=2)
    expected = three_turns(model, True)
    model.set_attn_implementation("eager")
    all_equal(list(zip(three_turns(model, True), expected, strict=True)))


@pytest.mark.parametrize("name", SLIDING)
def test_sliding_windows_are_refused_and_work_without_reuse(name):
    model = build(SLIDING[name]())
    with pytest.raises(ConfigError, match="kv_reuse = false"):
        HfEngine(HfConfig(), SimpleNamespace(model=model))
    generations = three_turns(model, False)
    assert all(generation.token_ids for generation in generations)
    # Beyond the window, against the model with no cache at all.
    engine = HfEngine(HfConfig(kv_reuse=False), SimpleNamespace(model=model))
    prompt = list(range(40, 80))
    tokens = engine.generate([GenerationRequest("a", prompt)], Sampling(6, (), 0.0))[0].token_ids
    with torch.no_grad():
        for token in tokens:
            assert token == int(model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1].argmax())
            prompt.append(token)


def test_a_recurrent_model_is_refused_and_works_without_reuse():
    config = transformers.MambaConfig(
        **COMMON, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.2
    )
    model = build(config)
    with pytest.raises(ConfigError, match="max_context"):
        HfEngine(HfConfig(kv_reuse=False), SimpleNamespace(model=model))
    with pytest.raises(ConfigError, match="kv_reuse = false"):
        HfEngine(HfConfig(max_context=200), SimpleNamespace(model=model))
    engine = HfEngine(HfConfig(kv_reuse=False, max_context=200), SimpleNamespace(model=model))
    prompts = [list(range(40, 52)), list(range(60, 72)), list(range(90, 95))]
    requests = [GenerationRequest(str(i), prompt) for i, prompt in enumerate(prompts)]
    for prompt, generation in zip(prompts, engine.generate(requests, Sampling(5, (), 0.0)), strict=True):
        with torch.no_grad():
            for token in generation.token_ids:
                assert token == int(model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1].argmax())
                prompt.append(token)


def test_a_model_that_ignores_positions_is_caught_by_the_trial():
    model = tiny_model(seed=2)
    forward = model.forward

    def careless(
        input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, logits_to_keep=0, **rest
    ):
        wrong = None if position_ids is None else torch.zeros_like(position_ids)
        return forward(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=wrong, past_key_values=past_key_values,
            logits_to_keep=logits_to_keep, **rest,
        )  # fmt: skip

    model.forward = careless
    with pytest.raises(ConfigError, match="in a trial"):
        HfEngine(HfConfig(), SimpleNamespace(model=model))


def test_bfloat16_keeps_its_cache():
    model = tiny_model(seed=2).to(torch.bfloat16)
    engine = HfEngine(HfConfig(), SimpleNamespace(model=model))
    generation = engine.generate([GenerationRequest("a", [5, 6, 7])], Sampling(4, (), 0.0))[0]
    assert len(generation.token_ids) == 4


@pytest.mark.parametrize("reuse", [True, False])
def test_adapters_are_sampled_with(reuse):
    model = tiny_model(seed=2)
    request, sampling = GenerationRequest("a", list(range(50, 70))), Sampling(6, (), 0.0)
    plain = HfEngine(HfConfig(kv_reuse=reuse), SimpleNamespace(model=model)).generate([request], sampling)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapted = peft.get_peft_model(
            model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        )
    generation = HfEngine(HfConfig(kv_reuse=reuse), SimpleNamespace(model=adapted)).generate([request], sampling)[0]
    with torch.no_grad():
        ids = torch.tensor([[*request.prompt, *generation.token_ids]])
        scores = adapted(input_ids=ids).logits.log_softmax(-1)[0, len(request.prompt) - 1 : -1]
    assert np.allclose(generation.logprobs, scores.max(-1).values, atol=1e-4)
    assert generation.logprobs != plain.logprobs
