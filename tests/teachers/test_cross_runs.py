"""Whole runs under a teacher with another tokenizer, and under one with the same behind `cross`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_conversations import loaded
from made_tokenizers import THINKING, byte_level
from tiny_runs import households, metrics_of, runs_of, weights_of

from agentdistill.errors import ConfigError, DataError, TokenizationError
from agentdistill.models import load_model
from agentdistill.training.checkpoint import list_checkpoints
from agentdistill.training.preflight import preflight
from agentdistill.training.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of another family: one keeps the conversation, one rewrites it."""
    place = tmp_path_factory.mktemp("cross")
    for name, tokenizer in (("other", byte_level()), ("thinking", byte_level(420, THINKING))):
        model = loaded(tokenizer, 2, hidden=32)
        model.model.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
    return place


@pytest.fixture
def make(folder: Path, tmp_path: Path):
    recipe = households(
        folder,
        run={"self_test": False, "checkpoint_every": 1},
        env={"context": {"type": "append"}},
        student={"model": "starter"},
        teacher=None,
        rollout={"max_new_tokens": 12},
        optim={"lr": 1e-4},
    )
    made = runs_of(recipe, tmp_path)
    return lambda name, teacher, **overrides: made(name, teacher=teacher, **overrides)


def inside(model: object) -> dict:
    return {"type": "local", "model": str(model)}


def learned(run: Run) -> tuple[list[dict], bytes]:
    return metrics_of(run), weights_of(run)


@pytest.mark.parametrize("loss", ["opd", "uld", "gold"])
def test_the_same_teacher_behind_cross_trains_the_same_student(make, loss):
    plain = make("plain", inside("starter-teacher"), loss__type=loss)
    through = make("through", {"type": "cross", "teacher": inside("starter-teacher")}, loss__type=loss)
    for run in (plain, through):
        run.train()
    (expected, weights), (got, others) = learned(plain), learned(through)
    assert weights == others
    assert [m["loss"] for m in got] == [m["loss"] for m in expected]


@pytest.mark.parametrize("loss", ["opd", "uld", "gold"])
def test_a_teacher_of_another_family_trains_and_says_what_it_could_not_score(make, folder, loss):
    first, again = (
        make(name, {"type": "cross", "teacher": inside(folder / "other")}, loss__type=loss) for name in ("a", "b")
    )
    for run in (first, again):
        run.train()
    (metrics, weights), (_, others) = learned(first), learned(again)
    assert weights == others
    start = load_model("starter", registry=first.registry)
    assert weights != (start.path / "model.safetensors").read_bytes()
    for line in metrics:
        assert line["teacher/mismatch"] == 0.0 and 0.0 < line["teacher/merged"] <= 1.0
        assert line["tokens/dead"] == pytest.approx(
            line["teacher/terminators"] * (line["tokens/dead"] + line["tokens/distill"]), abs=0.01
        )


def test_an_interrupted_run_goes_on_to_the_same_bits(make, folder):
    teacher = {"type": "cross", "teacher": inside(folder / "other")}
    whole, broken = make("whole", teacher), make("broken", teacher)
    whole.train()
    broken.train()
    (last,) = [c for c in list_checkpoints(broken.directory / "checkpoints") if c.path.name.endswith("2")]
    shutil.rmtree(last.path)
    make("broken", teacher, run__resume=True).train()
    assert learned(whole)[1] == learned(broken)[1]


def test_the_plan_says_what_is_aligned(make, folder):
    run = make("plan", {"type": "cross", "teacher": inside(folder / "thinking")})
    _, lines = preflight(run.parts)
    told = " ".join(lines)
    assert "100.0% of the text tokens are in spans of the same bytes" in told
    assert "reads 6 rows where the student has 2" in told
    tested = make("tested", run.resolved.values["teacher"], loss__type="gold", run__self_test=True)
    assert any("teacher = the student" in line for line in preflight(tested.parts)[1])
    plain = make("same", {"type": "cross", "teacher": inside("starter-teacher")})
    assert any("passed through" in line for line in preflight(plain.parts)[1])


def test_what_cannot_work_stops_before_the_run(make, folder):
    other = {"type": "cross", "teacher": inside(folder / "other")}
    with pytest.raises(ConfigError, match="top_k"):
        make("topk", other, loss__support="teacher-topk").train()
    with pytest.raises(ConfigError, match="a vocabulary of its own"):
        make("full", other, loss__support="full").train()
    with pytest.raises(TokenizationError, match="differ in"):
        make("plain", inside(folder / "other")).train()
    with pytest.raises(ConfigError, match=r"\[teacher\.teacher\] type: is missing"):
        make("untyped", {"type": "cross", "teacher": {"model": "x"}}).train()
    with pytest.raises(ConfigError, match="shows no tokenizer"):
        make("expert", {"type": "cross", "teacher": {"type": "expert"}}).train()
    with pytest.raises(DataError, match="Cannot load the teacher's tokenizer"):
        make("lost", {**other, "tokenizer": str(folder / "nowhere")}).train()


def test_a_cache_inside_answers_for_the_teacher(make, folder, tmp_path):
    """Scores are kept of the rows the teacher read; later nobody but its tokenizer is needed."""
    kept = {"cache_folder": str(tmp_path / "scores")}
    live = {"type": "cross", "teacher": {**inside(folder / "other"), **kept, "cache": "on"}}
    runs = [make("live", live), make("again", live)]
    for run in runs:
        run.train()
    (first, weights), (second, others) = (learned(run) for run in runs)
    assert weights == others and [m["loss"] for m in first] == [m["loss"] for m in second]
    assert first[0]["teacher/calls"] and not sum(m.get("teacher/calls", 0) for m in second)
    alone = {
        **live,
        "teacher": {**inside(folder / "other"), **kept, "cache": "only"},
        "tokenizer": str(folder / "other"),
    }
    offline = make("offline", alone)
    offline.train()
    assert learned(offline)[1] == weights
