"""Whole runs with a served teacher that goes away: they end with the same bytes, or stop where they can be resumed."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from scoring_server import scoring_server
from tiny import tiny_model, tiny_tokenizer

from agentdistill.clients import EndpointError
from agentdistill.config.load import load_config
from agentdistill.errors import TeacherOutage, TrainingError
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run

RECIPE = """
[run]
name = "served"
seed = 3
self_test = false

[env]
type = "alfworld"
engine = "fast"
max_steps = 4
generated = { train = 12, seen = 6, unseen = 6 }

[student]
model = "STUDENT"

[teacher]
type = "vllm"
cache = "off"
retries = 0
rest = 0.05
patience = 20

[step_weight]
type = "sod"

[loss]
type = "opd"

[rollout]
tasks_per_step = 4
max_new_tokens = 6

[optim]
lr = 1e-3
steps = 4
"""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("agentdistill.clients.retry.FIRST_WAIT", 0.01)
    monkeypatch.setattr("agentdistill.teachers.outage._FIRST_PAUSE", 0.02)


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    tiny_model(1, hidden=32).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def server():
    with scoring_server(tiny_model(2, hidden=32), tiny_tokenizer()) as made:
        yield made


@pytest.fixture
def make_run(student, server, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace("STUDENT", str(student)))

    def make(name: str, **overrides: object) -> Run:
        registry = PluginRegistry.load(third_party=False)
        values = {"run.directory": str(tmp_path / name), "teacher.url": server.url}
        values |= {key.replace("__", "."): value for key, value in overrides.items()}
        return Run(load_config([str(recipe)], values, registry=registry), registry)

    return make


def weights(run: Run) -> bytes:
    return (run.directory / "student" / "model.safetensors").read_bytes()


def metrics(run: Run, name: str) -> list[float]:
    return [json.loads(line)[name] for line in (run.directory / "metrics.jsonl").read_text().splitlines()]


def gone(requests: int, seconds: float | None):
    """Hangs up after some completions, and comes back later or never."""

    def look(state) -> None:
        if len(state.bodies) >= requests and state.on_completion is not None:
            state.down, state.on_completion = True, None
            if seconds is not None:
                threading.Timer(seconds, lambda: setattr(state, "down", False)).start()

    return look


def test_a_run_that_waited_is_the_run_that_did_not(make_run, server):
    undisturbed = make_run("undisturbed")
    undisturbed.train()
    asked = len(server.bodies)
    server.on_completion = gone(asked + asked // 2, 1.0)
    waited = make_run("waited")
    waited.train()
    assert weights(waited) == weights(undisturbed)
    assert sum(metrics(waited, "teacher/outages")) == 1 and sum(metrics(waited, "teacher/waited_seconds")) > 0.2
    for name in ("loss", "rows/dead", "teacher/rows"):
        assert metrics(waited, name) == metrics(undisturbed, name)


def test_a_run_that_stopped_is_resumed_to_the_same_end(make_run, server):
    undisturbed = make_run("undisturbed")
    undisturbed.train()
    asked = len(server.bodies)
    server.on_completion = gone(asked + 3 * asked // 4, None)
    stopped = make_run("stopped", teacher__patience=0.2)
    with pytest.raises(TeacherOutage, match=r"has not answered for 0.2 s.*--resume goes on from there"):
        stopped.train()
    done = len(metrics(stopped, "loss"))
    assert 0 < done < 4
    server.down = False
    # A resumed run is the same run, so its patience is the same, too.
    again = make_run("stopped", teacher__patience=0.2, run__resume=True)
    again.train()
    assert weights(again) == weights(undisturbed)
    assert len(metrics(again, "loss")) == 4


def test_skipped_rows_are_left_out_and_never_trained_as_zero(make_run, server):
    run = make_run("skipping", teacher__on_outage="skip", teacher__concurrency=1, teacher__trip=50)

    def one_in_every_step(state) -> None:
        if len(state.bodies) % 4 == 0:
            state.faults.insert(0, lambda value: None)

    server.on_completion = one_in_every_step
    run.train()
    skipped, dead = metrics(run, "teacher/skipped_rows"), metrics(run, "rows/dead")
    assert sum(skipped) > 0 and skipped == dead


def test_too_many_skipped_rows_stop_the_run(make_run, server):
    run = make_run("hopeless", teacher__on_outage="skip", teacher__concurrency=1, teacher__trip=50)

    def nearly_always(state) -> None:
        if len(state.bodies) % 4 and len(state.bodies) > 8:
            state.faults.append(lambda value: None)

    server.on_completion = nearly_always
    with pytest.raises(TrainingError, match="no score for"):
        run.train()


def test_a_server_that_is_down_stops_the_run_before_it_begins(make_run, server):
    server.down = True
    run = make_run("never")
    with pytest.raises(EndpointError, match="cannot be asked"):
        run.train()
    assert not run.directory.exists()
