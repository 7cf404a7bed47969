"""Whole runs with a served teacher that goes away: they end with the same bytes, or stop where they can be resumed."""

from __future__ import annotations

import threading

import pytest
from scoring_server import scoring_server
from tiny import tiny_model, tiny_tokenizer
from tiny_runs import households, metrics_of, runs_of, weights_of

from agentdistill.clients import EndpointError
from agentdistill.errors import TeacherOutage, TrainingError
from agentdistill.training.run import Run


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("agentdistill.clients.retry.FIRST_WAIT", 0.01)
    monkeypatch.setattr("agentdistill.teachers.outage._FIRST_PAUSE", 0.02)


@pytest.fixture
def server():
    with scoring_server(tiny_model(2, hidden=32), tiny_tokenizer()) as made:
        yield made


@pytest.fixture
def make_run(tiny_models, server, tmp_path):
    patience = {"cache": "off", "retries": 0, "rest": 0.05, "patience": 20}
    recipe = households(
        tiny_models,
        run={"self_test": False},
        env={"max_steps": 4},
        teacher={"type": "vllm", "url": server.url, **patience},
        step_weight={"type": "sod"},
        rollout={"tasks_per_step": 4},
        optim={"steps": 4},
    )
    return runs_of(recipe, tmp_path)


def logged(run: Run, name: str) -> list[float]:
    return [line[name] for line in metrics_of(run)]


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
    assert weights_of(waited) == weights_of(undisturbed)
    assert sum(logged(waited, "teacher/outages")) == 1 and sum(logged(waited, "teacher/waited_seconds")) > 0.2
    for name in ("loss", "rows/dead", "teacher/rows"):
        assert logged(waited, name) == logged(undisturbed, name)


def test_a_run_that_stopped_is_resumed_to_the_same_end(make_run, server):
    undisturbed = make_run("undisturbed")
    undisturbed.train()
    asked = len(server.bodies)
    server.on_completion = gone(asked + 3 * asked // 4, None)
    stopped = make_run("stopped", teacher__patience=0.2)
    with pytest.raises(TeacherOutage, match=r"has not answered for 0.2 s.*--resume goes on from there"):
        stopped.train()
    done = len(logged(stopped, "loss"))
    assert 0 < done < 4
    server.down = False
    first, server.model = server.model, tiny_model(3, hidden=32)
    with pytest.raises(TeacherOutage, match=r"Another model is served at .* than when the run began"):
        make_run("stopped", teacher__patience=0.2, run__resume=True).train()
    server.model = first
    # A resumed run is the same run, so its patience is the same, too.
    again = make_run("stopped", teacher__patience=0.2, run__resume=True)
    again.train()
    assert weights_of(again) == weights_of(undisturbed)
    assert len(logged(again, "loss")) == 4


def test_skipped_rows_are_left_out_and_never_trained_as_zero(make_run, server):
    run = make_run("skipping", teacher__on_outage="skip", teacher__concurrency=1, teacher__trip=50)

    def one_in_every_step(state) -> None:
        if len(state.bodies) % 4 == 0:
            state.faults.insert(0, lambda value: None)

    server.on_completion = one_in_every_step
    run.train()
    skipped, dead = logged(run, "teacher/skipped_rows"), logged(run, "rows/dead")
    assert sum(skipped) > 0 and skipped == dead


def test_too_many_skipped_rows_stop_the_run(make_run, server):
    run = make_run("hopeless", teacher__on_outage="skip", teacher__concurrency=1, teacher__trip=50)

    def nearly_always(state) -> None:
        if len(state.bodies) % 4 and len(state.bodies) > 8:
            state.faults.append(lambda value: None)

    server.on_completion = nearly_always
    with pytest.raises(TrainingError, match="no score for"):
        run.train()


@pytest.mark.parametrize("nested", [False, True])
def test_a_server_that_lists_too_few_tokens_stops_the_run_before_it_begins(make_run, server, nested):
    inside = {"type": "route", "default": "one", "members": {"one": {"type": "vllm", "url": server.url}}}
    more = {"teacher": inside} if nested else {}
    run = make_run("never", **more, loss__support="teacher-topk", loss__k=32)
    with pytest.raises(EndpointError, match=r"greater than max allowed: 20 .*--max-logprobs 32 or more"):
        run.train()
    assert not run.directory.exists()


def test_a_server_that_is_down_stops_the_run_before_it_begins(make_run, server):
    server.down = True
    run = make_run("never")
    with pytest.raises(EndpointError, match="cannot be asked"):
        run.train()
    assert not run.directory.exists()
