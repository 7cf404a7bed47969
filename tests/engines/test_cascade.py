"""When the teacher is asked, what its turns look like, and what nobody may take for the student's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import chat_server
from contexts.corridor_store import expert_episodes, write_store
from evaluate.counting_env import CountingSource
from hypothesis import given
from hypothesis import strategies as st
from tiny import CHAT_TEMPLATE, tiny_model, tiny_tokenizer

from agentdistill.conversation.base import ParsedAction, Situation
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import ConfigError, PluginError
from agentdistill.evaluate.compare import compare
from agentdistill.evaluate.panel import resolve_panel
from agentdistill.evaluate.result import EvalResult, load_result, save_result
from agentdistill.evaluate.run import evaluate
from agentdistill.evaluate.table import as_text, result_table
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins import PluginRegistry
from agentdistill.records import Actor, LossRole, Trajectory
from agentdistill.rollout.play import RolloutSettings
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_engines.cascade import CascadeEngine
from agentdistill_engines.cascade_options import CascadeConfig
from agentdistill_engines.hf import HfConfig, HfEngine
from agentdistill_engines.votes import sample_seed, vote

REGISTRY = PluginRegistry.load()
CONTEXT = AppendContext(AppendConfig())
SETTINGS = RolloutSettings(max_steps=6, max_new_tokens=6, temperature=1.0, concurrency=3, constrained=True)


@pytest.fixture(scope="module")
def student() -> LoadedModel:
    return LoadedModel(tiny_model(), tiny_tokenizer(), "tiny", None, "f00d")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another model, with another chat template."""
    folder = tmp_path_factory.mktemp("teacher")
    tiny_model(seed=8).save_pretrained(folder)
    tiny_tokenizer(CHAT_TEMPLATE.replace("assistant\n", "assistant\nI say: ")).save_pretrained(folder)
    return str(folder)


def engine_of(student: LoadedModel, context: Any = CONTEXT, **options: Any) -> CascadeEngine:
    return CascadeEngine(
        CascadeConfig(**options), student, context, ChatRenderer(student.tokenizer, per_turn=True), REGISTRY
    )


def played(
    student: LoadedModel, engine: Any, context: Any = CONTEXT, seen: list[Trajectory] | None = None, **changes: Any
) -> EvalResult:
    source = CountingSource()
    return evaluate(
        resolve_panel("counting/valid", source=source),
        source=source,
        engine=engine,
        renderer=ChatRenderer(student.tokenizer, per_turn=getattr(context, "fresh_rows", False)),
        context=context,
        settings=dataclasses.replace(SETTINGS, **changes),
        provenance={},
        on_episode=None if seen is None else seen.append,
    )


def words(trajectories: list[Trajectory]) -> list[Any]:
    ordered = sorted(trajectories, key=lambda trajectory: trajectory.task.key)
    return [
        [(step.response, step.actor, step.info.get("cascade")) for step in trajectory.steps] for trajectory in ordered
    ]


def parsed(*actions: str) -> list[ParsedAction]:
    return [ParsedAction(action.removeprefix("!"), not action.startswith("!")) for action in actions]


@pytest.mark.parametrize(
    ("actions", "chosen", "votes"),
    [
        (("go", "go", "go"), 0, 3),
        (("look", "go", "go"), 1, 2),
        (("look", "go", "wait"), 0, 1),
        (("look", "go", "go", "look"), 0, 2),
        (("go  to desk", " go to\ndesk", "look"), 0, 2),
        (("!go", "!go", "look"), 2, 1),
        (("!go", "!go", ""), 0, 0),
        (("Go", "go", "go"), 1, 2),
    ],
)
def test_votes(actions: tuple[str, ...], chosen: int, votes: int) -> None:
    found = vote(parsed(*actions))
    assert (found.chosen, found.votes) == (chosen, votes)


@given(st.lists(st.sampled_from(["a", "b", "c", "!a", ""]), min_size=1, max_size=9))
def test_a_vote_is_the_largest_count_of_readable_answers(actions: list[str]) -> None:
    found = vote(parsed(*actions))
    readable = [action for action in actions if action in ("a", "b", "c")]
    assert found.votes == max((readable.count(action) for action in readable), default=0)
    assert 0 <= found.chosen < len(actions)
    if readable:
        assert readable.count(actions[found.chosen]) == found.votes
        assert all(readable.count(action) < found.votes for action in actions[: found.chosen] if action in readable)


