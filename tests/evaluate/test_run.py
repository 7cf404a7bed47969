"""Evaluation with the real rollout, the real engine and a real, tiny model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from counting_env import CountingSource
from tiny import tiny_model, tiny_tokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.evaluate.compare import compare
from agentdistill.evaluate.panel import limit_panel, resolve_panel
from agentdistill.evaluate.result import EvalResult, load_result, save_result
from agentdistill.evaluate.run import evaluate
from agentdistill.models import LoadedModel
from agentdistill.records import StopReason, Trajectory
from agentdistill.rollout.play import RolloutSettings
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_engines.hf import HfConfig, HfEngine

SETTINGS = RolloutSettings(
    max_steps=8, max_new_tokens=6, temperature=1.0, concurrency=3, constrained=True, want_expert=True
)


@pytest.fixture(scope="module")
def student() -> LoadedModel:
    return LoadedModel(tiny_model(), tiny_tokenizer(), "tiny", None, "f00d")


def played(student: LoadedModel, source: CountingSource, limit: int | None = None, **changes: Any) -> EvalResult:
    on_episode = changes.pop("on_episode", None)
    seed = changes.pop("seed", 0)
    return evaluate(
        resolve_panel("counting/valid", source=source, limit=limit),
        source=source,
        engine=HfEngine(HfConfig(), model=student),
        renderer=ChatRenderer(student.tokenizer),
        context=AppendContext(AppendConfig()),
        settings=dataclasses.replace(SETTINGS, **changes),
        provenance={"models": {"student": {"fingerprint": student.fingerprint}}},
        seed=seed,
        on_episode=on_episode,
    )


def same(one: EvalResult, other: EvalResult) -> bool:
    def told(result: EvalResult) -> dict[str, Any]:
        data = dataclasses.replace(result, seconds=0.0).to_dict()
        data["provenance"].pop("environment")
        return data

    return told(one) == told(other)


def test_a_panel_is_played_and_counted(student: LoadedModel) -> None:
    seen: list[Trajectory] = []
    source = CountingSource()
    found = played(student, source, on_episode=seen.append)
    assert [outcome.task for outcome in found.outcomes] == list(source.tasks("valid"))
    by_key = {trajectory.task.key: trajectory for trajectory in seen}
    for outcome in found.outcomes:
        trajectory = by_key[outcome.task.key]
        assert outcome.success == (outcome.score >= 3) == (outcome.stop is StopReason.SUCCESS)
        assert outcome.steps == len(trajectory.steps) and outcome.invalid == 0
        assert outcome.sampled_tokens == sum(step.end - step.start for step in trajectory.steps)
        assert outcome.sampled_tokens + outcome.prompt_tokens == sum(len(row) for row in trajectory.rows)
        assert all("expert_action" not in step.info for step in trajectory.steps)
    assert set(found.stops) <= {"success", "failure", "env_limit"} and len(found.stops) > 1
    assert set(found.success_by_type) == {"even", "odd"}


def test_unaccepted_actions_are_counted(student: LoadedModel) -> None:
    found = played(student, CountingSource(), constrained=False)
    assert found.invalid_rate == 1.0 and found.stops == {"env_limit": 6}, "a random model writes no command"
    assert found.mean_steps.value == 8


def test_the_result_depends_on_its_arguments_only(student: LoadedModel) -> None:
    first = played(student, CountingSource())
    assert same(first, played(student, CountingSource()))
    assert same(first, played(student, CountingSource(), concurrency=1))
    assert not same(first, played(student, CountingSource(), seed=1))
    greedy = played(student, CountingSource(), temperature=0.0)
    assert [o.steps for o in greedy.outcomes] == [
        o.steps for o in played(student, CountingSource(), temperature=0.0, seed=1).outcomes
    ]


def test_a_dead_environment_is_reported_apart(student: LoadedModel) -> None:
    found = played(student, CountingSource(["game-0", "broken", "game-2"]))
    assert found.aborted == 1 and found.success.n == 2
    assert found.outcomes[1].stop is StopReason.ABORTED and not found.outcomes[1].success


def test_a_context_that_is_too_small_is_a_loss_not_an_abortion(student: LoadedModel) -> None:
    source = CountingSource(["game-0"])
    found = evaluate(
        resolve_panel("counting/valid", source=source),
        source=source,
        engine=HfEngine(HfConfig(max_context=150), model=student),
        renderer=ChatRenderer(student.tokenizer),
        context=AppendContext(AppendConfig()),
        settings=dataclasses.replace(SETTINGS, constrained=False),
        provenance={},
    )
    assert found.stops == {"context_limit": 1} and (found.success.value, found.success.n) == (0.0, 1)


def test_the_protocol_and_provenance_are_complete_and_stable(student: LoadedModel, tmp_path: Path) -> None:
    source = CountingSource()
    found = played(student, source)
    assert found.protocol["environment"] == {"engine": "python", "rules": 1}, "what is nested may grow during a run"
    assert found.provenance["environment"]["data"]["loaded_so_far"] == source.made
    for key in ("max_steps", "max_new_tokens", "temperature", "top_p", "constrained", "prompt_hash", "success_rule"):
        assert key in found.protocol, key
    save_result(found, tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text()
    assert load_result(tmp_path).to_dict() == found.to_dict() == json.loads(text)
    assert str(tmp_path) not in text


def test_two_evaluations_compare(student: LoadedModel) -> None:
    one, two = played(student, CountingSource()), played(student, CountingSource(), seed=3)
    assert compare(one, two).overall.n == 6
    assert compare(one, one).overall.difference.value == 0.0
    limited = played(student, CountingSource(), limit=4)
    assert limited.panel == "counting/valid (4 of 6)" and limited.panel_hash != one.panel_hash
    whole = resolve_panel("counting/valid", source=CountingSource())
    assert limited.panel_hash == limit_panel(whole, 4).hash
