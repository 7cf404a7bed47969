"""The served teacher against a server that scores with a tiny real model: numbers, requests, and everything that fails.

The same against the real server is in tests/vllm.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from made_episodes import make_episode
from scoring_server import scoring_server
from tiny import CHAT_TEMPLATE, tiny_model, tiny_tokenizer

from agentdistill.clients import EndpointError
from agentdistill.errors import ConfigError, DataError, TeacherOutage, TokenizationError, TrainingError
from agentdistill.models import LoadedModel, fingerprint
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest
from agentdistill.teachers.outage import TeacherRefusal
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.vllm import VllmConfig, VllmTeacher

EVERYTHING = ScoreRequest(top_k=5, entropy=True, confidence=True)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("agentdistill.clients.retry.FIRST_WAIT", 0.01)
    monkeypatch.setattr("agentdistill.teachers.outage._FIRST_PAUSE", 0.02)


@pytest.fixture(scope="module")
def loaded():
    model, tokenizer = tiny_model(1), tiny_tokenizer()
    return LoadedModel(model, tokenizer, "tiny", None, fingerprint(model, tokenizer))


@pytest.fixture
def server(loaded):
    with scoring_server(loaded.model, loaded.tokenizer) as made:
        yield made


@pytest.fixture(scope="module")
def episodes():
    return [make_episode(turns=[(6, 3), (2, 5), (0, 2), (3, 1)][: 1 + i % 4], seed=i, one_row=i != 2) for i in range(6)]


def teacher(server, loaded=None, **options) -> VllmTeacher:
    settings = {"url": server.url, "timeout": 10.0, "rest": 0.05, "patience": 5.0} | options
    return VllmTeacher(VllmConfig(**settings), student=loaded)


def flat(scores):
    return [opinion for opinions in scores for opinion in opinions]


@pytest.mark.oracle
def test_scores_are_those_of_the_model_in_this_process(server, loaded, episodes):
    local = LocalTeacher(LocalConfig(model="tiny"), loaded)
    served, own = teacher(server, loaded).score(episodes, EVERYTHING), local.score(episodes, EVERYTHING)
    assert [len(s) for s in served] == [len(e.rows) for e in episodes]
    for mine, theirs in zip(flat(own), flat(served), strict=True):
        assert np.array_equal(mine.valid, theirs.valid)
        for name in ("sampled_logprob", "topk_logprobs", "confidence"):
            np.testing.assert_allclose(getattr(theirs, name), getattr(mine, name), atol=3e-6)
        assert np.array_equal(mine.topk_ids, theirs.topk_ids)
        at = mine.valid
        assert (theirs.entropy[at] <= mine.entropy[at] + 1e-5).all()


def test_all_positions_on_request(server, loaded, episodes):
    local = LocalTeacher(LocalConfig(model="tiny", positions="all"), loaded)
    served = teacher(server, loaded, positions="all").score(episodes, ScoreRequest())
    for mine, theirs in zip(flat(local.score(episodes, ScoreRequest())), flat(served), strict=True):
        np.testing.assert_allclose(theirs.sampled_logprob, mine.sampled_logprob, atol=3e-6)


def test_with_the_whole_vocabulary_the_entropy_is_exact(server, loaded, episodes):
    server.max_logprobs = 259
    own = LocalTeacher(LocalConfig(model="tiny"), loaded).score(episodes, ScoreRequest(entropy=True))
    served = teacher(server, loaded, entropy_top_k=259).score(episodes, ScoreRequest(entropy=True))
    for mine, theirs in zip(flat(own), flat(served), strict=True):
        np.testing.assert_allclose(theirs.entropy, mine.entropy, atol=1e-4)
        assert theirs.topk_ids is None


def test_a_row_is_one_request_of_token_ids_whatever_its_turns(server, loaded):
    episode = make_episode(turns=[(4, 2)] * 30)
    made = teacher(server, loaded)
    made.score([episode], ScoreRequest())
    (body,) = server.bodies
    assert body["prompt"] == episode.rows[0].token_ids.tolist()
    assert (body["max_tokens"], body["prompt_logprobs"], body["model"]) == (1, 0, "tiny")
    numbers = made.metrics()
    assert (numbers["requests"], numbers["prompt_tokens"]) == (1, 180)
    each_turn = sum(6 * turn for turn in range(1, 31))
    assert each_turn >= 8 * numbers["prompt_tokens"]
    assert made.metrics()["requests"] == 0  # since the last call


def test_context_after_the_last_written_token_is_not_sent(server, loaded):
    episode = make_episode(turns=[(4, 2), (5, 3)])
    episode.rows[0].step_of_token[-3:] = -1
    teacher(server, loaded).score([episode], ScoreRequest())
    assert server.bodies[0]["prompt"] == episode.rows[0].token_ids[:6].tolist()


def test_rows_without_written_tokens_cost_nothing(server, loaded):
    episode = make_episode(turns=[(4, 2)])
    episode.rows[0].step_of_token[:] = -1
    (opinion,) = flat(teacher(server, loaded).score([episode], EVERYTHING))
    assert not opinion.valid.any() and np.isnan(opinion.sampled_logprob).all() and server.bodies == []


def test_requests_go_together_and_are_bounded(server, loaded):
    server.wait = 0.05
    teacher(server, loaded, concurrency=4).score([make_episode(seed=i) for i in range(12)], ScoreRequest())
    assert 2 <= server.most_at_once <= 4


def test_tokens_of_one_text_are_told_apart_by_their_ids(server, loaded, episodes):
    """Every decoded text of this server is the same; nothing collides."""
    (row,), (opinion,) = episodes[0].rows, flat(teacher(server, loaded).score(episodes[:1], ScoreRequest(top_k=20)))
    assert all(len(set(ids.tolist())) == 20 for ids in opinion.topk_ids[row.step_of_token >= 0])


def test_a_token_outside_the_top_k_is_not_among_them(server, loaded, episodes):
    (opinion,) = flat(teacher(server, loaded).score(episodes[:1], ScoreRequest(top_k=2)))
    at = opinion.valid
    outside = at & (opinion.sampled_logprob < opinion.topk_logprobs[:, -1])
    assert outside.any() and (np.diff(opinion.topk_logprobs[at], axis=-1) <= 0).all()


def test_hidden_states_are_refused(server, loaded, episodes):
    with pytest.raises(TrainingError, match="cannot give hidden states"):
        teacher(server, loaded).score(episodes, ScoreRequest(hidden=True))
    for ask in (teacher(server).policy, teacher(server).output_weight):
        with pytest.raises(TrainingError):
            ask()


# What a server may answer instead.


def cut(value):
    """Without its last position."""
    value["choices"][0]["prompt_logprobs"].pop()
    return value


def reordered(value):
    """The answer to the same ids in another order."""
    choice = value["choices"][0]
    choice["prompt_token_ids"] = choice["prompt_token_ids"][::-1]
    return value


def shuffled(value):
    """Positions mixed up, by a server that repeats no ids."""
    choice = value["choices"][0]
    choice["prompt_logprobs"] = [None, *choice["prompt_logprobs"][:0:-1]]
    del choice["prompt_token_ids"]
    return value


def logits(value):
    """--logprobs-mode raw_logits."""
    for entry in value["choices"][0]["prompt_logprobs"][1:]:
        for score in entry.values():
            score["logprob"] += 9.0
    return value


def bare(value):
    """A server without prompt_logprobs."""
    del value["choices"][0]["prompt_logprobs"]
    return value


def half(value):
    """A proxy that cuts long answers."""
    return b'{"choices": [{"prompt_logprobs": [null, {"7": {"logp'


FAULTS = {
    cut: "scores \\d+ of \\d+ tokens",
    reordered: "about another prompt",
    shuffled: "not those of token",
    logits: "no log-probabilities.*raw_logprobs",
    bare: "carries no prompt_logprobs",
    half: "not JSON, or cut off",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_wrong_answer_is_asked_again(server, loaded, episodes, fault):
    made = teacher(server, loaded, concurrency=1)
    right = made.score(episodes[3:4], EVERYTHING)
    server.faults.append(fault)
    again = made.score(episodes[3:4], EVERYTHING)
    assert made.metrics()["retries"] == 1
    for one, other in zip(flat(right), flat(again), strict=True):
        assert np.array_equal(one.sampled_logprob, other.sampled_logprob, equal_nan=True)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_wrong_answers_that_keep_coming_end_the_run(server, loaded, episodes, fault):
    server.faults += [fault] * 10
    with pytest.raises(TeacherRefusal, match=FAULTS[fault]) as caught:
        teacher(server, loaded).score(episodes[3:4], EVERYTHING)
    assert "after 3 attempts" in str(caught.value) and len(server.bodies) == 3


def test_two_answers_swapped_on_their_way_are_noticed(server, loaded, episodes):
    kept: list = []

    def swap(value):
        kept.append(copy.deepcopy(value))
        return kept[0] if len(kept) > 1 else value

    made = teacher(server, loaded, concurrency=1, retries=0)
    server.faults += [swap, swap]
    with pytest.raises(TeacherRefusal, match="another prompt"):
        made.score([episodes[1], episodes[3]], ScoreRequest())


def test_too_many_logprobs_name_the_flag_and_the_model(server, loaded, episodes):
    with pytest.raises(EndpointError, match="--max-logprobs 64 or more") as caught:
        teacher(server, loaded).score(episodes, ScoreRequest(top_k=64))
    assert "greater than max allowed: 20" in str(caught.value) and "for the model `tiny`" in str(caught.value)


def test_a_row_beyond_the_servers_context_names_the_flag(server, loaded, episodes):
    server.limit = 10
    with pytest.raises(TrainingError, match=r"served teacher's context of 10.*--max-model-len"):
        teacher(server, loaded).score(episodes, ScoreRequest())
    assert server.bodies == []


def test_a_model_that_is_not_served(server, loaded, episodes):
    with pytest.raises(ConfigError, match=r"does not serve `big`. It serves tiny"):
        teacher(server, loaded, model="big").check(episodes)


def test_a_server_that_is_down_at_the_start(server, loaded, episodes):
    server.down = True
    with pytest.raises(EndpointError, match=r"cannot be asked.*vllm serve MODEL.*cache = \"only\"") as caught:
        teacher(server, loaded).check(episodes)
    assert server.url in str(caught.value)


def test_a_key_is_sent_and_never_shown(server, loaded, episodes, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "hush-hush")
    server.faults.append(lambda value: (400, "bad key hush-hush"))
    with pytest.raises(EndpointError) as caught:
        teacher(server, loaded, key_variable="TEST_KEY").score(episodes[:1], ScoreRequest())
    assert "hush-hush" not in str(caught.value) and "[key]" in str(caught.value)
    with pytest.raises(ConfigError, match="NO_KEY is not set"):
        teacher(server, key_variable="NO_KEY")


# The checks at the start of a run.


def test_the_checks_say_who_is_served_and_that_scores_are_scores(server, loaded, episodes):
    made = VllmTeacher(VllmConfig(url=server.url, tolerance=1e-5), student=loaded, check_model=loaded)
    lines = made.check(episodes)
    assert len(lines) == 4 and "serves tiny, rows below 4,096 tokens · fingerprint" in lines[0]
    assert "its 259 token ids and its chat template" in lines[1]
    assert "scored twice, in another order: |Δ| 0e+00 ok" in lines[2] and "computed here: |Δ|" in lines[3]
    # Whose words a student imitated is compared with its teacher by the model that a server was found to be.
    assert made.identities == {made.fingerprint, loaded.fingerprint}
    assert teacher(server, loaded).identities == {made.fingerprint}


def test_another_model_than_check_model_is_found(server, loaded, episodes):
    other = LoadedModel(tiny_model(2), loaded.tokenizer, "other", None, "-")
    made = VllmTeacher(VllmConfig(url=server.url), student=loaded, check_model=other)
    with pytest.raises(TrainingError, match=r"differ by up to .* from other computed here"):
        made.check(episodes)


def test_scores_that_do_not_repeat_are_found(server, loaded, episodes):
    made = teacher(server, loaded)

    def drift(state):
        with torch.no_grad():
            state.model.lm_head.weight.mul_(1.05)

    server.model = copy.deepcopy(loaded.model)
    server.on_completion = drift
    with pytest.raises(TrainingError, match=r"differ by up to .* when it is asked again"):
        made.check(episodes)


def swapped_tokenizer():
    """Two ids exchanged: the same size, the same texts, other meanings."""
    import json

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    rules = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    vocab = rules["model"]["vocab"]
    vocab["Z"], vocab["Q"] = vocab["Q"], vocab["Z"]
    backend = Tokenizer.from_str(json.dumps(rules))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def test_two_exchanged_ids_are_found_by_asking_the_server(server, loaded, episodes):
    server.tokenizer = swapped_tokenizer()
    with pytest.raises(TokenizationError, match=r"[Ii]d \d+ is '[QZ]' to the student and '[QZ]' to the server"):
        teacher(server, loaded).check(episodes)


def test_another_chat_template_is_found(server, loaded, episodes):
    server.tokenizer = tiny_tokenizer(CHAT_TEMPLATE.replace("'\n' + message", "' ' + message"))
    with pytest.raises(TokenizationError, match=r"another chat template.*--chat-template"):
        teacher(server, loaded).check(episodes)


def test_a_server_without_a_tokenizer_says_that_nobody_compared(server, loaded, episodes):
    server.tokenizer = None
    assert "nobody compared token ids" in teacher(server, loaded).check(episodes)[1]


def test_a_given_tokenizer_is_the_runs_to_compare(server, loaded, tmp_path):
    loaded.tokenizer.save_pretrained(tmp_path)
    registry = PluginRegistry.load(third_party=False)
    section = {"type": "vllm", "url": server.url, "tokenizer": str(tmp_path)}
    made = registry.build("teacher", section, "teacher", student=loaded, context=None, registry=registry)
    assert made.tokenizer.get_vocab() == loaded.tokenizer.get_vocab() and teacher(server, loaded).tokenizer is None
    with pytest.raises(DataError, match="teacher's tokenizer"):
        registry.build("teacher", section | {"tokenizer": "./none"}, "teacher", student=loaded, registry=registry)


def test_fingerprints_follow_what_is_served_and_not_where(server, loaded):
    base = teacher(server, loaded).fingerprint
    with scoring_server(loaded.model, loaded.tokenizer) as elsewhere:
        assert teacher(elsewhere, loaded).fingerprint == base
        elsewhere.name = "renamed"
        assert teacher(elsewhere, loaded).fingerprint != base
        elsewhere.name, elsewhere.root = "tiny", "models/step-200"
        assert teacher(elsewhere, loaded).fingerprint != base
    with scoring_server(tiny_model(2), loaded.tokenizer) as others:
        assert teacher(others, loaded).fingerprint != base
    assert teacher(server, loaded, positions="all").fingerprint != base


def test_a_given_identity_needs_no_server(server, loaded):
    server.down = True
    assert teacher(server, served_as="big-0").fingerprint != teacher(server, served_as="big-1").fingerprint


# Outages.


def down_after(requests: int, seconds: float):
    """Goes away after some completions, and comes back."""
    import threading

    def look(state):
        if len(state.bodies) == requests:
            state.down = True
            threading.Timer(seconds, lambda: setattr(state, "down", False)).start()

    return look


def test_it_waits_and_asks_only_for_what_is_missing(server, loaded, caplog):
    rows = [make_episode(seed=i) for i in range(8)]
    undisturbed = teacher(server, loaded, concurrency=1).score(rows, EVERYTHING)
    made = teacher(server, loaded, concurrency=1, retries=1)
    made.fingerprint  # noqa: B018  what it looks like is known before
    server.bodies.clear()
    server.on_completion = down_after(4, 0.6)
    scores = made.score(rows, EVERYTHING)
    numbers = made.metrics()
    assert numbers["outages"] == 1 and numbers["waited_seconds"] > 0 and numbers["skipped_rows"] == 0
    for one, other in zip(flat(undisturbed), flat(scores), strict=True):
        assert np.array_equal(one.sampled_logprob, other.sampled_logprob, equal_nan=True)
        assert np.array_equal(one.topk_logprobs, other.topk_logprobs, equal_nan=True)
    firsts = [body["prompt"] for body in server.bodies].count(rows[0].rows[0].token_ids.tolist())
    assert firsts == 1
    assert "does not answer" in caplog.text and "answers again after" in caplog.text


def test_patience_ends(server, loaded):
    made = teacher(server, loaded, retries=0, patience=0.3)
    made.check([])
    server.down = True
    with pytest.raises(TeacherOutage, match=r"has not answered for 0.3 s.*teacher.patience"):
        made.score([make_episode()], ScoreRequest())


def test_stopping_at_once(server, loaded):
    made = teacher(server, loaded, retries=0, on_outage="stop")
    made.check([])
    server.down = True
    with pytest.raises(TeacherOutage, match="has not answered"):
        made.score([make_episode()], ScoreRequest())


def test_skipped_rows_are_missing_and_counted(server, loaded):
    rows = [make_episode(seed=i) for i in range(6)]
    made = teacher(server, loaded, retries=0, concurrency=1, on_outage="skip", trip=100)
    made.check([])
    server.faults += [lambda value: None] * 2
    scores = flat(made.score(rows, EVERYTHING))
    assert [bool(opinion.valid.any()) for opinion in scores] == [False, False, True, True, True, True]
    for opinion in scores[:2]:
        for name in ("sampled_logprob", "topk_logprobs", "entropy", "confidence"):
            assert np.isnan(getattr(opinion, name)).all()
        assert (opinion.topk_ids == -1).all()
    assert made.metrics()["skipped_rows"] == 2
    server.down = True
    with pytest.raises(TeacherOutage):
        made.score(rows, EVERYTHING)


def test_time_outs_are_outages(server, loaded):
    made = teacher(server, loaded, retries=0, timeout=0.2, on_outage="stop")
    made.check([])
    server.wait = 1.0
    with pytest.raises(TeacherOutage, match=r"did not answer within 0.2 s"):
        made.score([make_episode()], ScoreRequest())


def test_somebody_else_came_back(server, loaded):
    made = teacher(server, loaded, retries=0)
    made.fingerprint  # noqa: B018
    server.on_completion = down_after(1 + len(server.bodies), 0.2)
    server.model = tiny_model(5)
    with pytest.raises(TeacherOutage, match="Another model is served"):
        made.score([make_episode()], ScoreRequest())


def test_a_dead_server_is_left_alone(server, loaded):
    """Two hundred requests, and only a few of them wait for their own failure."""
    made = teacher(server, loaded, concurrency=2, retries=1, on_outage="stop", trip=4, rest=60.0)
    made.check([])
    server.down = True
    with pytest.raises(TeacherOutage):
        made.score([make_episode(seed=i) for i in range(200)], ScoreRequest())
    assert made.rows.client.counts.sent <= 6 and made.rows.client.breaker.open
    with pytest.raises(TeacherOutage, match="left alone"):
        made.score([make_episode()], ScoreRequest())


def test_the_registry_builds_one(server, loaded):
    registry = PluginRegistry.load(third_party=False)
    made = registry.build("teacher", {"type": "vllm", "url": server.url}, "teacher", student=loaded, registry=registry)
    assert made.capabilities == {"sampled", "top_k", "entropy", "confidence"} and made.needs == frozenset()
    with pytest.raises(ConfigError, match="without /completions"):
        registry.build("teacher", {"type": "vllm", "url": f"{server.url}/completions"}, "teacher")
