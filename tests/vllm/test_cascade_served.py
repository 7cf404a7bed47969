"""A cascade asks a served teacher what it asks the same model in this process, and counts the same."""

from __future__ import annotations

from typing import Any

import pytest
from served import Server

from agentdistill.evaluate.result import EvalResult
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.evaluation import evaluate

pytestmark = pytest.mark.vllm

ASKED = {
    "env.engine": "fast",
    "env.max_steps": 10,
    "env.generated": {"train": 12, "seen": 6, "unseen": 6},
    "env.context": {"type": "append"},
    "rollout.max_new_tokens": 16,
    "eval.temperature": 0.7,
    "engine.type": "cascade",
}


def played(teacher: dict[str, Any]) -> EvalResult:
    overrides = {**ASKED, **teacher}
    return evaluate("starter-15", "alfworld/generated-unseen", overrides=overrides, registry=PluginRegistry.load())


def test_a_served_teacher_is_the_same_teacher(server: Server):
    prices = {"price_in": 1.0, "price_out": 4.0}
    endpoint = {"url": server.url, "model": "starter-teacher", "cache": False, "max_tokens": 16, **prices}
    served = played({"engine.endpoint": endpoint})
    local = played({"engine.teacher": {"model": "starter-teacher", **prices}})
    assert served.teacher_steps > 0 and served.spent["teacher"] == local.spent["teacher"]
    assert [(o.success, o.steps, o.teacher_steps) for o in served.outcomes] == [
        (o.success, o.steps, o.teacher_steps) for o in local.outcomes
    ]
    assert served.protocol["players"] == local.protocol["players"]
    assert served.provenance["agent"]["teacher"]["url"] == "http://host/v1"
