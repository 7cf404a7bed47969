"""The engine against a reference that samples one conversation at a time with no cache at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import VOCAB, tiny_model

from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import ConfigError, TrainingError
from agentdistill.plugins import PluginRegistry
from agentdistill_engines.hf import HfConfig, HfEngine
from agentdistill_engines.sampling import choose, uniforms

STOPS = (2, *range(7, VOCAB, 9))


@pytest.fixture(scope="module")
def model():
    return tiny_model(seed=3)


def engine_for(model, **config) -> HfEngine:
    return HfEngine(HfConfig(**config), SimpleNamespace(model=model))


@torch.no_grad()
def reference(model, request: GenerationRequest, sampling: Sampling) -> Generation:
    ids, tokens, logprobs = list(request.prompt), [], []
    numbers = uniforms([request.seed], sampling.max_new_tokens)[0]
    for number in numbers:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[:, -1]
        chosen, logprob = choose(logits, torch.tensor([number]), sampling.temperature, sampling.top_p)
        tokens.append(int(chosen))
        logprobs.append(float(logprob))
        ids.append(int(chosen))
        if tokens[-1] in sampling.stop_ids:
            return Generation(tokens, logprobs, "stop")
    return Generation(tokens, logprobs, "length")


@dataclass
class Conversations:
    """Random ragged conversations, the same for whoever plays them."""

    rows: int
    seed: int = 0
    texts: list[list[int]] = field(default_factory=list)

    def __post_init__(self):
        self.random = np.random.Generator(np.random.PCG64(self.seed))
        self.texts = [self.text(5, 60) for _ in range(self.rows)]

    def text(self, low: int, high: int) -> list[int]:
        return self.random.integers(3, VOCAB, self.random.integers(low, high)).tolist()

    def requests(self, turn: int) -> list[GenerationRequest]:
        return [GenerationRequest(f"s{i}", list(text), seed=100 * i + turn) for i, text in enumerate(self.texts)]

    def extend(self, generations) -> None:
        for i, generation in enumerate(generations):
            self.texts[i] = self.texts[i] + generation.token_ids + self.text(1, 40 if i % 5 == 0 else 12)


def assert_same(left: Generation, right: Generation) -> None:
    assert left.token_ids == right.token_ids
    assert left.finish == right.finish
    assert np.allclose(left.logprobs, right.logprobs, atol=1e-4)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (0.7, 0.8)])
@pytest.mark.parametrize("reuse", [True, False])
def test_batched_ragged_turns_equal_one_by_one_prefilling(model, temperature, top_p, reuse):
    engine, sampling = engine_for(model, kv_reuse=reuse), Sampling(8, STOPS, temperature, top_p)
    conversations = Conversations(rows=11, seed=1)
    finishes = set()
    for turn in range(4):
        requests = conversations.requests(turn)
        generations = engine.generate(requests, sampling)
        for request, generation in zip(requests, generations, strict=True):
            assert_same(generation, reference(model, request, sampling))
            finishes.add((generation.finish, len(generation.token_ids)))
        conversations.extend(generations)
    assert len(finishes) > 3, "rows must stop at different lengths for this test to mean anything"


def test_a_batch_of_changing_membership_and_order(model):
    engine, sampling = engine_for(model, max_sessions=6), Sampling(6, STOPS, 1.0)
    conversations = Conversations(rows=9, seed=2)
    random = np.random.Generator(np.random.PCG64(5))
    for turn in range(8):
        picked = random.permutation(9)[: random.integers(1, 10)].tolist()
        requests = [conversations.requests(turn)[i] for i in picked]
        generations = engine.generate(requests, sampling)
        for i, request, generation in zip(picked, requests, generations, strict=True):
            assert_same(generation, reference(model, request, sampling))
            conversations.texts[i] = conversations.texts[i] + generation.token_ids + conversations.text(1, 10)
        if turn % 3 == 2:
            engine.release([f"s{picked[0]}", "never seen"])
        assert engine.sessions <= 6


def test_a_rewritten_prompt_reuses_only_what_it_shares(model):
    engine, sampling = engine_for(model), Sampling(5, STOPS, 0.0)
    base = Conversations(rows=1, seed=3).texts[0] * 3
    for prompt in (base, [*base[:20], 40, 41, 42, *base[23:]], base[:10], base[:10], [77, *base], base):
        request = GenerationRequest("one", prompt)
        assert_same(engine.generate([request], sampling)[0], reference(model, request, sampling))


def computed(model, work) -> tuple[int, int]:
    """(forward passes, tokens computed in them) while doing some work."""
    shapes = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        work()
    finally:
        hook.remove()
    return len(shapes), sum(rows * columns for rows, columns in shapes)


def test_only_new_tokens_are_computed(model):
    engine, sampling = engine_for(model), Sampling(4, (), 0.0)
    text = Conversations(rows=1, seed=4).text(300, 301)
    first = engine.generate([GenerationRequest("one", text)], sampling)[0]
    longer = text + first.token_ids + [50, 51, 52]
    passes, tokens = computed(model, lambda: engine.generate([GenerationRequest("one", longer)], sampling))
    # The last sampled token was never fed, so it goes with the three new ones; then three decoding passes.
    assert (passes, tokens) == (4, 4 + 3)


def test_finished_rows_are_dropped_from_compute(model):
    # One row may go on to 40 tokens, the other 15 stop at once: any token stops them, for they are all allowed one.
    engine = engine_for(model)
    rows = [GenerationRequest(f"s{i}", [5 + i, 60, 61], allowed=((2,),)) for i in range(15)]
    free = GenerationRequest("free", [100, 101, 102], allowed=((*range(10, 49), 2),))
    generations = []
    passes, tokens = computed(
        model, lambda: generations.extend(engine.generate([*rows, free], Sampling(40, (2,), 0.0)))
    )
    assert [len(generation.token_ids) for generation in generations] == [1] * 15 + [40]
    assert passes == 40
    assert tokens == 16 * 3 + 39


def test_a_long_first_prompt_does_not_pad_the_others(model):
    engine, sampling = engine_for(model), Sampling(1, (), 0.0)
    requests = [GenerationRequest(f"s{i}", [5 + i] * 10) for i in range(20)] + [GenerationRequest("long", [9, 8] * 300)]
    _, tokens = computed(model, lambda: engine.generate(requests, sampling))
    assert tokens == 20 * 10 + 600


@pytest.mark.parametrize(("by_rows", "expected"), [(False, 5), (True, 4)])
def test_a_long_prompt_is_fed_in_pieces_with_the_same_result(model, monkeypatch, by_rows, expected):
    text = Conversations(rows=1, seed=6).text(150, 151)
    requests = [GenerationRequest("a", text), GenerationRequest("b", text[:97])]
    sampling = Sampling(4, (), 0.0)
    monkeypatch.setattr("agentdistill_engines.support.takes_rows", lambda model: by_rows)
    monkeypatch.setattr("agentdistill_engines.reuse.PASS_COST", 10_000)
    for module in ("reuse", "prefill"):
        monkeypatch.setattr(f"agentdistill_engines.{module}.PASS_TOKENS", 64)
    engine = engine_for(model)
    passes = computed(model, lambda: engine.generate(requests, Sampling(1, (), 0.0)))[0]
    assert passes == expected
    engine.sync(1)
    for request, generation in zip(requests, engine.generate(requests, sampling), strict=True):
        assert_same(generation, reference(model, request, sampling))


def test_the_context_limit_ends_a_conversation_and_truncates_nothing(model):
    engine, sampling = engine_for(model, max_context=50), Sampling(8, (), 0.0)
    fits, tight, over = ([7] * n for n in (30, 47, 50))
    result = engine.generate([GenerationRequest(str(len(p)), p) for p in (over, fits, tight)], sampling)
    assert result[0] == Generation([], [], "context")
    assert (len(result[1].token_ids), result[1].finish) == (8, "length")
    assert (len(result[2].token_ids), result[2].finish) == (3, "length")
    assert engine.context_length == 50


def test_new_weights_need_a_sync_and_get_one(model):
    trained = tiny_model(seed=4)
    engine, sampling = engine_for(trained), Sampling(5, STOPS, 0.0)
    request = GenerationRequest("one", list(range(40, 90)))
    before = engine.generate([request], sampling)[0]
    assert engine.sessions == 1
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.05 * torch.sin(torch.arange(parameter.numel()).view_as(parameter).float()))
    engine.sync(1)
    assert engine.sessions == 0
    after = engine.generate([request], sampling)[0]
    assert_same(after, reference(trained, request, sampling))
    assert before.logprobs != after.logprobs


def test_the_least_recently_used_conversation_makes_room(model):
    engine, sampling = engine_for(model, max_sessions=2), Sampling(1, (), 0.0)
    prompts = {name: [ord(name), *range(60, 100)] for name in "abc"}

    def tokens(name: str) -> int:
        request = GenerationRequest(name, prompts[name])
        return computed(model, lambda: engine.generate([request], sampling))[1]

    assert [tokens(name) for name in "ababcac"] == [41, 41, 1, 1, 41, 41, 1]
    assert engine.sessions == 2


def test_one_conversation_twice_in_a_batch(model):
    engine, sampling = engine_for(model), Sampling(4, STOPS, 1.0)
    requests = [GenerationRequest("same", [5, 6, 7, 8], seed=s) for s in (1, 2)]
    for request, generation in zip(requests, engine.generate(requests, sampling), strict=True):
        assert_same(generation, reference(model, request, sampling))


def test_constrained_rows_mix_with_free_ones(model):
    engine, sampling = engine_for(model), Sampling(6, (2,), 1.0)
    allowed = ((50, 51, 2), (50, 52, 2), (60, 2))
    requests = [
        GenerationRequest(f"s{i}", [10 + i, 20, 30], seed=i, allowed=allowed if i % 2 else None) for i in range(12)
    ]
    generations = engine.generate(requests, sampling)
    for request, generation in zip(requests, generations, strict=True):
        if request.allowed is None:
            assert_same(generation, reference(model, request, sampling))
        else:
            assert tuple(generation.token_ids) in allowed
            assert generation.finish == "stop"
            ids = torch.tensor([[*request.prompt, *generation.token_ids]])
            with torch.no_grad():
                full = model(input_ids=ids).logits.log_softmax(-1)[0, 2:-1]
            scored = full.gather(-1, torch.tensor(generation.token_ids)[:, None]).squeeze(-1)
            assert np.allclose(generation.logprobs, scored, atol=1e-4)


def test_constrained_greedy_takes_the_most_likely_allowed_path(model):
    engine = engine_for(model)
    request = GenerationRequest("one", [5, 6, 7], allowed=((70, 2), (80, 2), (90, 2)))
    chosen = engine.generate([request], Sampling(3, (2,), 0.0))[0].token_ids[0]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1]
    assert chosen == max((70, 80, 90), key=lambda token: float(logits[token]))


def test_training_mode_is_left_as_it_was_and_not_sampled_in():
    model = tiny_model(seed=1, attention_dropout=0.5)
    engine, request, sampling = engine_for(model), GenerationRequest("a", [5, 6, 7]), Sampling(5, STOPS, 0.0)
    expected = engine.generate([request], sampling)[0]
    model.train()
    engine.sync(1)
    assert_same(engine.generate([request], sampling)[0], expected)
    assert model.training


def test_broken_weights_stop_the_run():
    model = tiny_model(seed=1)
    engine = engine_for(model)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        engine.generate([GenerationRequest("a", [5, 6])], Sampling(2, (2,), 1.0))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 0.0
    engine.sync(1)
    assert np.isfinite(engine.generate([GenerationRequest("a", [5, 6])], Sampling(2, (2,), 1.0))[0].logprobs).all()


@pytest.mark.parametrize("sampling", [Sampling(0, ()), Sampling(1, (), -1.0), Sampling(1, (), 1.0, 0.0)])
def test_impossible_sampling_is_refused(model, sampling):
    with pytest.raises(ConfigError):
        engine_for(model).generate([GenerationRequest("a", [5])], sampling)


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(ConfigError, match="empty"):
        engine_for(model).generate([GenerationRequest("a", [])], Sampling(1, ()))


def test_options_out_of_range_are_refused(model):
    with pytest.raises(ConfigError, match="max_sessions"):
        engine_for(model, max_sessions=0)
    with pytest.raises(ConfigError, match="max_context"):
        engine_for(model, max_context=100_000)


def test_a_synced_engine_is_as_good_as_new_bit_for_bit(model):
    """What a resumed run samples must not depend on what an engine's memory once held."""
    used, sampling = engine_for(model), Sampling(6, STOPS, 1.0)
    for turn, conversations in enumerate((Conversations(rows=5, seed=8), Conversations(rows=13, seed=9))):
        for _ in range(3):
            conversations.extend(used.generate(conversations.requests(turn), sampling))
    used.sync(1)
    played = []
    for engine in (used, engine_for(model)):
        conversations = Conversations(rows=9, seed=10)
        for turn in range(4):
            conversations.extend(generations := engine.generate(conversations.requests(turn), sampling))
            played.append((engine is used, turn, generations))
    for old, new in zip(played[:4], played[4:], strict=True):
        assert old[2] == new[2]


def test_the_registry_builds_it(model):
    registry = PluginRegistry.load(third_party=False)
    engine = registry.build("engine", {"type": "hf", "max_context": 64}, "engine", model=SimpleNamespace(model=model))
    assert engine.context_length == 64
