"""Whole runs with a teacher of which only the words are known, behind a real server: what they learn and cost."""

from __future__ import annotations

import json

import pytest
from chat_server import Fault, chat_server, completion
from tiny_runs import households, metrics_of, runs_of, weights_of

from agentdistill.conversation.base import Situation
from agentdistill.errors import BudgetSpent, ConfigError, TeacherOutage, TrainingError
from agentdistill.records import Actor, LossRole
from agentdistill.store import TrajectoryStore
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_teachers.chat import ChatTeacher, ChatTeacherConfig

NOBODY = "http://localhost:1/v1"
CONTEXT = AppendContext(AppendConfig())


def words(messages) -> str:
    return "\n\n".join(f"{m['role']}: {m['content']}" for m in messages)


@pytest.fixture
def recipe(tiny_models):
    return households(
        tiny_models,
        run={"checkpoint_every": 1},
        teacher={"type": "chat", "url": NOBODY, "model": "words", "served_as": "the test", "retries": 0},
        loss=None,
        curriculum={"type": "sopd"},
        rollout={"tasks_per_step": 3, "max_new_tokens": 48, "concurrency": 3},
        optim={"steps": 3, "reduction": "turn-mean"},
    )


@pytest.fixture
def make_run(recipe, tmp_path, monkeypatch):
    """Makes a run in its own directory; each test has answers of its own."""
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))
    make = runs_of(recipe, tmp_path)
    return lambda name, url=NOBODY, **overrides: make(name, teacher__url=url, **overrides)


@pytest.fixture
def expert(make_run):
    """A run whose teacher is the environment's expert, and a server's answers in the expert's words."""
    run = make_run("expert", curriculum__guide="expert")
    run.train()
    known = {}
    for trajectory in TrajectoryStore(run.directory / "episodes").read():
        for place, step in enumerate(trajectory.steps):
            situation = Situation(trajectory.meta["goal"], step.observation, (), trajectory.steps[:place])
            asked = [{"role": m.role, "content": m.content} for m in CONTEXT.messages(situation)]
            action = step.info["expert_action"]
            known[words(asked)] = "" if action is None else CONTEXT.render_action(action)
    return run, lambda body: known.get(words(body["messages"]), "look")


def test_sopd_from_the_experts_words_is_sopd_from_the_expert(make_run, expert):
    """Without any [loss]: the same episodes, the same turns imitated, and so the same weights to the last bit."""
    scripted, answer = expert
    with chat_server(answer) as server:
        run = make_run("words", server.url)
        run.train()
        asked = len(server.requests)
    assert weights_of(run) == weights_of(scripted)
    lines = metrics_of(run)
    turns = [line["curriculum/relabelled_turns"] for line in lines]
    assert turns == [line["curriculum/relabelled_turns"] for line in metrics_of(scripted)] and min(turns) > 0
    assert all(line["tokens/imitate"] > 0 and line["tokens/distill"] == 0 for line in lines)
    assert sum(line["teacher/requests"] for line in lines) == asked
    assert all(line["teacher/tokens_in"] > line["teacher/tokens_out"] > 0 for line in lines)
    assert "teacher/cost_usd" not in lines[0]  # prices are unknown
    with chat_server(lambda body: {}) as empty:
        again = make_run("again", empty.url)
        again.train()
        assert not empty.requests and weights_of(again) == weights_of(run)


def test_what_the_plan_says_of_it(make_run, expert):
    _, answer = expert
    lines: list[str] = []

    class Watcher:
        def plan(self, told):
            lines.extend(told)

        def step(self, metrics): ...

        def eval(self, result): ...

        def warn(self, alert): ...

    with chat_server(answer) as server:
        run = make_run("words", server.url, optim__steps=1)
        run.reporter = Watcher()
        run.train()
    text = "\n".join(lines)
    assert "teacher words (chat)" in text and "loss     none" in text
    assert f"teacher  words at {server.url} answers" in text
    assert "only turns that others write are trained" in text


def test_a_spent_budget_leaves_a_checkpoint_that_a_larger_one_goes_on_from(make_run, expert):
    scripted, answer = expert
    prices = {"teacher__price_in": 1.0, "teacher__price_out": 10.0}
    with chat_server(answer) as server:
        whole = make_run("whole", server.url, **prices)
        whole.train()
    costs = [line["teacher/cost_usd"] for line in metrics_of(whole)]
    assert all(cost > 0 for cost in costs)
    with chat_server(answer) as server:
        small = {**prices, "teacher__served_as": "another", "teacher__concurrency": 1}
        run = make_run("small", server.url, teacher__budget=costs[0] + costs[1] / 2, **small)
        with pytest.raises(BudgetSpent, match=r"is spent.*Raise budget.*after step 1; --resume goes on"):
            run.train()
        assert (run.directory / "checkpoints" / "step-000001").is_dir()
        first = len(server.requests)
        with pytest.raises(BudgetSpent, match="is spent"):  # what was spent is not forgotten
            make_run("small", server.url, run__resume=True, teacher__budget=costs[0] + costs[1] / 2, **small).train()
        assert len(server.requests) == first
        resumed = make_run("small", server.url, run__resume=True, teacher__budget=1.0, **small)
        resumed.train()
        assert len(server.requests) == len(set(words(b["messages"]) for _, _, b in server.requests))  # nothing twice
    assert weights_of(resumed) == weights_of(scripted)
    lines = metrics_of(resumed)
    assert [line["step"] for line in lines] == [1, 2, 3]
    total = sum(line["teacher/cost_usd"] for line in lines)
    assert resumed.parts.teacher.client.usage.cost == pytest.approx(total)  # type: ignore[attr-defined]
    assert json.loads((resumed.directory / "results.json").read_text())["totals"]["teacher_cost_usd"] == total


