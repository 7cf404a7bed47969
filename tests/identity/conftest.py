"""A teacher that says every word, and a student that learned from the expert for so long that it says most."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tiny import tiny_model, tiny_tokenizer

from agentdistill.config.load import load_config
from agentdistill.evaluate.result import load_result
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run
from agentdistill.training.sft import imitate

PLUGIN = "tests.identity.words"

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'][0] + message['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>a' }}{% endif %}"
)
"""Every byte is a token: a template of few words is most of a tiny model's speed."""

LOW, HIGH = 0.4, 0.8
"""Success of the start, so that there is something to learn and something to learn it from."""

STEPS = 50

BASE: dict[str, Any] = {
    "run": {"name": "words", "checkpoint_every": 0, "self_test": False, "diagnostics": False},
    "env": {"type": "words", "max_steps": 2},
    "rollout": {"tasks_per_step": 32, "max_new_tokens": 4, "concurrency": 64},
    "eval": {"panel": "words/all", "temperature": 0.0},
    "optim": {"schedule": "linear", "weight_decay": 0.0},
}


class Start(NamedTuple):
    """Where every method begins.

    Attributes:
        student: directory of the model that learns.
        teacher: directory of its teacher.
        success: the student's.
    """

    student: str
    teacher: str
    success: float


@pytest.fixture(scope="session")
def registry() -> PluginRegistry:
    return PluginRegistry.load([PLUGIN])


def pupil(folder: Path, base: dict[str, Any], plugin: str, registry: PluginRegistry, **values: Any) -> Path:
    """A model of one layer that imitated an environment's expert until it always wins: the directory of its run."""
    tiny_model(seed=1, layers=1, hidden=32, initializer_range=0.05).save_pretrained(folder / "raw")
    tiny_tokenizer(TEMPLATE).save_pretrained(folder / "raw")
    given = {"run.directory": str(folder / "sft"), "student.model": str(folder / "raw")}
    given |= {"optim.steps": 80, "optim.lr": 8e-3, **values}
    result = imitate(load_config([base], given, registry=registry, plugins=[plugin]), registry)
    assert result.after is not None and result.after.success.value == 1.0
    return folder / "sft"


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory, registry: PluginRegistry) -> Start:
    """Imitation of the expert; the student is the first checkpoint that is good enough, the teacher the last."""
    kept = {"run.checkpoint_every": 2, "run.keep_checkpoints": 100, "eval.every": 2, "optim.schedule": "constant"}
    run = pupil(tmp_path_factory.mktemp("words"), BASE, PLUGIN, registry, **kept)
    for path in sorted((run / "evaluations").glob("step-*.json")):
        found = load_result(path).success.value
        if LOW <= found <= HIGH:
            student = run / "checkpoints" / path.stem / "student"
            return Start(str(student), str(run / "student"), found)
    pytest.fail(f"no checkpoint of the expert's pupil won between {LOW} and {HIGH}")


@pytest.fixture
def make_run(start: Start, registry: PluginRegistry, tmp_path: Path):
    """A run of 50 steps from the start, in its own directory."""

    def make(values: dict[str, Any], seed: int = 0) -> Run:
        mine = {
            "run.directory": str(tmp_path / "run"),
            "run.seed": seed,
            "student.model": start.student,
            "optim.steps": STEPS,
            "optim.lr": 3e-3,
        }
        taught = {"teacher.type": "local", "teacher.model": start.teacher, "loss.type": "opd"}
        given = dict(values)
        if given.pop("taught", True):
            mine |= taught
        return Run(load_config([BASE], {**mine, **given}, registry=registry, plugins=[PLUGIN]), registry)

    return make
