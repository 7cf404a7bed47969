"""A served teacher of another family: the starter teacher behind vLLM scores a byte-level student's conversation."""

from __future__ import annotations

import numpy as np
import pytest
from made_conversations import append, conversation, loaded, spelled, window
from made_tokenizers import byte_level
from served import STARTERS, Server

from agentdistill.conversation.template import renderer_for
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import ScoreRequest

pytestmark = pytest.mark.vllm

TURNS = [(f"You arrive at desk {n}. On the desk {n}, you see a mug {n}.", f"go to shelf {n}") for n in range(1, 6)]


@pytest.mark.parametrize("policy", [append, window])
def test_spans_are_scored_by_the_server_as_they_are_here(server: Server, policy, tmp_path):
    registry, context = PluginRegistry.load(third_party=False), policy()
    student = loaded(byte_level(), 1)
    parts = {"student": student, "context": context, "registry": registry}
    parts["renderer"] = renderer_for(student.tokenizer, context)
    unusual = spelled(student.tokenizer, TURNS[0][1])
    episodes = [conversation(student, context, TURNS, responses=own, cut=[2]) for own in ([], [unusual])]
    tokenizer = str(STARTERS / "teacher")
    served = {"type": "vllm", "url": server.url, "tokenizer": tokenizer, "cache_folder": str(tmp_path)}
    found = []
    for inner in (served, {"type": "local", "model": "starter-teacher"}):
        teacher = registry.build("teacher", {"type": "cross", "teacher": inner}, "teacher", **parts)
        lines = teacher.check(episodes)
        assert any("100.0% of the text tokens" in line for line in lines)
        found.append([score for scores in teacher.score(episodes, ScoreRequest()) for score in scores])
        teacher.close()
    for got, expected in zip(*found, strict=True):
        assert np.array_equal(got.valid, expected.valid) and got.valid.any()
        np.testing.assert_allclose(got.sampled_logprob, expected.sampled_logprob, atol=2e-4)
