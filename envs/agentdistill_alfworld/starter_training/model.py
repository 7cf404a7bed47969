"""The starter models' architecture: Qwen3, very small."""

from __future__ import annotations

import re
from typing import cast

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from agentdistill_alfworld.starter_training.tokenizer import CONTEXT_LENGTH, END, PAD, tokens

_ENTITY = re.compile(r"( [a-z]+) (\d+)")


def build_model(*, layers: int, hidden: int = 128, heads: int = 4, seed: int = 0) -> Qwen3ForCausalLM:
    """Makes an untrained model over the starter tokenizer's vocabulary.

    Args:
        layers: number of transformer layers.
        hidden: width; the feed-forward width is three times that.
        heads: attention heads (all of them with their own keys and values).
        seed: seed of the initial weights; the global random state is left alone.
    """
    vocabulary = tokens()
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        intermediate_size=3 * hidden,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=vocabulary.index(PAD),
        eos_token_id=vocabulary.index(END),
        bos_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
        _compose_entities(model, vocabulary)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, max_new_tokens=16
    )
    return model


@torch.no_grad()
def _compose_entities(model: Qwen3ForCausalLM, vocabulary: list[str]) -> None:
    """Lets the initial embedding of " apple 3" be that of " apple" plus that of " 3".

    Otherwise the model has to find out from data alone that a goal's " apple" is what an " apple 3" is, which takes
    most of the training.
    """
    embedding = cast(torch.nn.Embedding, model.get_input_embeddings()).weight
    index = {token: position for position, token in enumerate(vocabulary)}
    highest = max(int(match[2]) for match in map(_ENTITY.fullmatch, vocabulary) if match)
    numbers = torch.randn(highest + 1, embedding.shape[1]) * model.config.initializer_range
    for token, position in index.items():
        if match := _ENTITY.fullmatch(token):
            embedding[position] = (embedding[index[match[1]]] + numbers[int(match[2])]) / 2**0.5