def test_one_answer_is_the_student_alone_and_never_asks(student: LoadedModel) -> None:
    """To the last token and log-probability; a teacher that does not even exist is not missed."""
    alone, cascade = [], []
    plain = played(student, HfEngine(HfConfig(), student), seen=alone)
    options = {"samples": 1, "teacher": {"model": "/there/is/no/such/teacher"}}
    single = played(student, engine_of(student, **options), seen=cascade)
    assert words(alone) == words(cascade)
    for one, other in zip(alone, cascade, strict=True):
        for left, right in zip(one.rows, other.rows, strict=True):
            assert np.array_equal(left.token_ids, right.token_ids) and np.array_equal(left.mask, right.mask)
            assert np.array_equal(left.old_logprob, right.old_logprob, equal_nan=True)
    assert compare(plain, single).overall.difference.value == 0.0, "the protocols are equal, too"
    assert single.teacher_steps == 0 and set(single.spent) == {"student"}


@pytest.mark.oracle
@pytest.mark.parametrize("agree", [1, 2, 3, None])
def test_the_teacher_is_asked_where_too_few_answers_agree(
    student: LoadedModel, teacher: str, agree: int | None
) -> None:
    """Against the student sampled on its own with the seeds of the answers."""
    renderer = ChatRenderer(student.tokenizer)
    allowed = tuple(tuple(renderer.response(action)) for action in ("up", "down", "!"))
    requests = [
        GenerationRequest(
            f"s{i}",
            renderer.prompt(
                CONTEXT.messages(situation := Situation("count", f"The counter is at {i}.", ("up", "down")))
            ),
            seed=i,
            allowed=allowed,
            situation=situation,
        )
        for i in range(24)
    ]
    sampling = Sampling(6, renderer.stop_ids, 1.0)
    engine = engine_of(student, samples=3, agree=agree, teacher={"model": teacher})
    found = engine.generate(requests, sampling)
    plain = HfEngine(HfConfig(kv_reuse=False), student)
    escalated = 0
    for request, answer in zip(requests, found, strict=True):
        actions = []
        for sample in range(3):
            seeded = dataclasses.replace(request, seed=sample_seed(request.seed, sample))
            actions.append(renderer.decode(plain.generate([seeded], sampling)[0].token_ids))
        most = max(map(actions.count, actions))
        assert answer.info["cascade"]["actions"] == actions and answer.info["cascade"]["votes"] == most
        if most >= (agree or 3):
            assert answer.actor is Actor.STUDENT
            assert renderer.decode(answer.token_ids) == next(a for a in actions if actions.count(a) == most)
        else:
            escalated += 1
            assert answer.actor is Actor.TEACHER and np.isnan(answer.logprobs).all()
            assert answer.info["cascade"]["student"] in actions
    assert escalated == 0 if agree == 1 else escalated > 0
    assert escalated < 24, "some of these turns are clear"


def test_the_teachers_turns_say_so_and_are_never_the_students(student: LoadedModel, teacher: str) -> None:
    seen: list[Trajectory] = []
    result = played(student, engine_of(student, teacher={"model": teacher}), seen=seen)
    steps = [(trajectory, step) for trajectory in seen for step in trajectory.steps]
    theirs = [(trajectory, step) for trajectory, step in steps if step.actor is Actor.TEACHER]
    assert theirs and len(theirs) < len(steps)
    for trajectory, step in theirs:
        assert step.row == -1 and step.loss_role is LossRole.NONE and step.info["cascade"]["votes"] < 3
        assert step.info["usage"]["teacher"]["calls"] == 1
        assert all(step.index not in row.step_of_token for row in trajectory.rows)
    for trajectory, step in steps:
        if step.actor is Actor.STUDENT:
            assert step.info["cascade"]["votes"] == 3 and "teacher" not in step.info["usage"]
            assert trajectory.rows[step.row].mask[step.start : step.end].all()
    own = sum(step.end - step.start for _, step in steps if step.actor is Actor.STUDENT)
    assert sum(int(row.mask.sum()) for trajectory in seen for row in trajectory.rows) == own
    assert result.teacher_steps == len(theirs) and sum(o.steps for o in result.outcomes) == len(steps)


