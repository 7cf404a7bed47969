"""The Gymnasium environment: contract, formats, hostile input, context, and what is left behind."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill.conversation.base import Situation
from agentdistill.envs.check import check_environment
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.check import check_plugins
from agentdistill.records import EpisodePlan, Step, StopReason
from agentdistill.rollout.episode import EpisodeRequest, RolloutSettings
from agentdistill.rollout.scripted import environment_expert, play_actions
from agentdistill_tools import formats
from agentdistill_tools.config import SizesConfig, ToolsConfig
from agentdistill_tools.context import ToolTurnsConfig, ToolTurnsContext
from agentdistill_tools.env import ToolsEnv
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.source import ToolsSource

SMALL = SizesConfig(train=64, eval=16, test=32)
PATIENT = PythonConfig(seconds=60.0, cpu_seconds=30)


def make(**options: object) -> ToolsEnv:
    config = {"sizes": SMALL, "python": PATIENT, "split": "test", **options}
    return ToolsSource(ToolsConfig.model_validate(config)).make()


@pytest.mark.parametrize("format", ["hermes", "json"])
def test_it_passes_the_conformance_kit(format: str) -> None:
    source = ToolsSource(ToolsConfig(sizes=SMALL, python=PATIENT, format=format))  # type: ignore[arg-type]
    results = check_environment(source, "train")
    assert [result for result in results if not result.passed] == []


def test_the_plugin_passes_its_check() -> None:
    findings = check_plugins(PluginRegistry.load(modules=["agentdistill_tools"]), ["agentdistill_tools"])
    assert [finding for finding in findings if finding.level != "ok"] == []


@pytest.mark.parametrize("format", ["hermes", "json"])
def test_the_expert_answers_every_family(format: str) -> None:
    source = ToolsSource(ToolsConfig(sizes=SMALL, python=PATIENT, format=format))  # type: ignore[arg-type]
    requests = [EpisodeRequest(task, EpisodePlan()) for task in source.tasks("eval")]
    settings = RolloutSettings(max_steps=4, want_expert=True)
    context = ToolTurnsContext(ToolTurnsConfig())
    played = play_actions(requests, source=source, policy=environment_expert, settings=settings, context=context)
    assert all(trajectory.success and trajectory.stop is StopReason.SUCCESS for trajectory in played)
    assert len({trajectory.task.type for trajectory in played}) == 16
    assert all(context.parse(step.response).action == step.action for one in played for step in one.steps)


def test_an_episode_as_it_is_read() -> None:
    env = make(families=("gcd",))
    try:
        observation, info = env.reset(options={"task": "gcd/0", "expert": True})
        assert observation.endswith(f"{formats.QUESTION}{info['task']}") and '"name": "python"' in observation
        call = '<tool_call>\n{"name": "python", "arguments": {"code": "1 / 0"}}\n</tool_call>'
        observation, reward, terminated, _, info = env.step(f"Let me see.\n{call}")
        assert observation.startswith("<tool_response>\nTraceback") and "ZeroDivisionError" in observation
        assert (reward, terminated, info["valid"], info["tool_calls"], info["tool_errors"]) == (0.0, False, True, 1, 1)
        two = '<tool_call>{"name": "calculator", "arguments": {"expression": "6*7"}}</tool_call>'
        observation, _, _, _, info = env.step(two + two)
        assert observation == "\n".join(["<tool_response>\n42\n</tool_response>"] * 2) and info["tool_calls"] == 2
        observation, _, _, _, info = env.step("I do not know")
        assert not info["valid"] and "no tool call and no answer" in observation
        observation, reward, terminated, _, info = env.step("<answer>-1</answer>")
        assert (observation, reward, terminated, info["won"]) == ("Your answer is wrong.", 0.0, True, False)
        with pytest.raises(EnvironmentFailure, match="over"):
            env.step("x")
    finally:
        env.close()


def test_partial_scores_are_rewards_only_when_asked_for() -> None:
    for reward, expected in (("won", 0.0), ("score", 0.01)):
        env = make(families=("fraction_simplification",), reward=reward)
        try:
            env.reset(options={"task": "fraction_simplification/0"})
            _, got, _, _, info = env.step("<answer>no</answer>")
            assert got == expected and info["score"] == 0.01 and not info["won"]
        finally:
            env.close()


def test_the_step_limit_truncates() -> None:
    env = make(step_limit=2)
    try:
        env.reset(seed=1)
        assert env.step("x")[2:4] == (False, False)
        assert env.step("x")[2:4] == (False, True)
    finally:
        env.close()


HOSTILE = {
    "a megabyte": "y" * (1 << 20),
    "a megabyte of tags": "<tool_call>" * 90_000,
    "closed tags": "<tool_call></tool_call>" * 2000,
    "deep json": '<tool_call>{"name": "python", "arguments": ' + "[" * 30_000 + "</tool_call>",
    "deep arguments": '<tool_call>{"name": "calculator", "arguments": {"expression": '
    + "[" * 900
    + "]" * 900
    + "}}</tool_call>",
    "not a number": '<tool_call>{"name": "calculator", "arguments": {"expression": NaN}}</tool_call>',
    "a lone surrogate": '<tool_call>{"name": "calculator", "arguments": {"expression": "\\ud800"}}</tool_call>',
    "a surrogate as code": '<tool_call>{"name": "python", "arguments": {"code": "print(\'\\ud800\')"}}</tool_call>',
    "a surrogate as name": '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>',
    "a huge number": '<tool_call>{"name": "calculator", "arguments": {"expression": ' + "9" * 5000 + "}}</tool_call>",
    "zero bytes": '<tool_call>{"name": "python", "arguments": {"code": "\\u0000print(1)"}}</tool_call>',
    "right to left": "‮<answer‬",
    "both": '<tool_call>{"name": "python"}</tool_call><answer>1</answer>',
    "a list": "<tool_call>[1, 2]</tool_call>",
    "no name": "<tool_call>{}</tool_call>",
    "nothing": "",
    "spaces": " \n\t ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_turns_are_answered_quickly(name: str) -> None:
    env = make(tools=("python", "calculator"))
    try:
        env.reset(seed=0)
        before = time.process_time()
        observation, _, terminated, truncated, info = env.step(HOSTILE[name])
        assert time.process_time() - before < 2.0
        assert observation in env.observation_space and len(observation) < 20_000
        assert not terminated and not truncated and json.dumps(info)
    finally:
        env.close()


@given(text=st.text(max_size=300), format=st.sampled_from(["hermes", "json"]))
@settings(max_examples=200, deadline=2000)
def test_any_text_is_read(text: str, format: formats.Format) -> None:
    for action in (text, f"<tool_call>{text}</tool_call>", f"<answer>{text}", json.dumps(text)):
        turn = formats.read_turn(action, format)
        assert bool(turn.problem) != bool(turn.calls or turn.answer is not None)


@given(
    arguments=st.dictionaries(st.text(max_size=8), st.text(max_size=40) | st.integers() | st.booleans(), max_size=4),
    format=st.sampled_from(["hermes", "json"]),
)
def test_what_is_written_is_read_again(arguments: dict[str, object], format: formats.Format) -> None:
    if format == "hermes" and "</tool_call>" in json.dumps(arguments):
        return
    (call,) = formats.read_turn(formats.write_call("x", arguments, format), format).calls
    assert (call.name, call.arguments) == ("x", arguments)
    assert "\n" not in formats.write_call("x", arguments, format)


def test_json_answers_of_any_kind() -> None:
    for text, answer in (
        ('{"answer": "Paris"}', "Paris"), ('{"answer": 42}', "42"), ('```json\n{"answer": [1, 2]}\n```', "[1, 2]"),
    ):  # fmt: skip
        assert formats.read_turn(text, "json").answer == answer
    assert formats.read_turn('{"answer": 1, "name": "x"}', "json").problem
    call = formats.read_turn('{"name": "f", "arguments": "{\\"a\\": 1}"}', "json").calls[0]
    assert call.arguments == {"a": 1}


def test_a_users_questions_and_tools(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"question": "Sky over Zürich?", "answer": "clear", "split": "test", "id": "z"}\n', encoding="utf-8"
    )
    env = make(questions=str(path), tools=("tool_examples:weather",))
    try:
        _, info = env.reset(options={"task": "z", "expert": True})
        assert info["expert_action"] is None and info["task"] == "Sky over Zürich?"
        observation, *_ = env.step('<tool_call>{"name": "weather", "arguments": {"city": "Zürich"}}</tool_call>')
        assert '"sky": "clear"' in observation
        *_, info = env.step("<answer> Clear. </answer>")
        assert info["won"] and info["score"] == 1.0
    finally:
        env.close()


def test_mistakes_of_the_user_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="tols"):
        ToolsEnv(tols=("python",))
    with pytest.raises(ConfigError, match="step_limit"):
        ToolsEnv(step_limit=0)
    env = make()
    try:
        with pytest.raises(ConfigError, match="expret"):
            env.reset(options={"expret": True})
        with pytest.raises(DataError, match="gcd/0"):
            env.reset(options={"task": "gcd/00x"})
        with pytest.raises(EnvironmentFailure, match="reset"):
            make().step("x")
    finally:
        env.close()


def test_a_missing_sandbox_stops_the_run_and_does_not_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentdistill_tools.sandbox import probe

    probe.find_jail.cache_clear()
    monkeypatch.setenv("PATH", "")
    env, calculating, unsafe = (
        make(),
        make(tools=("calculator",)),
        make(python=PATIENT.model_copy(update={"unsafe": True})),
    )
    try:
        with pytest.raises(ConfigError, match="without a sandbox"):
            env.reset(seed=0)
        calculating.reset(seed=0)
        unsafe.reset(seed=0)
        observation, *_ = unsafe.step('<tool_call>{"name": "python", "arguments": {"code": "6 * 7"}}</tool_call>')
        assert "42" in observation
        assert "none (unsafe)" in json.dumps(unsafe.source.provenance())
    finally:
        for one in (env, calculating, unsafe):
            one.close()
        probe.find_jail.cache_clear()


def test_the_conversation_of_tool_turns() -> None:
    context = ToolTurnsContext(ToolTurnsConfig())
    first = f"Instructions.{formats.QUESTION}What?"
    messages = context.messages(Situation("What?", first))
    assert [(m.role, m.content) for m in messages] == [("system", "Instructions."), ("user", "What?")]
    steps = [Step(0, first, "<think>hm</think>\ncall", "call")]
    grown = context.messages(Situation("What?", "result", steps=steps))
    assert grown[:2] == messages and [m.role for m in grown[2:]] == ["assistant", "user"]
    assert grown[2].content == "<think>hm</think>\ncall" and grown[3].content == "result"
    parsed = context.parse("<think>\na <answer>1</answer>?\n</think>\n\n<answer>2</answer>")
    assert parsed.action == "<answer>2</answer>" and parsed.well_formed
    assert not context.parse("<think>never closed <answer>1</answer>").well_formed
    plain = ToolTurnsContext(ToolTurnsConfig(system=False))
    assert len(plain.messages(Situation("What?", first))) == 1 and plain.prompt_hash != context.prompt_hash
    assert "Do it" in plain.messages(Situation("Do it", "nothing"))[0].content


def test_random_turns_replay() -> None:
    env, other = make(), make()
    rng = random.Random("turns")
    turns = [rng.choice(list(HOSTILE.values())[2:]) for _ in range(6)]
    try:
        for one in (env, other):
            one.reset(seed=3)
        assert [env.step(turn) for turn in turns] == [other.step(turn) for turn in turns]
    finally:
        env.close()
        other.close()
