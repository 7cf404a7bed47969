"""The chat client against a real server on a real socket: answers, faults, time, money, secrets."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import math
import os
import time

import pytest
from chat_server import Fault, chat_server, completion
from pydantic import ValidationError

from agentdistill.clients import ChatClient, ChatRequest, EndpointConfig, EndpointError
from agentdistill.clients.retry import retry_after, wait_before
from agentdistill.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("agentdistill.clients.retry.FIRST_WAIT", 0.01)


def client(server, **options) -> ChatClient:
    return ChatClient(EndpointConfig(**({"url": server.url, "model": "judge", "timeout": 5.0} | options)))


def asks(*texts: str) -> list[ChatRequest]:
    return [ChatRequest.of(text) for text in texts]


def echo(body):
    return f"you said {body['messages'][-1]['content']}"


def test_answers_come_in_the_order_of_the_requests():
    with chat_server(echo, wait=0.01) as server:
        answers = client(server).complete(asks(*(f"text {i}" for i in range(40))))
    assert [a.text for a in answers] == [f"you said text {i}" for i in range(40)]
    assert len(server.requests) == 40


def test_what_is_sent():
    with chat_server() as server:
        chat = client(server, temperature=0.7, top_p=0.9, max_tokens=12, body={"chat_template_kwargs": {"x": False}})
        chat.complete([ChatRequest.of("hello", "be brief", seed=3, body={"stop": ["."]})])
        other = client(server, temperature=None, length_field="max_completion_tokens")
        other.complete([ChatRequest.of("hello", max_tokens=5, temperature=0.2, sample=4)])
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions" and "authorization" not in headers
    assert body == {
        "model": "judge", "temperature": 0.7, "top_p": 0.9, "max_tokens": 12, "seed": 3, "stop": ["."],
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "chat_template_kwargs": {"x": False},
    }  # fmt: skip
    assert server.requests[1][2]["max_completion_tokens"] == 5 and server.requests[1][2]["temperature"] == 0.2
    assert "max_tokens" not in server.requests[1][2] and "sample" not in server.requests[1][2]


def test_no_more_at_once_than_asked_for():
    with chat_server(echo, wait=0.05) as server:
        client(server, concurrency=3).complete(asks(*(str(i) for i in range(12))))
    assert server.most_at_once == 3


def test_requests_go_out_together():
    with chat_server(echo, wait=0.2) as server:
        client(server, concurrency=16).complete(asks(*(str(i) for i in range(16))))
    assert server.most_at_once > 4


def test_the_cache_answers_a_second_run_without_a_request():
    with chat_server(echo) as server:
        first = client(server).complete(asks("a", "b"))
        again = client(server)
        second = again.complete(asks("b", "a", "c"))
    assert [a.text for a in second] == [first[1].text, first[0].text, "you said c"]
    assert [a.cached for a in second] == [True, True, False]
    assert len(server.requests) == 3
    assert (again.usage.cached, again.usage.sent, again.usage.answers) == (2, 1, 3)


@pytest.mark.parametrize(
    ("options", "request_"),
    [
        ({"model": "other"}, ChatRequest.of("a")),
        ({"temperature": 0.5}, ChatRequest.of("a")),
        ({"served_as": "somebody else"}, ChatRequest.of("a")),
        ({"body": {"top_k": 3}}, ChatRequest.of("a")),
        ({}, ChatRequest.of("a", sample=1)),
        ({}, ChatRequest.of("a", seed=1)),
        ({}, ChatRequest.of("a", "a system message")),
        ({}, ChatRequest.of("b")),
    ],
)
def test_everything_an_answer_depends_on_is_part_of_its_address(options, request_):
    with chat_server(echo) as server:
        client(server).complete(asks("a"))
        client(server, **options).complete([request_])
    assert len(server.requests) == 2


def test_what_an_answer_does_not_depend_on_is_not(monkeypatch):
    monkeypatch.setenv("A_KEY", "secret-1")
    with chat_server(echo) as server:
        client(server, served_as="here").complete(asks("a"))
    with chat_server(echo) as elsewhere:
        chat = client(elsewhere, served_as="here", concurrency=1, retries=0, timeout=9.0, key_variable="A_KEY")
        assert chat.complete(asks("a"))[0].text == "you said a"
    assert not elsewhere.requests


def test_a_cache_can_be_turned_off_and_moved(tmp_path):
    with chat_server(echo) as server:
        for _ in range(2):
            client(server, cache=False).complete(asks("a"))
        assert len(server.requests) == 2 and not (tmp_path / "cache").exists()
        client(server, cache_folder=str(tmp_path / "mine")).complete(asks("a"))
    (file,) = (tmp_path / "mine").rglob("*.json")
    kept = json.loads(file.read_text())
    assert kept["request"]["messages"][0]["content"] == "a" and kept["answer"]["text"] == "you said a"


def test_a_full_disk_costs_the_cache_and_not_the_answers(monkeypatch, caplog):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with chat_server(echo) as server, monkeypatch.context() as patched:
        patched.setattr("agentdistill.clients.answers.write_bytes", full)
        chat = client(server)
        assert [a.text for a in chat.complete(asks("a", "b"))] == ["you said a", "you said b"]
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert "No space left on device" in warning and "pays again" in warning
    with chat_server(echo) as server:
        client(server).complete(asks("a"))
        assert len(server.requests) == 1


def test_a_damaged_answer_is_named(tmp_path):
    with chat_server(echo) as server:
        chat = client(server)
        chat.complete(asks("a"))
        (file,) = chat.cache.folder.rglob("*.json")
        file.write_text(file.read_text().replace("you said a", "you said b"))
        with pytest.raises(DataError, match=rf"{file.name} is damaged.*checksum.*Remove the file"):
            chat.complete(asks("a"))
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(DataError, match="is damaged"):
            chat.complete(asks("a"))


def test_equal_requests_of_one_call_are_asked_once():
    with chat_server(echo) as server:
        chat = client(server, cache=False)
        assert [a.text for a in chat.complete(asks("a", "b", "a", "a"))] == [f"you said {x}" for x in "abaa"]
    assert len(server.requests) == 2 and chat.usage.shared == 2 and chat.usage.answers == 4


FAULTS = {
    "rate limit": Fault(429, '{"error": {"message": "slow down"}}'),
    "server error": Fault(500, "<html>oops</html>"),
    "overloaded": Fault(529, ""),
    "not json": Fault(200, '{"choices": [{"mess'),
    "not text": Fault(200, b"\xff\xfe\x00"),
    "dropped": Fault(drop=True),
    "time-out": Fault(200, "{}", wait=0.6),
    "trickle": Fault(200, "{" + " " * 40, trickle=0.05),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_passing_fault_is_survived(fault):
    with chat_server(echo, script=[fault, fault]) as server:
        chat = client(server, timeout=0.3, retries=2)
        assert chat.complete(asks("a"))[0].text == "you said a"
    assert len(server.requests) == 3 and chat.usage.retries == 2 and chat.usage.sent == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FAULTS["rate limit"], r"answered 429.*after 3 attempts\. It says: slow down Lower concurrency"),
        (FAULTS["server error"], r"answered 500.*after 3 attempts\. It says: <html>oops</html> Look at"),
        (FAULTS["not json"], r"is not JSON, after 3 attempts\. It begins: '\{\"choices"),
        (FAULTS["time-out"], r"did not answer within 0\.3 s, after 3 attempts\..*Raise timeout"),
        (FAULTS["dropped"], r"cannot be reached, after 3 attempts\. \w+: .*Check that the server runs"),
    ],
    ids=["429", "500", "json", "time-out", "dropped"],
)
def test_a_lasting_fault_is_an_error_that_says_what_was_tried(fault, words):
    with chat_server(script=[fault] * 3) as server, pytest.raises(EndpointError, match=words) as caught:
        client(server, timeout=0.3, retries=2).complete(asks("a"))
    assert len(server.requests) == 3 and caught.value.transient


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(400, '{"error": {"message": "context length is 4096"}}'), "context length is 4096 Check the options"),
        (Fault(401, '{"error": "no key"}'), "answered 401.*No key was sent: name the environment variable"),
        (Fault(404, '{"detail": "no such model"}'), "no such model Check the address"),
        (Fault(307, "", headers={"location": "http://127.0.0.1:1/"}), "Redirects are not followed"),
        (Fault(200, '{"error": {"message": "model is loading"}}'), "no chat completion.*model is loading"),
        (Fault(200, '{"choices": []}'), "no chat completion"),
        (Fault(200, '{"choices": [{"message": {"content": null}}]}'), "no chat completion"),
        (Fault(200, '{"choices": [{"message": {"content": ["a"]}}]}'), "no chat completion"),
        (Fault(200, '["a"]'), "no chat completion"),
    ],
)
def test_a_fault_that_will_not_pass_is_not_repeated(fault, words):
    with chat_server(script=[fault]) as server, pytest.raises(EndpointError, match=words):
        client(server).complete(asks("a"))
    assert len(server.requests) == 1


def test_nobody_there():
    with chat_server() as server:
        gone = server
    with pytest.raises(EndpointError, match=r"cannot be reached and is not asked again|cannot be reached, and"):
        client(gone, retries=0).complete(asks("a"))


def test_the_pause_that_an_endpoint_asks_for_holds_for_all_requests():
    busy = Fault(429, "{}", headers={"retry-after": "0.4"})
    with chat_server(echo, script=[busy]) as server:
        begun = time.monotonic()
        client(server, concurrency=1).complete(asks("a", "b"))
        assert time.monotonic() - begun >= 0.4


def test_a_pause_longer_than_allowed_is_an_error_at_once():
    busy = Fault(429, "{}", headers={"retry-after": "7200"})
    words = r"asks to wait 7,200 s, and max_wait is 60 s.*Run again later"
    with chat_server(echo, script=[busy]) as server, pytest.raises(EndpointError, match=words):
        client(server).complete(asks("a"))


def test_one_failure_stops_the_others_and_keeps_what_was_answered():
    def reply(body):
        return Fault(400, "{}") if body["messages"][-1]["content"] == "bad" else echo(body)

    with chat_server(reply) as server:
        chat = client(server, concurrency=1)
        with pytest.raises(EndpointError, match="answered 400"):
            chat.complete(asks("a", "bad", *(f"{i}" for i in range(50))))
        assert len(server.requests) < 10
        assert client(server).complete(asks("a"))[0].cached


def test_waiting_times():
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "3"}) == 3.0
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None and retry_after({}) is None
    assert retry_after({"retry-after": "-1"}) is None and retry_after({"retry-after": "inf"}) is None
    waits = [wait_before(n, "id", 1.0) for n in range(1, 12)]
    assert waits == [wait_before(n, "id", 1.0) for n in range(1, 12)]
    assert all(0.5 * min(0.01 * 2 ** (n - 1), 1) <= w <= min(0.01 * 2 ** (n - 1), 1) for n, w in enumerate(waits, 1))
    assert wait_before(1, "a", 1.0) != wait_before(1, "b", 1.0)
    assert wait_before(9, "id", 60.0, asked=2.5) == 2.5


def test_costs_are_counted_and_a_budget_is_kept():
    with chat_server("one two three four") as server:
        chat = client(server, price_in=1e6, price_out=2e6, concurrency=1, budget=10.0)
        chat.complete(asks("a b"))
        assert (chat.usage.prompt_tokens, chat.usage.completion_tokens, chat.usage.cost) == (2, 4, 10.0)
        assert chat.usage.metrics()["cost"] == 10.0 and "10.0000 USD" in chat.usage.summary()
        with pytest.raises(EndpointError, match=r"budget of 10 USD is spent.*1 requests"):
            chat.complete(asks("c"))
        assert chat.complete(asks("a b"))[0].cached


def test_costs_that_nobody_knows_are_not_zero():
    with chat_server(lambda body: completion("x", body) | {"usage": None}) as server:
        chat = client(server, price_in=1.0, price_out=1.0, budget=1.0)
        chat.complete(asks("a"))
        assert math.isnan(chat.usage.cost) and chat.usage.unmeasured == 1 and "cost" not in chat.usage.metrics()
        with pytest.raises(EndpointError, match="cannot be kept"):
            chat.complete(asks("b"))
        assert math.isnan(client(server).usage.cost)


def test_an_answer_that_was_cut_off_says_so():
    def cut(body):
        return completion("", body, finish="length", reasoning_content="hm") | {}

    with chat_server(cut) as server:
        (answer,) = client(server).complete(asks("a"))
    assert (answer.text, answer.finish, answer.reasoning) == ("", "length", "hm")


def test_text_that_is_no_unicode_is_sent_and_read():
    with chat_server(lambda body: Fault(200, json.dumps(completion("half \ud83d pair", body)))) as server:
        (answer,) = client(server).complete(asks("half \ud83d pair"))
        assert answer.text == "half ? pair"
        assert client(server).complete(asks("half \ud83d pair"))[0].cached


def test_works_inside_a_running_event_loop():
    async def notebook(chat):
        return chat.complete(asks("a")), await chat.acomplete(asks("b"))

    with chat_server(echo) as server:
        first, second = asyncio.run(notebook(client(server)))
        assert (first[0].text, second[0].text) == ("you said a", "you said b")
        with pytest.raises(EndpointError):
            server.script.append(Fault(400))
            asyncio.run(notebook(client(server, cache=False)))


SECRET = "sk-very-secret-0123456789"


def test_the_key_is_sent_and_appears_nowhere_else(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    quotes = [
        Fault(500, f'{{"error": "bad key {SECRET}"}}'),
        Fault(200, f"not json {SECRET}"),
        Fault(401, f'{{"error": {{"message": "Incorrect API key provided: {SECRET}"}}}}'),
    ]
    with chat_server(echo) as server:
        chat = client(server, key_variable="JUDGE_KEY")
        chat.complete(asks("a"))
        assert server.requests[0][1]["authorization"] == f"Bearer {SECRET}"
        server.script += quotes
        with pytest.raises(EndpointError) as caught:
            chat.complete(asks("b"))
    assert "Incorrect API key provided: [key]" in str(caught.value) and "variable JUDGE_KEY" in str(caught.value)
    seen = [caplog.text, str(caught.value), repr(chat), repr(chat.config), repr(chat.usage)]
    cause = caught.value.__cause__ or caught.value.__context__
    while cause is not None:
        seen.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    seen += [path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert "Trying again" in caplog.text
    assert not [text for text in seen if SECRET in text]


def test_a_missing_key_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    words = r"NO_SUCH_KEY is not set\..*or remove key_variable"
    with chat_server() as server, pytest.raises(ConfigError, match=words):
        client(server, key_variable="NO_SUCH_KEY")
    assert not server.requests


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "localhost:8000"}, "begins with http"),
        ({"url": "http://me:pass@host/v1"}, "holds no user, password or query"),
        ({"url": "http://host/v1?key=1"}, "holds no user, password or query"),
        ({"url": "http://host/v1/chat/completions"}, "base address"),
        ({"body": {"messages": []}}, "body.messages is not free"),
        ({"body": {"n": 2}}, "body.n is not free"),
        ({"budget": 1.0}, "budget needs price_in and price_out"),
        ({"timeout": 0}, "greater than 0"),
        ({"temprature": 1.0}, "Extra inputs"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValidationError, match=words) as caught:
        EndpointConfig(**({"url": "http://host/v1", "model": "m"} | options))
    assert "me:pass" not in str(caught.value).split("[type=")[0]


def test_no_request_needs_no_server():
    assert ChatClient(EndpointConfig(url="http://127.0.0.1:9/v1", model="m")).complete([]) == []
