"""The engine `vllm` with servers: one that the user started, changed under its feet, and one of the run's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from served import STARTERS, Server, running, vllm_python

from agentdistill.config.load import load_config
from agentdistill.conversation.base import Message
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import ConfigError, Interruption, TrainingError
from agentdistill.export import export_student
from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run
from agentdistill_engines.hf import HfConfig, HfEngine
from agentdistill_engines.vllm import VllmConfig, VllmEngine

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

GAMES = [f"You see a desk {i}, a bed 1 and a mug 2. Your task is to: put the mug on desk {i}." for i in range(5)]
OPEN = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
OWN = {"enforce_eager": True, "disable_log_stats": True}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory):
    """The starter student, served so that its weights and adapters may be changed."""
    log = tmp_path_factory.mktemp("open") / "server.log"
    adapters = ("--enable-lora", "--max-lora-rank", "8", "--max-loras", "1")
    with running(STARTERS / "student-35", log, *adapters, environment=OPEN) as made:
        yield made


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load(third_party=False)


def student(lora: bool = False) -> LoadedModel:
    made = load_model(str(STARTERS / "student-35"))
    if lora:
        made.model = add_lora(made.model, LoraSettings(rank=6))
    return made


def nudge(model: LoadedModel, by: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.sign(torch.randn(parameter.shape, generator=generator)))


def answers(engine, model: LoadedModel) -> list[tuple[list[int], str]]:
    renderer = ChatRenderer(model.tokenizer, per_turn=True)
    requests = [GenerationRequest(f"g{i}", renderer.prompt([Message("user", text)])) for i, text in enumerate(GAMES)]
    return [(one.token_ids, one.finish) for one in engine.generate(requests, Sampling(16, renderer.stop_ids, 0.0))]


@pytest.mark.parametrize("lora", [True, False])  # in this order: handing over all weights changes the base
def test_a_running_server_follows_the_learner(open_server: Server, lora: bool):
    model = student(lora)
    engine = VllmEngine(VllmConfig(url=open_server.url), model)
    try:
        (line,) = engine.check([])
        assert ("the adapter" if lora else "all weights") in line and engine.context_length == 2048
        for step in range(1, 3):
            nudge(model, 1e-2, step)
            engine.sync(step)
            assert engine.metrics()["probe_gap"] < 1e-5
        assert answers(engine, model) == answers(HfEngine(HfConfig(), model), model)
        # An update that the server is not told of stops the run; one that it is told of goes on.
        push, engine._backend.push = engine._backend.push, lambda *_: None
        nudge(model, 1e-4, 9)
        with pytest.raises(TrainingError, match="serves other weights than the learner has"):
            engine.sync(3)
        engine._backend.push = push
        engine.sync(3)
        # So does a prefix cache that keeps what older weights computed; every adapter has a part of its own.
        if not lora:
            engine._backend.reset = lambda: None
            nudge(model, 1e-3, 10)
            with pytest.raises(TrainingError, match="serves other weights than the learner has"):
                engine.sync(4)
    finally:
        engine.close()


def test_a_server_that_lets_nobody_change_it_says_how_it_would(server: Server):
    with pytest.raises(ConfigError, match=r"takes no new weights.*VLLM_SERVER_DEV_MODE=1"):
        VllmEngine(VllmConfig(url=server.url), load_model(str(STARTERS / "teacher")))
    with pytest.raises(ConfigError, match=r"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        VllmEngine(VllmConfig(url=server.url), student(lora=True))


RECIPE = {
    "env.max_steps": 3,
    "env.generated": {"train": 12, "seen": 6, "unseen": 6},
    "student.model": "starter-35",
    "optim.steps": 4,
    "optim.lr": 1e-3,
    "rollout.tasks_per_step": 3,
    "run.checkpoint_every": 1,
    "run.self_test": False,
    "curriculum.type": "full",
    "eval.panel": False,
}


@pytest.mark.timeout(1800)  # two servers, one after the other
def test_a_run_samples_from_its_own_server_and_survives_its_end(registry, tmp_path: Path):
    """Two steps, then the server is killed: the run stops with its checkpoint, and goes on with another server."""
    folder = tmp_path / "weights"
    engine = {"type": "vllm", "python": str(vllm_python()), "folder": str(folder), "options": OWN}
    values = {**RECIPE, "engine": engine, "run.directory": str(tmp_path / "run")}

    def make(**more) -> Run:
        return Run(load_config(["tcod-alfworld", "starter"], {**values, **more}, registry=registry), registry)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}.items():
            patch.setenv(name, value)
        first = make()
        steps: list[dict] = []

        class Watch:
            def plan(self, lines):
                self.lines = list(lines)

            def step(self, metrics):
                steps.append(dict(metrics))
                if metrics["step"] == 2:
                    launched = first.parts.engine._backend._gone.__self__
                    os.killpg(launched._process.pid, signal.SIGKILL)

            def eval(self, result): ...

            def warn(self, alert): ...

        first.reporter = watch = Watch()
        with pytest.raises(Interruption, match=r"does not answer.*ended with code -9.*--resume"):
            first.train()
        assert [one["step"] for one in steps] == [1, 2]
        assert all(one["engine/probe_gap"] < 1e-5 and one["gap/logprob_max"] < 1e-4 for one in steps)
        assert all(one["engine/sync_seconds"] > 0 for one in steps)
        assert any("hands over all weights after each step" in line for line in watch.lines)
        second = make(**{"run.resume": True})
        second.reporter = Watch()
        second.train()
        assert [one["step"] for one in steps[2:]] == [3, 4]
        assert "ended" in second.parts.engine._backend._gone(), "the server ends with the run"
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
    assert len(logs := list(folder.glob("vllm-*.log"))) == 2 and all(log.stat().st_size for log in logs)


def test_an_export_is_loaded_by_vllm_and_answers_there_as_here(registry, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    trained = student()
    nudge(trained, 1e-2, 3)
    trained.model.save_pretrained(tmp_path / "trained")
    trained.tokenizer.save_pretrained(tmp_path / "trained")
    done = export_student(
        tmp_path / "trained", tmp_path / "out", registry=registry, check="vllm",
        engine={"python": str(vllm_python()), "max_context": 512, "options": OWN},
    )  # fmt: skip
    assert done.checks[1].startswith("vllm 0.") and "greedy tokens as the trained student" in done.checks[1]
    assert done.checks[1] in (done.directory / "README.md").read_text()
