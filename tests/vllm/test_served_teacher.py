"""The teacher `vllm` against the real server: the starter teacher in float32, asked about real episodes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from scoring_server import ScoringServer
from served import Server

from agentdistill.clients import EndpointError
from agentdistill.config.load import load_config
from agentdistill.errors import ConfigError, TokenizationError, TrainingError
from agentdistill.models import load_model
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import EpisodePlan, ScoreRequest, TokenRow, Trajectory
from agentdistill.rollout.play import EpisodeRequest, play
from agentdistill.training.assembly import Parts
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.vllm import VllmConfig, VllmTeacher

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load(third_party=False)


@pytest.fixture(scope="module")
def student(registry):
    return load_model("starter", registry=registry)


@pytest.fixture(scope="module")
def local(registry) -> LocalTeacher:
    return LocalTeacher(LocalConfig(model="starter-teacher"), load_model("starter-teacher", registry=registry))


@pytest.fixture(scope="module")
def played(registry) -> list[Trajectory]:
    """Six episodes of the starter student, up to thirty turns each, every one a single row."""
    values = {"env.max_steps": 30, "env.generated": {"train": 12, "seen": 6, "unseen": 6}}
    parts = Parts(load_config(["tcod-alfworld", "starter"], values, registry=registry), registry)
    asked = [EpisodeRequest(task, EpisodePlan(), 0, number) for number, task in enumerate(parts.tasks[:6])]
    try:
        return play(
            asked, source=parts.source, engine=parts.engine, renderer=parts.renderer, context=parts.context,
            settings=parts.settings,
        )  # fmt: skip
    finally:
        parts.close()


def teacher(server: Server, student=None, **options) -> VllmTeacher:
    return VllmTeacher(VllmConfig(url=server.url, **options), student=student)


def pairs(one, other):
    return [(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)]


@pytest.mark.oracle
def test_served_scores_are_the_local_ones(server, student, local, played):
    request = ScoreRequest(top_k=64, entropy=True, confidence=True)
    served, own = teacher(server, student).score(played, request), local.score(played, request)
    for theirs, mine in pairs(served, own):
        at = mine.valid
        assert np.array_equal(theirs.valid, at) and at.any()
        np.testing.assert_allclose(theirs.sampled_logprob[at], mine.sampled_logprob[at], rtol=0, atol=1e-5)
        assert np.isnan(theirs.sampled_logprob[~at]).all()
        np.testing.assert_allclose(theirs.confidence[at], mine.confidence[at], rtol=0, atol=1e-5)
        # Tokens far down the list differ by rounding of larger numbers, and may change places.
        np.testing.assert_allclose(theirs.topk_logprobs[at], mine.topk_logprobs[at], rtol=1e-6, atol=1e-5)
        assert np.mean(theirs.topk_ids[at] == mine.topk_ids[at]) > 0.99
        assert (theirs.entropy[at] <= mine.entropy[at] + 1e-5).all()
        assert (np.exp(theirs.topk_logprobs[at].astype("float64")).sum(-1) <= 1 + 1e-5).all()


def test_thirty_turns_are_one_request_and_an_eighth_of_the_tokens(server, student, played):
    longest = max(played, key=lambda trajectory: len(trajectory.steps))
    assert len(longest.steps) == 30 and len(longest.rows) == 1
    made = teacher(server, student)
    made.score([longest], ScoreRequest())
    numbers = made.metrics()
    by_turn = sum(step.end for step in longest.steps)
    assert numbers["requests"] == 1 and numbers["prompt_tokens"] == longest.steps[-1].end
    assert by_turn >= 8 * numbers["prompt_tokens"]


def test_the_checks_at_the_start(server, student, played, registry):
    options = VllmConfig(url=server.url, tolerance=1e-4)
    made = VllmTeacher(options, student=student, check_model=load_model("starter-teacher", registry=registry))
    lines = made.check(played)
    assert "serves starter-teacher (teacher), rows below 2,048 tokens" in lines[0]
    assert "its 1,000 token ids and its chat template" in lines[1] and "are the student's" in lines[1]
    assert all("ok" in line for line in lines[2:]) and len(lines) == 4
    assert made.fingerprint == teacher(server, student).fingerprint
    with pytest.raises(TrainingError, match="from starter computed here"):
        VllmTeacher(VllmConfig(url=server.url, tolerance=1e-3), student=student, check_model=student).check(played)


def test_tokens_of_one_text_do_not_collide(server, student, played):
    """Bytes of no character of their own all decode to the same text."""
    (opinions,) = teacher(server, student).score(played[:1], ScoreRequest(top_k=64))
    for opinion in opinions:
        assert all(len(set(ids.tolist())) == 64 for ids in opinion.topk_ids[opinion.valid])


def test_what_it_refuses_is_said_with_the_flag(server, student, played):
    with pytest.raises(EndpointError, match="--max-logprobs 65 or more"):
        teacher(server, student).score(played[:1], ScoreRequest(top_k=65))
    with pytest.raises(ConfigError, match=r"does not serve `another`. It serves starter-teacher"):
        teacher(server, student, model="another").check(played)
    row = played[0].rows[0]
    long = TokenRow(*(np.resize(part, 2048) for part in (row.token_ids, row.step_of_token, row.mask, row.old_logprob)))
    whole = Trajectory(played[0].task, EpisodePlan(), [], [long], played[0].stop)
    with pytest.raises(TrainingError, match="--max-model-len"):
        teacher(server, student, positions="all").score([whole], ScoreRequest())
    long.token_ids[5] = 5000
    whole.rows[0] = TokenRow(*(part[:60] for part in (long.token_ids, long.step_of_token, long.mask, long.old_logprob)))
    with pytest.raises(EndpointError, match="vocabulary is smaller"):
        teacher(server, student, positions="all").score([whole], ScoreRequest())


def test_another_tokenizer_is_found(server, played):
    from tiny import tiny_model, tiny_tokenizer

    from agentdistill.models import LoadedModel

    stranger = LoadedModel(tiny_model(), tiny_tokenizer(), "tiny", None, "-")
    with pytest.raises(TokenizationError, match="another tokenizer than the student"):
        teacher(server, stranger).check(played)


def test_the_server_of_the_other_tests_speaks_as_the_real_one(server, student):
    """Same keys, same shapes, same words: what the scripted server gets wrong would be tested for nothing."""
    scripted = ScoringServer(student.model, student.tokenizer)
    scripted.name, scripted.limit = "starter-teacher", 2048
    body = {
        "model": "starter-teacher", "prompt": [5, 6, 7, 8], "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 3,
        "return_token_ids": True,
    }  # fmt: skip
    real, ours = _post(server, "/v1/completions", body), scripted.completion(body)
    (real_choice,), (our_choice,) = real["choices"], ours["choices"]
    assert set(our_choice) <= set(real_choice) and set(ours) <= set(real)
    assert set(ours["usage"]) <= set(real["usage"]) and real["usage"]["prompt_tokens"] == 4
    entries, own = real_choice["prompt_logprobs"], our_choice["prompt_logprobs"]
    assert entries[0] is None and own[0] is None and len(entries) == len(own) == 4
    for entry, mine in zip(entries[1:], own[1:], strict=True):
        assert {frozenset(score) for score in entry.values()} == {frozenset(score) for score in mine.values()}
        assert 3 <= len(entry) <= 4 and sorted(score["rank"] for score in entry.values())[:3] == [1, 2, 3]
    assert real_choice["prompt_token_ids"] == our_choice["prompt_token_ids"]
    scripted.max_logprobs = 64
    for change in ({"prompt_logprobs": 65}, {"model": "x"}):
        status, words = scripted.completion(body | change)
        with pytest.raises(urllib.error.HTTPError) as caught:
            _post(server, "/v1/completions", body | change)
        assert caught.value.code == status and words in caught.value.read().decode()
    card = _get(server, "/v1/models")["data"][0]
    assert set(scripted.other("/v1/models", {})["data"][0]) <= set(card) and card["max_model_len"] == 2048
    for path, asked in (
        ("/tokenize", {"model": "starter-teacher", "prompt": "go to", "add_special_tokens": False}),
        ("/detokenize", {"model": "starter-teacher", "tokens": [41, 173]}),
    ):
        theirs, mine = _post(server, path, asked), scripted.other(path, asked)
        assert set(mine) <= set(theirs) and all(theirs[key] == mine[key] for key in ("tokens", "prompt") if key in mine)


def _post(server: Server, path: str, body: dict) -> dict:
    address, data = f"{server.url.removesuffix('/v1')}{path}", json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _get(server: Server, path: str) -> dict:
    with urllib.request.urlopen(f"{server.url.removesuffix('/v1')}{path}", timeout=60) as answer:
        return json.loads(answer.read())
