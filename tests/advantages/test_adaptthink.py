"""AdaptThink's constraint: what a turn without thinking is worth, and against whom."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_rewarded import episode, of

from agentdistill.conversation.thinking import thought
from agentdistill.errors import DataError
from agentdistill_advantages.adaptthink import AdaptThinkConfig, adaptthink
from agentdistill_advantages.grpo import GrpoConfig, grpo

pytestmark = pytest.mark.oracle

YES, NO = "<think>the drawer, perhaps</think><action>open drawer</action>", "<think></think><action>open</action>"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (YES, True),
        (NO, False),
        ("<think> \n </think> go", False),
        ("go north", False),
        ("", False),
        ("perhaps north</think> go", True),  # opened by the template
        ("</think> go", False),
        ("\n\n</think> go", False),
        ("<think>never closed", True),
    ],
)
def test_what_is_thinking(response, expected):
    assert thought(response, "<think>", "</think>") is expected


def batch():
    rewards = [[0, 1], [0, 0], [1]]
    made = [
        episode(rewards[0], responses=[YES, NO]),
        episode(rewards[1], responses=[YES, YES]),
        episode(rewards[2], responses=[NO]),
    ]
    return of(made, rewards)


def test_worked_group():
    got = adaptthink(batch(), AdaptThinkConfig(delta=0.1))
    # Two episodes thought; their mean return 0.5 is the reference.
    assert [a.tolist() for a in got] == [pytest.approx([0.5, 0.6]), pytest.approx([-0.5, -0.5]), pytest.approx([0.6])]


def test_without_delta_it_is_the_return_against_the_reference(tmp_path):
    everybody = [episode([r], responses=[YES]) for r in (1, 0, 0)]
    plain = of(everybody, [[1], [0], [0]])
    expected = grpo(plain, GrpoConfig(std=False))
    for a, b in zip(adaptthink(plain, AdaptThinkConfig(delta=0.0)), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_reference_file(tmp_path):
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"task": 0.25}))
    got = adaptthink(batch(), AdaptThinkConfig(delta=0.1, reference=str(path)))
    assert got[2].tolist() == pytest.approx([0.85])
    path = tmp_path / "others.json"
    path.write_text(json.dumps({"another": 0.25}))
    with pytest.raises(DataError, match="no task 'task'"):
        adaptthink(batch(), AdaptThinkConfig(reference=str(path)))


@pytest.mark.parametrize("text", ["", "[1, 2]", None])
def test_a_reference_that_is_none_says_so(tmp_path, text):
    path = tmp_path / "bad.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match="task key -> "):
        adaptthink(batch(), AdaptThinkConfig(reference=str(path)))


def test_groups_of_one():
    (got,) = adaptthink(of([episode([1], responses=[NO])], [[1]]), AdaptThinkConfig())
    assert got.tolist() == pytest.approx([0.05])
    (got,) = adaptthink(of([episode([1], responses=[YES])], [[1]]), AdaptThinkConfig())
    assert got.tolist() == [0.0]