def test_a_judges_budget_stops_the_run_in_the_same_way(make_run):
    judged = {
        "curriculum__type": "full", "advantage__type": "grpo", "rollout__samples_per_task": 2, "loss": False,
        "reward__type": "llm-judge", "reward__model": "judge", "reward__price_in": 1.0, "reward__price_out": 1.0,
    }  # fmt: skip
    verdicts = iter(range(10**6))
    with chat_server(lambda body: f"<score>{next(verdicts) % 11}</score>") as server:
        with pytest.raises(BudgetSpent, match="--resume goes on"):
            make_run("judged", reward__url=server.url, reward__budget=0.001, **judged).train()
        resumed = make_run("judged", reward__url=server.url, reward__budget=1.0, run__resume=True, **judged)
        resumed.train()
    assert [line["step"] for line in metrics_of(resumed)] == [1, 2, 3]


def test_a_server_that_goes_down_stops_the_run_and_loses_nothing(make_run, expert):
    scripted, answer = expert
    with chat_server(answer) as server:
        server.answer = lambda body: Fault(503, "gone") if len(server.requests) > 12 else answer(body)
        run = make_run("down", server.url, teacher__concurrency=1)
        with pytest.raises(TeacherOutage, match=r"503.*--resume goes on"):
            run.train()
        server.answer = answer
        resumed = make_run("down", server.url, run__resume=True, teacher__concurrency=1)
        resumed.train()
    assert weights_of(resumed) == weights_of(scripted)


def test_a_server_that_is_down_at_the_start_is_named_before_anything_is_played(make_run):
    with pytest.raises(TeacherOutage, match="localhost:1/v1 cannot be reached"):
        make_run("words").train()


def test_it_plays_turns_in_the_students_place(make_run):
    with chat_server("look") as server:
        run = make_run("guided", server.url, curriculum__type="guided", curriculum__fade=0.0,
                       curriculum__last_share=0.5, optim__steps=2)  # fmt: skip
        run.train()
        assert {body["temperature"] for _, _, body in server.requests[1:]} == {1.0}
    steps = [s for t in TrajectoryStore(run.directory / "episodes").read() for s in t.steps]
    guided = [s for s in steps if s.actor is Actor.TEACHER]
    assert guided and all(s.response == "look" and s.loss_role is LossRole.IMITATE for s in guided)
    assert len(guided) < len(steps)


def test_another_teacher_scores_the_students_own_turns(recipe, tiny_models, tmp_path):
    """The words of one teacher are imitated, the scores of another are distilled, in one run."""
    with chat_server("look") as server:
        members = {
            "words": {"type": "chat", "url": server.url, "model": "words", "price_in": 1.0, "price_out": 1.0},
            "scores": {"type": "local", "model": str(tiny_models / "teacher")},
        }
        teacher = {"type": "route", "default": "scores", "act": "words", "members": members}
        both = {**recipe, "teacher": teacher, "loss": {"type": "opd"}}
        run = runs_of(both, tmp_path)("both", curriculum__distill=True)
        run.train()
    for line in metrics_of(run):
        assert line["tokens/imitate"] > 0 and line["tokens/distill"] > 0
        assert line["teacher/share/scores"] == 1.0 and line["teacher/share/words"] == 0.0
        assert line["teacher/words/cost_usd"] >= 0.0 and line["teacher/turns/scores"] > 0


def test_it_scores_nothing_and_says_so(make_run):
    run = make_run("scored", loss__type="opd")
    with pytest.raises(ConfigError, match=r"needs sampled scores, which the teacher cannot give.*can give: act"):
        run.train()
    teacher = ChatTeacher(ChatTeacherConfig(url="http://localhost:1/v1", model="m"))
    for call in (lambda: teacher.score([], None), teacher.policy, teacher.output_weight):
        with pytest.raises(Exception, match="Only its words are known"):
            call()


def test_without_a_teacher_there_is_nobody_to_imitate(make_run):
    with pytest.raises(ConfigError, match=r"\[loss\]"):
        make_run("alone", curriculum__type="full").train()


def test_its_account_counts_what_was_left_out(make_run):
    """A turn that was cut off, and asked for again, is left to the student; nothing is trained on it."""
    with chat_server(lambda body: completion("lo", body, "length")) as server:
        run = make_run("cut", server.url, curriculum__type="guided", curriculum__fade=0.0, curriculum__last_share=1.0,
                       optim__steps=1)  # fmt: skip
        with pytest.raises(TrainingError, match="nothing to train on"):
            run.train()
    # Nine turns were played, and one was asked for before the run; each twice.
    assert run.parts.guides[Actor.TEACHER].counts == {"turns": 10, "left": 10, "cut": 20}
