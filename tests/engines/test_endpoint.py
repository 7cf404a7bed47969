"""An endpoint as the agent: what goes over the wire, what comes back, and what the account says."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from chat_server import Fault, chat_server, completion

from agentdistill.clients import EndpointError
from agentdistill.conversation.base import Message, ParsedAction, Situation
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import ConfigError, PluginError
from agentdistill_engines.endpoint import EndpointAgent, EndpointAgentConfig


@dataclass
class Plain:
    """Shows the observation and takes the answer as the action."""

    prompt_hash: str = "plain"

    def messages(self, situation: Situation) -> list[Message]:
        return [Message("system", situation.task), Message("user", situation.observation)]

    def parse(self, response: str) -> ParsedAction:
        return ParsedAction(response.strip(), True)

    def render_action(self, action: str) -> str:
        return action


def agent(url: str, **options) -> EndpointAgent:
    options = {"model": "m", "retries": 0, **options}
    return EndpointAgent(EndpointAgentConfig(url=url, **options), Plain())


def request(text: str, seed: int = 5) -> GenerationRequest:
    return GenerationRequest(f"s-{text}", (), seed, situation=Situation("the goal", text))


def test_messages_sampling_and_seed_go_out_as_they_are():
    with chat_server(lambda body: f"re {body['messages'][-1]['content']}") as server:
        made = agent(server.url)
        found = made.generate([request("a"), request("b", 2**40 + 7)], Sampling(33, (), 0.7, 0.9))
        greedy = made.generate([request("c")], Sampling(4, (), 0.0))
    assert [one.text for one in [*found, *greedy]] == ["re a", "re b", "re c"]
    bodies = sorted((body for _, _, body in server.requests), key=lambda body: body["messages"][-1]["content"])
    assert bodies[0] == {
        "model": "m",
        "messages": [{"role": "system", "content": "the goal"}, {"role": "user", "content": "a"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 5,
        "max_tokens": 33,
    }
    assert bodies[1]["seed"] == (2**40 + 7) % 2**31
    assert bodies[2]["temperature"] == 0.0 and "seed" not in bodies[2] and "top_p" not in bodies[2]
    assert all(one.token_ids == [] and one.logprobs == [] for one in found)


def test_the_account_has_what_the_endpoint_says_and_its_price():
    with chat_server("go to desk 1") as server:
        made = agent(server.url, price_in=2.0, price_out=10.0)
        (found,) = made.generate([request("one two")], Sampling(9, ()))
        unpriced = agent(server.url).generate([request("one two")], Sampling(9, ()))[0]
    account = found.info["usage"]["agent"]
    assert account == {"calls": 1, "prompt_tokens": 4, "sampled_tokens": 4, "usd": pytest.approx(48e-6)}
    assert unpriced.info["usage"]["agent"]["usd"] is None
    said = made.provenance()
    assert (said["model"], said["protocol"], said["usage"]["prompt_tokens"]) == ("m", "chat completions", 4.0)


def test_answers_are_kept_only_where_asked_and_then_cost_nothing(tmp_path):
    with chat_server("x") as server:
        for kept, sent in ((False, 2), (True, 1)):
            server.requests.clear()
            options = {"cache": kept, "cache_folder": str(tmp_path), "price_in": 1.0, "price_out": 1.0}
            costs = [
                agent(server.url, **options).generate([request("a")], Sampling(9, (), 0.0))[0].info["usage"]["agent"]
                for _ in range(2)
            ]
            assert len(server.requests) == sent
            assert costs[0]["usd"] > 0.0 and (costs[1]["usd"] == 0.0) is kept


def test_a_cut_answer_says_so_and_separate_thoughts_can_be_put_back():
    def answer(body):
        reply = completion("<action>go</action>", body, "length", reasoning_content="think")
        return reply

    with chat_server(answer) as server:
        plain = agent(server.url).generate([request("a")], Sampling(9, ()))[0]
        with_thoughts = agent(server.url, thoughts=True).generate([request("a")], Sampling(9, ()))[0]
    assert (plain.finish, plain.text) == ("length", "<action>go</action>")
    assert with_thoughts.text == "<think>\nthink\n</think>\n<action>go</action>"


def test_a_prompt_that_does_not_fit_ends_its_episode_alone():
    refusal = {
        "error": {
            "message": "This model's maximum context length is 2048 tokens. However, your request has 2100 tokens."
        }
    }

    def answer(body):
        return "fine"

    def long(body):
        return body["messages"][-1]["content"] == "long"

    with chat_server() as server:
        server.answer = lambda body: Fault(400, json.dumps(refusal)) if long(body) else answer(body)
        found = agent(server.url).generate([request("a"), request("long"), request("b")], Sampling(9, ()))
        assert [one.finish for one in found] == ["stop", "context", "stop"]
        server.answer = lambda body: Fault(400, '{"error": {"message": "unknown parameter: seed"}}')
        with pytest.raises(EndpointError, match="unknown parameter: seed"):
            agent(server.url).generate([request("a")], Sampling(9, ()))


def test_at_most_so_many_requests_are_under_way():
    with chat_server("x", wait=0.02) as server:
        agent(server.url, concurrency=3).generate([request(str(i)) for i in range(12)], Sampling(9, ()))
        assert len(server.requests) == 12 and 1 < server.most_at_once <= 3


def test_what_cannot_be_asked_is_told():
    made = agent("http://localhost:9/v1")
    with pytest.raises(ConfigError, match="cannot be restricted"):
        made.generate([replace(request("a"), allowed=((1, 2),))], Sampling(9, ()))
    with pytest.raises(PluginError, match="what the prompt was made from"):
        made.generate([GenerationRequest("s", [1, 2])], Sampling(9, ()))
    assert made.renderer.prompt([Message("user", "x")]) == [] and made.renderer.closed([]) == []
