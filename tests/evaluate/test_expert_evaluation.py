"""The environment's expert over a panel: no model, success with its interval, and what was not as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from agentdistill.envs.spaces import Utf8Text
from agentdistill.errors import EnvironmentFailure
from agentdistill.evaluate.expert import PLAYERS, evaluate_expert
from agentdistill.evaluate.panel import resolve_panel
from agentdistill.evaluate.published import protocol_notes
from agentdistill.evaluate.table import as_text, result_table
from agentdistill.records import Panel, StopReason, Task
from agentdistill.rollout.episode import RolloutSettings


class Ladder(gymnasium.Env[str, str]):
    """Climb three rungs. In the game "stuck" the expert gives up on the second, in "dead" the environment dies."""

    def __init__(self, expert: bool) -> None:
        self.observation_space, self.action_space = Utf8Text(), Utf8Text()
        self.has_expert, self.rung, self.key, self.asked = expert, 0, "", False

    def info(self) -> dict[str, Any]:
        info = {
            "admissible_actions": ["up"],
            "won": self.rung == 3,
            "score": self.rung / 3,
            "task": "up",
            "valid": True,
        }
        stuck = self.key.startswith("stuck") and self.rung == 1
        advice = "up" if self.has_expert and not stuck else None
        return {**info, "expert_action": advice} if self.asked else info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.rung, self.key, self.asked = 0, options["task"].key, bool(options.get("expert"))
        return "On the ground.", self.info()

    def step(self, action):
        if self.key.startswith("dead"):
            raise RuntimeError("the ladder broke")
        self.rung += 1
        return f"On rung {self.rung}.", 0.0, self.rung == 3, False, self.info()


class Ladders:
    name = "ladder"

    def __init__(self, *keys: str, expert: bool = True) -> None:
        self.keys, self.expert = keys, expert

    def tasks(self, split: str):
        return [Task("ladder", split, key) for key in self.keys]

    def make(self):
        return Ladder(self.expert)

    def provenance(self):
        return {"environment": "ladder", "engine": "wood"}


def evaluated(source: Ladders, max_steps: int = 5, **provenance: Any):
    panel = Panel("ladder/all", tuple(source.tasks("all")), provenance)
    return evaluate_expert(panel, source=source, settings=RolloutSettings(max_steps=max_steps), provenance={})


def test_success_has_its_interval_and_says_who_played():
    result = evaluated(Ladders("a", "b", "stuck", "dead", "c"))
    assert [outcome.stop for outcome in result.outcomes] == [
        StopReason.SUCCESS, StopReason.SUCCESS, StopReason.FAILURE, StopReason.ABORTED, StopReason.SUCCESS,
    ]  # fmt: skip
    assert [outcome.steps for outcome in result.outcomes] == [3, 3, 1, 1, 3]
    assert (result.success.value, result.success.n, result.aborted) == (0.75, 4, 1)
    assert result.protocol["players"] == PLAYERS and "temperature" not in result.protocol
    text = as_text(result_table(result))
    assert "limit 5 steps · the environment's expert, full depth · panel" in text and "tokens" not in text
    assert "engine wood" in text and "success: the environment's own verdict" in text


def test_the_step_limit_holds_for_experts_too():
    result = evaluated(Ladders("a"), max_steps=2)
    assert result.outcomes[0].stop is StopReason.ENV_LIMIT and result.success.value == 0.0


def test_an_environment_without_an_expert_is_an_error():
    with pytest.raises(EnvironmentFailure, match="The environment `ladder` has no expert"):
        evaluated(Ladders("a", "b", expert=False))


def test_a_panel_that_is_not_as_published_says_so():
    source = Ladders("a", "b", "c")
    source.provenance = lambda: {"published": 4}  # type: ignore[method-assign]
    panel = resolve_panel("ladder/all", source=source)
    assert panel.provenance["notes"] == [
        "ladder/all has 3 tasks, published results are over 4: they cannot be compared"
    ]
    result = evaluate_expert(panel, source=source, settings=RolloutSettings(), provenance={})
    assert "note: ladder/all has 3 tasks" in as_text(result_table(result))
    source.provenance = lambda: {"published": 3}  # type: ignore[method-assign]
    assert "notes" not in resolve_panel("ladder/all", source=source).provenance
    # A subset says in its name what it is; whether the whole panel is as published is judged before.
    assert "notes" not in resolve_panel("ladder/all", source=source, limit=2).provenance


def test_a_step_limit_that_nobody_published_says_so():
    result = evaluated(Ladders("a"), max_steps=40, published_steps=[30, 50])
    assert result.provenance["notes"] == ["the step limit is 40; published results use 30 or 50"]
    assert "note: the step limit is 40" in as_text(result_table(result))
    assert evaluated(Ladders("a"), max_steps=50, published_steps=[30, 50]).provenance["notes"] == []
    assert protocol_notes(Panel("p", ()), {"max_steps": 7}) == []


def test_from_the_command_line_without_a_model(tmp_path: Path, monkeypatch, capsys):
    from agentdistill.cli import main

    monkeypatch.chdir(tmp_path)
    arguments = ["eval", "--agent", "expert", "--panel", "alfworld/generated-unseen", "--limit", "5"]
    arguments += ["--env.engine", "fast", "--output", "out"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "alfworld/generated-unseen (5 of 200)" in out and "95% interval" in out
    result = json.loads(Path("out/results.json").read_text())
    assert result["protocol"]["players"] == PLAYERS and result["protocol"]["environment"]["engine"] == "fast"
    assert result["summary"]["success"]["value"] >= 0.8 and len(result["episodes"]) == 5


def test_the_panel_of_a_gymnasium_id_names_its_environment():
    from agentdistill.training.evaluation import environment_of

    assert environment_of("alfworld/valid_seen") == "alfworld"
    assert environment_of("alfworld/valid/seen") == "alfworld"
    assert environment_of("module:ns/Game-v0/valid") == "module:ns/Game-v0"
    assert environment_of("module:Game-v0/test") == "module:Game-v0"