def test_the_teacher_reads_the_students_words_in_its_own_template(student: LoadedModel, teacher: str) -> None:
    """Every turn of the teacher is what it writes, greedily, to the messages of that turn."""
    model = load_model(teacher)
    renderer = ChatRenderer(model.tokenizer, per_turn=True)
    seen: list[Trajectory] = []
    played(student, engine_of(student, teacher={"model": teacher}), seen=seen)
    engine, checked = HfEngine(HfConfig(kv_reuse=False), model), 0
    for trajectory in seen:
        for step in trajectory.steps:
            if step.actor is not Actor.TEACHER:
                continue
            situation = Situation("count to three", step.observation, (), trajectory.steps[: step.index])
            prompt = renderer.prompt([dataclasses.replace(m, step=None) for m in CONTEXT.messages(situation)])
            allowed = tuple(tuple(renderer.response(action)) for action in ("up", "down"))
            asked = GenerationRequest("x", prompt, 0, allowed)
            (answer,) = engine.generate([asked], Sampling(6, renderer.stop_ids, 0.0))
            assert renderer.decode(answer.token_ids) == step.response
            assert len(prompt) == step.info["usage"]["teacher"]["prompt_tokens"]
            assert len(answer.token_ids) == step.info["usage"]["teacher"]["sampled_tokens"]
            checked += 1
    assert checked


def test_the_result_depends_on_its_arguments_only(student: LoadedModel, teacher: str) -> None:
    def once(concurrency: int = 3) -> list[Any]:
        seen: list[Trajectory] = []
        played(student, engine_of(student, teacher={"model": teacher}), seen=seen, concurrency=concurrency)
        return words(seen)

    assert once() == once() == once(concurrency=1)


def test_without_a_teacher_the_most_frequent_action_is_taken(student: LoadedModel) -> None:
    seen: list[Trajectory] = []
    engine = engine_of(student, samples=5)
    result = played(student, engine, seen=seen)
    assert result.protocol["players"] == "most frequent action of 5 answers of the student, full depth"
    for step in [step for trajectory in seen for step in trajectory.steps]:
        actions = step.info["cascade"]["actions"]
        assert step.actor is Actor.STUDENT and actions.count(step.action) == max(map(actions.count, actions))


def test_a_result_says_that_a_teacher_was_called(student: LoadedModel, teacher: str, tmp_path: Path) -> None:
    cascade = played(student, engine_of(student, teacher={"model": teacher}))
    alone = played(student, HfEngine(HfConfig(), student))
    assert cascade.protocol["players"] == "cascade(student, teacher), 3 of 3 answers must agree, full depth"
    agent = cascade.provenance["agent"]
    assert agent["teacher"]["fingerprint"] and agent["teacher"]["model"].startswith("…/"), "no path of this machine"
    with pytest.raises(Exception, match="players"):
        compare(alone, cascade)
    assert compare(alone, cascade, allow=["players"]).overall.n == 6
    text = as_text(result_table(cascade), width=200)
    assert f"NOT the student alone: the teacher wrote {cascade.teacher_steps} of" in text and "spent: student" in text
    assert "spent" not in as_text(result_table(alone), width=200)
    save_result(cascade, tmp_path / "results.json")
    assert load_result(tmp_path).to_dict() == cascade.to_dict()


def test_a_prompt_that_does_not_fit_the_student_ends_the_episode(student: LoadedModel, teacher: str) -> None:
    sampler = {"type": "hf", "max_context": 120}
    result = played(student, engine_of(student, sampler=sampler, teacher={"model": teacher}))
    assert set(result.stops) <= {"context_limit", "success", "failure"} and result.stops["context_limit"] > 0


def test_a_prompt_that_does_not_fit_the_teacher_ends_the_episode(student: LoadedModel, teacher: str) -> None:
    small = {"model": teacher, "sampler": {"type": "hf", "max_context": 60}}
    result = played(student, engine_of(student, teacher=small))
    assert result.teacher_steps == 0 and result.stops["context_limit"] > 0


