"""What judges cost is told for every step, and a resumed run keeps to the same budget."""

import json

import pytest
from chat_server import chat_server
from rewards.episodes import episode

from agentdistill.errors import BudgetSpent
from agentdistill.training.judges import Judges
from agentdistill.training.rewarded import RewardTerm
from agentdistill_rewards.llm_judge import LLMJudge, LLMJudgeConfig
from agentdistill_rewards.meta_judge import MetaJudge, MetaJudgeConfig

PRICES = {"price_in": 1.0, "price_out": 10.0, "cache": False}


def judged(judge) -> Judges:
    return Judges([RewardTerm("judge", 1.0, judge.score, judge)])


def test_every_batch_says_what_its_judge_read_wrote_and_cost():
    with chat_server("<score>5</score>") as server:
        judge = LLMJudge(LLMJudgeConfig(url=server.url, model="m", **PRICES))
        told = [judged(judge)([episode()], None, step)[2] for step in range(2)]
    assert [metrics["reward/judge/requests"] for metrics in told] == [1, 1]
    assert sum(metrics["reward/judge/cost_usd"] for metrics in told) == pytest.approx(judge.client.usage.cost)
    assert all(metrics["reward/judge/tokens_in"] > 0 < metrics["reward/judge/tokens_out"] for metrics in told)


def test_what_was_spent_is_not_forgotten_when_a_run_is_resumed():
    with chat_server("<score>5</score>") as server:
        before = judged(LLMJudge(LLMJudgeConfig(url=server.url, model="m", **PRICES)))
        metrics = before([episode()], None, 0)[2]
        state = json.loads(json.dumps(before.state_dict()))
        spent = metrics["reward/judge/cost_usd"]
        again = judged(LLMJudge(LLMJudgeConfig(url=server.url, model="m", budget=spent, **PRICES)))
        again.load_state_dict(state)
        with pytest.raises(BudgetSpent, match="is spent"):
            again([episode()], None, 1)
        assert len(server.requests) == 1
        more = judged(LLMJudge(LLMJudgeConfig(url=server.url, model="m", budget=2.5 * spent, **PRICES)))
        more.load_state_dict(state)
        assert more([episode()], None, 1)[2]["reward/judge/cost_usd"] == pytest.approx(spent)


def test_a_judge_of_judges_tells_its_revisions_apart():
    with chat_server("<score>5</score><rubric>Better.</rubric>") as server:
        judge = MetaJudge(MetaJudgeConfig(url=server.url, model="m", every=1, **PRICES))
        metrics = judged(judge)([episode()], None, 0)[2]
        again = MetaJudge(MetaJudgeConfig(url=server.url, model="m", every=1, **PRICES))
        again.load_state_dict(json.loads(json.dumps(judge.state_dict())))
    assert metrics["reward/judge/meta/requests"] == 1 and metrics["reward/judge/requests"] == 1
    assert again.rubric == "Better." and again.meta.usage.cost == pytest.approx(judge.meta.usage.cost)
