"""Calls, tokens and dollars of a cascade are exact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server, completion
from evaluate.counting_env import CountingSource
from evaluate.result_examples import result as example
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model, tiny_tokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import AgentDistillError
from agentdistill.evaluate.panel import resolve_panel
from agentdistill.evaluate.result import EvalResult
from agentdistill.evaluate.run import evaluate
from agentdistill.evaluate.spending import Spent, dollars, spending_lines, total
from agentdistill.evaluate.table import as_text, result_table
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill.rollout.play import RolloutSettings
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_engines.cascade import CascadeEngine
from agentdistill_engines.cascade_options import CascadeConfig
from agentdistill_engines.hf import HfConfig, HfEngine

REGISTRY = PluginRegistry.load()
CONTEXT = AppendContext(AppendConfig())
PRICES = {"price_in": 0.3, "price_out": 1.5}


class CountedConfig(PluginConfig):
    """Options.

    Attributes:
        role: whose calls are counted.
    """

    role: str


class Counted(HfEngine):
    """The real engine, with a tape of what went through it."""

    tape: dict[str, list[tuple[int, int]]] = {}  # noqa: RUF012

    def __init__(self, config: CountedConfig, model: LoadedModel) -> None:
        super().__init__(HfConfig(), model)
        self._role = config.role

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        found = super().generate(requests, sampling)
        rows = [(len(r.prompt), len(g.token_ids)) for r, g in zip(requests, found, strict=True)]
        self.tape.setdefault(self._role, []).extend(rows)
        return found


def counted(role: str) -> dict[str, str]:
    return {"type": f"{__name__}:Counted", "role": role}


@pytest.fixture(scope="module")
def student() -> LoadedModel:
    return LoadedModel(tiny_model(), tiny_tokenizer(), "tiny", None, "f00d")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("teacher")
    tiny_model(seed=8).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def played(student: LoadedModel, source: Any = None, constrained: bool = True, **options: Any) -> EvalResult:
    source = source or CountingSource()
    renderer = ChatRenderer(student.tokenizer)
    return evaluate(
        resolve_panel("counting/valid", source=source),
        source=source,
        engine=CascadeEngine(CascadeConfig(**options), student, CONTEXT, renderer, REGISTRY),
        renderer=renderer,
        context=CONTEXT,
        settings=RolloutSettings(6, 6, temperature=1.0, concurrency=3, constrained=constrained),
        provenance={},
    )


def priced(rows: Sequence[tuple[int, int]], price_in: float, price_out: float) -> float:
    return sum(read * price_in + written * price_out for read, written in rows) / 1e6


@pytest.mark.oracle
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_every_call_and_token_that_went_through_the_engines_is_counted(
    student: LoadedModel, teacher: str, samples: int
) -> None:
    Counted.tape = {}
    asked = {"model": teacher, "sampler": counted("teacher"), "price_in": 2.0, "price_out": 8.0}
    result = played(student, samples=samples, sampler=counted("student"), teacher=asked, **PRICES)
    expected = {"student": (0.3, 1.5), "teacher": (2.0, 8.0)}
    assert set(result.spent) == set(Counted.tape) == ({"student"} if samples == 1 else {"student", "teacher"})
    for who, rows in Counted.tape.items():
        spent = result.spent[who]
        assert spent.calls == len(rows)
        assert spent.prompt_tokens == sum(read for read, _ in rows)
        assert spent.sampled_tokens == sum(written for _, written in rows)
        assert spent.usd == pytest.approx(priced(rows, *expected[who]), rel=1e-12)
    steps = sum(outcome.steps for outcome in result.outcomes)
    assert result.spent["student"].calls == samples * steps
    assert result.spent.get("teacher", Spent()).calls == result.teacher_steps


def test_an_endpoints_own_counts_are_taken(student: LoadedModel) -> None:
    """A token is a word for this server; answers that are asked for again by the cache cost what they cost at first."""
    told: list[dict[str, int]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        reply = completion("up", body)
        told.append(reply["usage"])
        return reply

    with chat_server(answer) as server:
        endpoint = {"url": server.url, "model": "big", "cache": False, "price_in": 1.0, "price_out": 10.0}
        result = played(student, endpoint=endpoint, constrained=False)
    spent = result.spent["teacher"]
    # Random models write nothing readable, so the teacher is asked in every turn; like questions of one batch are one.
    assert spent.calls == result.teacher_steps == sum(outcome.steps for outcome in result.outcomes)
    assert len(told) <= spent.calls and {usage["completion_tokens"] for usage in told} == {1}
    assert spent.sampled_tokens == spent.calls
    by_question = {usage["prompt_tokens"] for usage in told}
    assert min(by_question) * spent.calls <= spent.prompt_tokens <= max(by_question) * spent.calls
    assert spent.usd == pytest.approx((spent.prompt_tokens + 10 * spent.sampled_tokens) / 1e6)
    assert result.spent["student"].usd is None and dollars(result.spent) is None, "the student has no prices"


def test_a_repeated_evaluation_tells_the_same_cost(student: LoadedModel, tmp_path: Path) -> None:
    with chat_server("up") as server:
        endpoint = {"url": server.url, "model": "big", "cache_folder": str(tmp_path), "price_in": 1.0, "price_out": 1.0}
        first = played(student, endpoint=endpoint, constrained=False, **PRICES)
        asked = len(server.requests)
        again = played(student, endpoint=endpoint, constrained=False, **PRICES)
        assert len(server.requests) == asked, "nothing is asked twice"
    assert first.spent == again.spent and first.spent["teacher"].usd


def test_an_endpoint_that_does_not_count_makes_the_cost_unknown(student: LoadedModel) -> None:
    def silent(body: dict[str, Any]) -> dict[str, Any]:
        reply = completion("up", body)
        del reply["usage"]
        return reply

    with chat_server(silent) as server:
        endpoint = {"url": server.url, "model": "big", "cache": False, "price_in": 1.0, "price_out": 1.0}
        result = played(student, endpoint=endpoint, constrained=False, **PRICES)
    assert result.spent["teacher"].usd is None and dollars(result.spent) is None
    assert "cost unknown" in as_text(result_table(result), width=200)


def test_a_budget_stops_the_evaluation(student: LoadedModel) -> None:
    with chat_server("up") as server:
        endpoint = {"url": server.url, "model": "big", "cache": False, "price_in": 1e6, "price_out": 1e6, "budget": 9.0}
        with pytest.raises(AgentDistillError, match=r"budget of 9 USD is spent"):
            played(student, endpoint=endpoint, constrained=False)


def test_what_an_aborted_episode_spent_is_spent(student: LoadedModel) -> None:
    source = CountingSource(["broken", "game-1"])
    result = played(student, source, samples=2, **PRICES)
    assert result.aborted == 1 and result.outcomes[0].spent["student"].calls == 2
    assert result.spent["student"].calls == 2 * sum(outcome.steps for outcome in result.outcomes)


def test_a_student_whose_sampler_keeps_account_is_believed(student: LoadedModel) -> None:
    with chat_server("up") as server:
        sampler = {"type": "endpoint", "url": server.url, "model": "small", "price_in": 1.0, "price_out": 2.0}
        result = played(student, samples=2, sampler=sampler, constrained=False)
    spent = result.spent["student"]
    assert spent.calls == 2 * sum(outcome.steps for outcome in result.outcomes) and spent.sampled_tokens == spent.calls
    assert spent.usd == pytest.approx((spent.prompt_tokens + 2 * spent.sampled_tokens) / 1e6)


ACCOUNTS = st.builds(
    Spent, st.integers(0, 9), st.integers(0, 99), st.integers(0, 99), st.none() | st.floats(0, 1, allow_subnormal=False)
)


@given(st.lists(st.dictionaries(st.sampled_from(["student", "teacher"]), ACCOUNTS)))
def test_accounts_add_up_and_an_unknown_price_never_becomes_nothing(accounts: list[dict[str, Spent]]) -> None:
    found = total(accounts)
    for who, spent in found.items():
        mine = [account[who] for account in accounts if who in account]
        assert spent.calls == sum(one.calls for one in mine)
        assert spent.prompt_tokens == sum(one.prompt_tokens for one in mine)
        if any(one.usd is None for one in mine):
            assert spent.usd is None
        else:
            assert spent.usd == pytest.approx(sum(one.usd or 0.0 for one in mine))


def test_a_result_without_an_account_is_as_before() -> None:
    plain = example("10")
    assert "spent" not in plain.to_dict()["summary"] and "spent" not in plain.to_dict()["episodes"][0]
    assert EvalResult.from_dict(plain.to_dict()).spent == {} and spending_lines({}, 2, 9, 0) == []
