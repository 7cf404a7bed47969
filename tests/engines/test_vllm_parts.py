"""The engine `vllm` without vLLM: its options, how its probe judges, what it writes, what it says of bad servers."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_server import Fault, chat_server
from safetensors.torch import load_file
from tiny import tiny_model, tiny_tokenizer

from agentdistill.clients import EndpointError
from agentdistill.clients.server_settings import ServerConfig
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import ConfigError, Interruption, MissingExtraError, TrainingError
from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.models import LoadedModel, load_model
from agentdistill_engines.vllm import VllmConfig, VllmEngine
from agentdistill_engines.vllm_backend import Answer, Ask, Draw
from agentdistill_engines.vllm_launch import flags
from agentdistill_engines.vllm_probe import TOP, Gap, Probe
from agentdistill_engines.vllm_server import Server
from agentdistill_engines.vllm_start import start
from agentdistill_engines.vllm_weights import Folders, write_checkpoint


def loaded(**config) -> LoadedModel:
    return LoadedModel(tiny_model(**config), tiny_tokenizer(), "tiny", None, "-")


class Faithful:
    """A backend that answers with a copy of the model, taken when weights are pushed. For faults only."""

    def __init__(self, model: LoadedModel) -> None:
        self.name, self.context_length, self.fresh = "copy", 400, False
        self.copies = 0
        self.stop_early = False
        self.push(model, "weights")

    def push(self, model: LoadedModel, way: str) -> None:
        self.weights = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
        self.copies += 1

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass

    @torch.no_grad()
    def sample(self, asks: list[Ask], draw: Draw) -> list[Answer]:
        model = tiny_model()
        model.load_state_dict(self.weights)
        answers = []
        for ask in asks:
            scores = model(input_ids=torch.tensor([list(ask.prompt)])).logits[0, -1].log_softmax(-1)
            best = scores.topk(max(draw.top, 1))
            top = dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            token = int(best.indices[0])
            finish = "stop" if self.stop_early or token in draw.stop_ids else "length"
            answers.append(Answer([token], [top[token]], finish, [top]))
        return answers


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch):
    """An engine over the faithful backend, with its student."""
    student = loaded()
    backend = Faithful(student)
    monkeypatch.setattr("agentdistill_engines.vllm.start", lambda *_: backend)
    return VllmEngine(VllmConfig(), student), student, backend


def nudge(student: LoadedModel, by: float) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(student.model.parameters()):
            parameter.add_(by * torch.sin(torch.arange(parameter.numel()).view_as(parameter) + number).float())


def test_the_weights_are_handed_over_at_the_start_and_after_every_step(engine):
    made, student, backend = engine
    assert backend.copies == 2  # the copy itself, and the start
    for step in range(1, 4):
        nudge(student, 1e-3)
        made.sync(step)
        numbers = made.metrics()
        assert numbers["probe_gap"] < 1e-5 < numbers["probe_moved"] and numbers["sync_seconds"] > 0
    assert backend.copies == 5


@pytest.mark.parametrize("by", [1e-2, 1e-4])
def test_a_sync_that_does_nothing_stops_the_run(engine, by):
    made, student, backend = engine
    backend.push = lambda *_: None
    nudge(student, by)
    with pytest.raises(TrainingError, match="serves other weights than the learner has \\(after optimiser step 4\\)"):
        made.sync(4)


def test_a_weight_that_stays_behind_stops_the_run(engine):
    made, student, backend = engine
    whole = backend.push

    def without_output_layer(model, way):
        old = backend.weights["lm_head.weight"]
        whole(model, way)
        # The embedding is tied: only a model of its own can have one without the other.
        backend.weights["lm_head.weight"] = backend.weights["model.embed_tokens.weight"] = old

    backend.push = without_output_layer
    nudge(student, 1e-3)
    with pytest.raises(TrainingError, match="differ from the learner's by up to"):
        made.sync(1)


def test_wrong_weights_at_the_start_are_found_even_with_sync_off(monkeypatch):
    backend = Faithful(loaded(seed=1))
    monkeypatch.setattr("agentdistill_engines.vllm.start", lambda *_: backend)
    with pytest.raises(TrainingError, match="at the start, with sync = off"):
        VllmEngine(VllmConfig(sync="off"), loaded(seed=2))


def test_small_steps_in_half_precision_are_judged_by_what_did_not_move():
    student = loaded()
    probe = Probe(student, 400, None)
    probe._noise, probe._floor, probe.tolerance = 8e-3, 0.05, 0.15
    probe.accept(Gap(0.03, 0.02, frozen=False), "now")
    with pytest.raises(TrainingError, match="digit for digit"):
        probe.accept(Gap(0.03, 0.02, frozen=True), "now")
    probe.accept(Gap(0.008, 0.004, frozen=True), "now")  # a step that rounding hides may change nothing


def test_the_probe_fills_more_than_two_large_blocks_and_fits_short_contexts():
    student = loaded()
    assert [len(prompt) for prompt in Probe(student, 4096, None).prompts] == [300, 9]
    assert [len(prompt) for prompt in Probe(student, 20, None).prompts] == [19, 9]
    own = Probe(student, 64, None)
    served = [dict.fromkeys(range(TOP), float("nan"))] * 2
    with pytest.raises(TrainingError):
        own.accept(own.compare(served), "now")


def test_a_response_that_ends_elsewhere_is_not_taken(engine):
    made, _, backend = engine
    request, sampling = GenerationRequest("s", [5, 6, 7]), Sampling(1, (2,), 0.0, top_k=3)
    (found,) = made.generate([request], sampling)
    assert found.finish == "length" and len(found.top_ids[0]) == 3
    backend.stop_early = True
    with pytest.raises(TrainingError, match="where the chat template does not"):
        made.generate([request], sampling)
    backend.stop_early = False
    backend.sample = lambda asks, draw: [Answer([2, 9], [-1.0, -1.0], "length", [{}, {}])]
    with pytest.raises(TrainingError, match="where the chat template does not"):
        made.generate([request], Sampling(2, (2,), 0.0))


def test_entropies_are_not_offered(engine):
    made, _, _ = engine
    assert made.capabilities == {"top_ids"}
    with pytest.raises(ConfigError, match="does not report the entropy"):
        made.generate([GenerationRequest("s", [5])], Sampling(1, (), entropy=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "localhost:8000"}, "begins with http"),
        ({"url": "http://h/v1", "python": "p"}, "exclude each other"),
        ({"url": "http://h/v1", "options": {"a": 1}}, "has its own already"),
        ({"options": {"max-model-len": 9}}, "max_model_len is not free"),
    ],
)
def test_options_that_contradict_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        VllmConfig(**options)


def test_how_weights_go_is_settled_by_student_and_place():
    plain, adapted = loaded(), loaded()
    adapted.model = add_lora(adapted.model, LoraSettings(rank=4))
    assert VllmConfig().way(plain) == VllmConfig().way(adapted) == VllmConfig(python="p").way(plain) == "weights"
    assert VllmConfig(python="p").way(adapted) == VllmConfig(url="http://h/v1").way(adapted) == "adapter"
    with pytest.raises(ConfigError, match="the student has none"):
        VllmConfig(sync="adapter").way(plain)


def test_options_become_flags():
    options = {"enforce_eager": True, "enable_prefix_caching": False, "max_num_seqs": 8, "x": None, "c": {"a": [1]}}
    assert flags(options) == [
        "--enforce-eager",
        "--no-enable-prefix-caching",
        "--max-num-seqs",
        "8",
        "--c",
        '{"a": [1]}',
    ]


def test_a_checkpoint_names_the_output_layer_of_a_tied_model(tmp_path: Path):
    student = loaded()
    assert student.model.config.tie_word_embeddings
    write_checkpoint(student, tmp_path / "w")
    stored = load_file(tmp_path / "w" / "model.safetensors")
    assert torch.equal(stored["lm_head.weight"], stored["model.embed_tokens.weight"])
    assert set(stored) == set(student.model.state_dict())
    write_checkpoint(student, tmp_path / "whole", whole=True)
    again = load_model(str(tmp_path / "whole"))
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(again.model(ids).logits, student.model(ids).logits)


def test_two_folders_are_kept(tmp_path: Path):
    folders = Folders(tmp_path)
    for number in range(1, 5):
        path = folders.next("weights")
        path.mkdir()
        assert path.name == f"weights-{number}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights-3", "weights-4"]


def test_an_interpreter_without_vllm_is_told_with_the_extra():
    with pytest.raises(MissingExtraError, match=r"has no vLLM.*extra `vllm`.*pip install 'agentdistill\[vllm\]'"):
        VllmEngine(VllmConfig(python=sys.executable), loaded())
    with pytest.raises(ConfigError, match="cannot be run"):
        VllmEngine(VllmConfig(python="/no/such/python"), loaded())
    if not VllmEngine.available():
        with pytest.raises(MissingExtraError, match=r"not installed\. It comes with the optional extra `vllm`"):
            VllmEngine(VllmConfig(), loaded())


def reply(body, **changes):
    """A completion as vLLM sends it."""
    choice = {
        "index": 0,
        "token_ids": [7],
        "prompt_token_ids": body["prompt"],
        "logprobs": {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:7": -0.5}]},
        "finish_reason": "length",
    }
    return {"choices": [choice | changes]}


def server(fake, tmp_path: Path, **options) -> Server:
    return Server(ServerConfig(url=fake.url, retries=0, **options), folder=tmp_path)


def test_every_sampling_parameter_is_named_on_the_wire(tmp_path):
    with chat_server(reply) as fake:
        (answer,) = server(fake, tmp_path).sample([Ask([1, np.int64(2)], 2**64 - 1, 9)], Draw(0.7, 0.9, (2,), 4))
        ((path, _, body),) = fake.requests
    assert path == "/v1/completions" and answer == Answer([7], [-0.5], "length", [{7: -0.5}])
    assert body == {
        "model": "the-model", "prompt": [1, 2], "max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "top_k": 0,
        "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "seed": 2**63 - 1, "ignore_eos": True, "stop_token_ids": [2], "logprobs": 4, "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }  # fmt: skip


def test_bad_answers_of_a_server_are_told(tmp_path):
    ask, draw = [Ask([1, 2], 0, 1)], Draw(0.0, 1.0, ())
    with chat_server(reply) as fake:
        made = server(fake, tmp_path)
        fake.answer = lambda body: reply(body, prompt_token_ids=[2, 1])
        with pytest.raises(EndpointError, match="answered another prompt than it was asked"):
            made.sample(ask, draw)
        fake.answer = lambda body: reply(body, token_ids=None)
        with pytest.raises(EndpointError, match="without token ids or log-probabilities"):
            made.sample(ask, draw)
        fake.answer = lambda body: Fault(400, '{"error": {"message": "Requested sample logprobs of 20, max 5"}}')
        with pytest.raises(EndpointError, match="--max-logprobs 20 or more"):
            made.sample(ask, draw)
        fake.answer = lambda body: Fault(drop=True)
        with pytest.raises(Interruption, match=r"does not answer.*--resume"):
            made.sample(ask, draw)
        fake.answer = lambda body: Fault(404, '{"detail": "Not Found"}')
        with pytest.raises(ConfigError, match="VLLM_SERVER_DEV_MODE=1"):
            made.push(loaded(), "weights")
        with pytest.raises(ConfigError, match="VLLM_SERVER_DEV_MODE=1"):
            made.reset()
        adapted = loaded()
        adapted.model = add_lora(adapted.model, LoraSettings(rank=4))
        with pytest.raises(ConfigError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            made.push(adapted, "adapter")
        fake.answer = lambda body: {"success": False}
        with pytest.raises(TrainingError, match="does not empty its prefix cache"):
            made.reset()


def test_the_model_on_the_server_must_be_clear(tmp_path):
    with chat_server(reply) as fake:
        fake.models = ("a", "b")
        with pytest.raises(ConfigError, match=r"serves a, b\. It is not clear which one"):
            server(fake, tmp_path)
        with pytest.raises(ConfigError, match=r"engine\.model does not name one of them"):
            server(fake, tmp_path, model="c")
        assert server(fake, tmp_path, model="b")._model == "b"
    with pytest.raises(Interruption, match="does not answer"):
        Server(ServerConfig(url="http://127.0.0.1:9/v1"), folder=tmp_path)


def test_a_server_takes_the_weights_of_one_engine_only():
    with chat_server(reply) as fake:
        fake.answer = lambda body: Fault(404, "{}")
        for _ in range(2):  # an engine that failed to start holds nothing
            with pytest.raises(ConfigError, match="takes no new weights"):
                VllmEngine(VllmConfig(url=fake.url, max_context=64), loaded())
        with ExitStack() as cleanup:
            start(VllmConfig(url=fake.url), loaded(), cleanup)
            with pytest.raises(ConfigError, match="Two models of this run would be put on the one server"):
                start(VllmConfig(url=fake.url), loaded(seed=2), cleanup)
            start(VllmConfig(url=fake.url, sync="off"), loaded(), cleanup)


def test_the_context_is_the_servers_or_less(monkeypatch):
    student = loaded()
    backend = Faithful(student)
    monkeypatch.setattr("agentdistill_engines.vllm.start", lambda *_: backend)
    assert VllmEngine(VllmConfig(), student).context_length == 400
    engine = VllmEngine(VllmConfig(max_context=50), student)
    found = engine.generate([GenerationRequest("a", [5] * 50), GenerationRequest("b", [5] * 49)], Sampling(1, ()))
    assert engine.context_length == 50 and [one.finish for one in found] == ["context", "length"]
    with pytest.raises(ConfigError, match="max_context` is 500, and vLLM serves 400"):
        VllmEngine(VllmConfig(max_context=500), student)
    backend.context_length = 0
    with pytest.raises(ConfigError, match="does not say how long"):
        VllmEngine(VllmConfig(), student)
