"""The rubric that is revised: when, from what, with what, and across a resume."""

from __future__ import annotations

import json

import pytest
from chat_server import chat_server
from rewards.episodes import episode

from agentdistill_rewards.meta_judge import MetaJudge, MetaJudgeConfig, chosen


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))


def endpoint(rubrics):
    """A judge that scores by the number in its rubric, and a meta model that hands out rubrics."""

    def answer(body):
        text = body["messages"][-1]["content"]
        if body["model"] == "meta":
            return f"analysis <rubric>old</rubric> <rubric>\n{rubrics.pop(0)}\n</rubric>"
        return f"<score>{text.split('worth ')[1][0]}</score>"

    return answer


def judge(server, **more) -> MetaJudge:
    fixed = {"url": server.url, "model": "judge", "meta_model": "meta", "rubric": "worth 1", "every": 2}
    return MetaJudge(MetaJudgeConfig(**(fixed | more)))


def batch(number):
    return [episode([0.0], key=f"{number}-{i}") for i in range(3)]


def test_the_rubric_changes_after_every_so_many_batches():
    with chat_server(endpoint(["worth 5", "worth 9"])) as server:
        mpo = judge(server)
        seen = [mpo.score(batch(n))[0][-1] for n in range(5)]
    assert seen == pytest.approx([0.1, 0.1, 0.5, 0.5, 0.9])
    assert mpo.revisions == ["worth 1", "worth 5", "worth 9"] and mpo.kept == 0
    prompts = [body["messages"][-1]["content"] for _, _, body in server.requests if body["model"] == "meta"]
    assert len(prompts) == 2 and prompts[0].count("<judgement score=") == 6 and "worth 1" in prompts[0]
    assert '<judgement score="1">' in prompts[0] and '<judgement score="5">' in prompts[1]


@pytest.mark.parametrize("useless", ["", "x" * 5000])
def test_a_useless_revision_leaves_the_rubric(useless, caplog):
    with chat_server(endpoint([useless] * 3)) as server:
        mpo = judge(server, every=1)
        mpo.score(batch(0))
    assert mpo.rubric == "worth 1" and mpo.revisions == ["worth 1"] and mpo.kept == 1
    assert "stays as it was" in caplog.text


def test_a_resumed_judge_goes_on_as_the_first_would_have():
    with chat_server(endpoint(["worth 5", "worth 9", "worth 2"])) as server:
        mpo = judge(server)
        whole = [mpo.score(batch(n))[0][-1] for n in range(6)]
        asked = len(server.requests)
        first = judge(server)
        parts = [first.score(batch(n))[0][-1] for n in range(3)]
        state = json.loads(json.dumps(first.state_dict()))
        second = judge(server)
        second.load_state_dict(state)
        parts += [second.score(batch(n))[0][-1] for n in range(3, 6)]
        assert len(server.requests) == asked  # every answer of the second run is the first one's
    assert parts == whole and second.revisions == mpo.revisions
    mine, theirs = second.state_dict(), mpo.state_dict()
    assert all(mine[name] == theirs[name] for name in ("revisions", "kept", "batches", "recent"))


def test_samples_come_from_both_ends():
    recent = [(i / 100, str(i)) for i in range(100)]
    found = [int(text) for _, text in chosen(recent, 20, "0:10")]
    assert len(found) == 20 and found == sorted(set(found))
    assert {0, 1, 2, 3, 4, 95, 96, 97, 98, 99} <= set(found)
    assert chosen(recent, 20, "0:10") == chosen(recent, 20, "0:10") != chosen(recent, 20, "0:20")
    assert chosen(recent, 1, "0") and chosen(recent[:5], 20, "0") == recent[:5]


def test_what_a_run_checkpoints_of_its_rewards():
    from agentdistill.training.judges import Judges
    from agentdistill.training.rewarded import RewardTerm

    def judges(server) -> Judges:
        mpo = judge(server)
        return Judges([RewardTerm("outcome", 1.0, lambda played: []), RewardTerm("mpo", 0.5, mpo.score, mpo)])

    with chat_server(endpoint(["worth 5"])) as server:
        first = judges(server)
        for number in range(2):
            first.rewards[1].score(batch(number))
        state = json.loads(json.dumps(first.state_dict()))
        assert list(state) == ["mpo"] and state["mpo"]["revisions"] == ["worth 1", "worth 5"]
        second = judges(server)
        second.load_state_dict(state)
        assert second.rewards[1].judge.rubric == "worth 5" and second.state_dict() == state
        second.load_state_dict({})  # a checkpoint of before
        assert second.state_dict() == state
