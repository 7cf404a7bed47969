"""What an engine reports of each sampled token besides its log-probability, and where the rows keep it."""

from types import SimpleNamespace

import numpy as np
import torch
from tiny import tiny_model

from agentdistill.codec import row_from_dict, row_to_dict
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.records import TokenRow
from agentdistill_engines.hf import HfConfig, HfEngine
from agentdistill_engines.sampling import entropy


def test_entropy_survives_certainty_and_matches_its_definition():
    logits = torch.tensor([[0.0, 0.0], [0.0, -1e9], [0.0, float("-inf")]])
    assert torch.allclose(entropy(logits), torch.tensor([np.log(2.0), 0.0, 0.0], dtype=torch.float32))


def test_entropies_and_top_ids_are_those_of_the_model():
    model = tiny_model(seed=3)
    engine = HfEngine(HfConfig(), SimpleNamespace(model=model))
    prompt = [3, 4, 5, 6]
    sampling = Sampling(6, (0,), 1.0, 1.0, entropy=True, top_k=3)
    (made,) = engine.generate([GenerationRequest("a", prompt, seed=1)], sampling)
    assert made.entropies is not None and made.top_ids is not None
    ids = torch.tensor([prompt + made.token_ids])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0, len(prompt) - 1 : -1], -1)
    expected = -(logprobs.exp() * logprobs).sum(-1)
    assert np.allclose(made.entropies, expected, atol=1e-5)
    assert made.top_ids == logprobs.topk(3, -1).indices.tolist()
    (plain,) = engine.generate([GenerationRequest("b", prompt, seed=1)], Sampling(6, (0,)))
    assert plain.token_ids == made.token_ids and plain.entropies is None and plain.top_ids is None


def test_a_row_with_statistics_survives_the_disk():
    row = TokenRow(
        np.arange(3, dtype=np.int32),
        np.array([-1, 0, 0], dtype=np.int32),
        np.array([False, True, True]),
        np.array([np.nan, -1, -2], dtype=np.float32),
        np.array([np.nan, 0.5, 0.25], dtype=np.float32),
        np.array([[-1, -1], [1, 2], [2, 0]], dtype=np.int32),
    )
    back = row_from_dict(row_to_dict(row))
    assert np.array_equal(back.old_entropy, row.old_entropy, equal_nan=True)
    assert np.array_equal(back.old_top_ids, row.old_top_ids)