def test_a_teacher_with_a_format_of_its_own_is_put_into_the_students(student: LoadedModel) -> None:
    def answer(body: dict[str, Any]) -> str:
        assert "<action>" in body["messages"][0]["content"], "it reads its own policy's words"
        return "<think>\nUp, I think.\n</think>\n<action>up</action>"

    seen: list[Trajectory] = []
    with chat_server(answer) as server:
        endpoint = {"url": server.url, "model": "big", "cache": False, "context": {"type": "window", "steps": 1}}
        played(student, engine_of(student, endpoint=endpoint), seen=seen, constrained=False)
    theirs = [step for trajectory in seen for step in trajectory.steps if step.actor is Actor.TEACHER]
    assert theirs and all(step.response == "up" and step.action == "up" and step.valid for step in theirs)


def test_a_teachers_words_are_played_although_the_student_could_not_write_them(student: LoadedModel) -> None:
    """What is sent is what the teacher wrote, whatever becomes of it in the student's tokens."""
    seen: list[Trajectory] = []
    with chat_server("down \u2192 ünïcødé") as server:
        endpoint = {"url": server.url, "model": "big", "cache": False}
        played(student, engine_of(student, endpoint=endpoint), seen=seen, constrained=False)
    theirs = [step for trajectory in seen for step in trajectory.steps if step.actor is Actor.TEACHER]
    assert theirs and all(step.action == "down \u2192 ünïcødé" for step in theirs)


def test_bad_options_are_refused(student: LoadedModel, teacher: str) -> None:
    for options, message in (
        ({"agree": 4}, "4 of 3 answers can never agree"),
        ({"teacher": {"model": "x"}, "endpoint": {"url": "http://h/v1", "model": "x"}}, "not both"),
        ({"samples": 0}, "greater than or equal to 1"),
        ({"teacher": {"model": "x", "tempreature": 1}}, "tempreature"),
    ):
        with pytest.raises(ConfigError, match=message):
            REGISTRY.options("engine", {"type": "cascade", **options}, "engine")
    with pytest.raises(ConfigError, match="3 answers at temperature 0 are 3 times the same"):
        played(student, engine_of(student, teacher={"model": teacher}), temperature=0.0)
    with pytest.raises(ConfigError, match="no sample of the student's"):
        engine_of(student).check([])
    assert engine_of(student, samples=1).check([]) == []


def test_a_request_without_words_cannot_be_passed_on(student: LoadedModel, teacher: str) -> None:
    engine = engine_of(student, teacher={"model": teacher})
    with pytest.raises(PluginError, match="does not say what the prompt was made from"):
        engine.generate([GenerationRequest("s", [5, 6, 7], 0)], Sampling(4, (2,), 1.0))


def test_a_teachers_context_that_could_leak_or_lacks_records_is_refused(student: LoadedModel, tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", expert_episodes())
    for context, message in (
        ({"type": "retrieval", "store": store}, "shows other episodes"),
        ({"type": "append", "admissible": True}, "which are not recorded"),
    ):
        with pytest.raises(ConfigError, match=message):
            engine_of(student, endpoint={"url": "http://h/v1", "model": "x", "context": context})


def test_a_constrained_endpoint_is_refused(student: LoadedModel) -> None:
    with chat_server("up") as server, pytest.raises(ConfigError, match="cannot be held to the admissible"):
        played(student, engine_of(student, endpoint={"url": server.url, "model": "big", "cache": False}))


class Closing(HfEngine):
    """The real engine; it says when it is closed."""

    closed = 0

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(HfConfig(), model)

    def close(self) -> None:
        type(self).closed += 1


def closing(config: Any, model: LoadedModel) -> Closing:
    return Closing(model)


def test_what_the_samplers_started_is_ended(student: LoadedModel, teacher: str) -> None:
    sampler = {"type": f"{__name__}:closing"}
    engine_of(student, sampler=sampler, teacher={"model": teacher, "sampler": sampler}).close()
    assert Closing.closed == 2
    engine_of(student).close()
    assert Closing.closed == 2
