"""The completions client against a real server on a real socket: order, failures, and a breaker that spares waiting."""

from __future__ import annotations

import asyncio
import json

import pytest
from chat_server import Fault, chat_server

from agentdistill.clients import BadReply, CompletionsClient, EndpointError, ServerConfig
from agentdistill.clients.breaker import CircuitBreaker
from agentdistill.plugins.options import field_descriptions


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("agentdistill.clients.retry.FIRST_WAIT", 0.01)


def client(server, **options) -> CompletionsClient:
    return CompletionsClient(
        ServerConfig(**({"url": server.url, "model": "m", "timeout": 5.0, "rest": 0.05} | options))
    )


def bodies(count: int) -> list[dict]:
    return [{"model": "m", "prompt": [number], "messages": []} for number in range(count)]


def echo(body):
    return {"said": body["prompt"], "usage": {"prompt_tokens": 3}}


def said(value, number):
    if value["said"] != [number]:
        raise BadReply("It is the answer to another.")
    return value["said"]


def test_answers_come_in_the_order_of_the_requests():
    with chat_server(echo, wait=0.01) as server:
        made = client(server, concurrency=5)
        assert made.complete(bodies(20), said) == [[number] for number in range(20)]
    assert {path for path, _, _ in server.requests} == {"/v1/completions"} and server.most_at_once <= 5
    assert (made.counts.sent, made.counts.retries, made.counts.prompt_tokens) == (20, 0, 60)


def test_inside_a_running_loop():
    async def notebook(made):
        return made.complete(bodies(2), said)

    with chat_server(echo) as server:
        assert asyncio.run(notebook(client(server))) == [[0], [1]]


@pytest.mark.parametrize(
    "fault", [Fault(drop=True), Fault(503, "busy"), Fault(200, '{"said": [0'), Fault(200, '{"said": [7]}')]
)
def test_passing_faults_are_asked_again(fault):
    with chat_server(echo, script=[fault]) as server:
        made = client(server)
        assert made.complete(bodies(1), said) == [[0]]
    assert made.counts.retries == 1 == made.counts.failures


def test_what_no_retry_saved_comes_back_beside_the_answers():
    with chat_server(echo, script=[Fault(drop=True)] * 2) as server:
        answers = client(server, retries=1, concurrency=1).complete(bodies(3), said)
    assert isinstance(answers[0], EndpointError) and answers[0].transient and answers[1:] == [[1], [2]]
    assert "after 2 attempts" in str(answers[0])


def test_a_refusal_ends_everything_with_the_servers_words_and_the_callers_advice():
    words = json.dumps({"error": {"message": "no such thing"}})
    with chat_server(echo, script=[Fault(400, words)]) as server:
        made = CompletionsClient(ServerConfig(url=server.url), lambda status, text: f"Do {status} about {text}.")
        with pytest.raises(EndpointError, match=r"It says: no such thing Do 400 about no such thing\."):
            made.complete(bodies(5), said)


def test_answers_of_others_are_raised_in_the_end():
    with chat_server(lambda body: {"said": [9]}) as server, pytest.raises(BadReply, match="after 3 attempts"):
        client(server).complete(bodies(1), said)


def test_a_server_that_wants_pauses_gets_them_up_to_the_longest():
    with chat_server(echo, script=[Fault(429, "slowly", headers={"retry-after": "3600"})]) as server:
        assert client(server, max_wait=0.05).complete(bodies(1), said) == [[0]]


def test_an_open_breaker_fails_at_once_and_closes_when_the_server_is_well():
    with chat_server(echo, script=[Fault(drop=True)] * 3) as server:
        made = client(server, retries=0, trip=3, rest=60.0, concurrency=1)
        answers = made.complete(bodies(10), said)
        assert made.counts.sent == 3 and all("left alone" in str(answer) for answer in answers[3:])
        assert "3 times in a row: " in str(answers[3]) and str(answers[0].why) in str(answers[3])
        assert "left alone" in str(made.complete(bodies(1), said)[0]) and made.counts.sent == 3
        made.breaker.success()
        assert made.complete(bodies(1), said) == [[0]]


def test_a_breaker_asks_once_after_its_rest():
    now = [0.0]
    breaker = CircuitBreaker(2, 10.0, lambda: now[0])
    breaker.failure()
    assert not breaker.open and breaker.rested
    breaker.success()
    breaker.failure()
    breaker.failure()
    assert breaker.open and not breaker.rested and breaker.opened == 1
    now[0] = 10.0
    assert breaker.open and breaker.rested
    breaker.failure()
    assert breaker.open and not breaker.rested and breaker.opened == 1
    breaker.success()
    assert not breaker.open and breaker.rested


def test_every_option_is_described():
    assert set(field_descriptions(ServerConfig)) == set(ServerConfig.model_fields)
