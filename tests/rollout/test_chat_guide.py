"""A guide behind a real chat endpoint: the words it is shown, the tokens it writes, and what is not used."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from chat_server import Fault, chat_server, completion
from toy_world import CorridorSource, ScriptedEngine, lost, renderer, requests

from agentdistill.clients import ChatClient, EndpointConfig
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import BudgetSpent, PluginError, TeacherOutage
from agentdistill.records import Actor, EpisodePlan, LossRole, Relabel, StopReason
from agentdistill.rollout.chat_guide import AGAIN, ChatGuide, ChatGuideSettings
from agentdistill.rollout.guide import GuideTurn
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.rollout.relabel import relabelled
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

APPEND = AppendContext(AppendConfig())
WINDOW = WindowContext(WindowConfig(steps=1, think=False))
CONTEXTS = pytest.mark.parametrize("context", [APPEND, WINDOW], ids=["append", "window"])


def where(text: str) -> tuple[int, int]:
    """How long the corridor is, and where one stands, in all that was said."""
    length = int(text.split("A corridor of ")[1].split()[0]) if "A corridor of " in text else 99
    return length, int(text.rsplit("You are at ", 1)[1].split(".")[0]) if "You are at " in text else 0


def walks(context):
    """A server's answer that wins, in the words of a context."""

    def answer(body):
        length, place = where("\n".join(m["content"] for m in body["messages"]))
        return context.render_action("open" if place == length else "ahead")

    return answer


def guide(server, context=APPEND, settings=None, **config) -> ChatGuide:
    options = {"url": server.url, "model": "m", "cache": False, "retries": 0} | config
    return ChatGuide(ChatClient(EndpointConfig(**options)), context, renderer(), settings)


def one(context=APPEND, seed=7) -> GuideTurn:
    """A turn at the beginning of a corridor."""
    from agentdistill.conversation.base import Situation

    situation = Situation("open the door", "A corridor of 2 steps.", ("ahead", "open"))
    return GuideTurn(GenerationRequest("s", (), seed, situation=situation), {})


def asked(made, limit=100, temperature=0.0):
    return made.respond([one()], Sampling(limit, (2,), temperature))[0]


@CONTEXTS
def test_it_plays_turns_in_the_students_place_and_wins(context):
    with chat_server(walks(context)) as server:
        made = guide(server, context)
        played = play(
            requests(3, guide=1.0, guide_actor=Actor.TEACHER, guide_role=LossRole.IMITATE),
            source=CorridorSource(), engine=ScriptedEngine(lost), renderer=renderer(), context=context,
            settings=RolloutSettings(temperature=0.0), guides={Actor.TEACHER: made},
        )  # fmt: skip
    # The window forgets how long the corridor was: there it cannot know when to open.
    won = {StopReason.SUCCESS} if context is APPEND else {StopReason.ENV_LIMIT}
    assert {t.stop for t in played} == won
    for trajectory in played:
        assert not any(row.mask.any() for row in trajectory.rows)
        for step in trajectory.steps:
            assert (step.actor, step.loss_role) == (Actor.TEACHER, LossRole.IMITATE)
            row = trajectory.rows[step.row]
            assert renderer().decode(row.token_ids[step.start : step.end].tolist()) == step.response
            assert row.token_ids[step.end - 1] == renderer().terminator
            assert (row.step_of_token[step.start : step.end] == step.index).all()
    assert made.counts == {"turns": sum(len(t.steps) for t in played), "left": 0}


@CONTEXTS
def test_relabelled_states_are_shown_in_the_very_words_of_the_students_prompts(context):
    plan = EpisodePlan(student_role=LossRole.NONE, relabel=Relabel())
    with chat_server(walks(context)) as server:
        made = guide(server, context)
        played = play(
            [dataclasses.replace(request, plan=plan) for request in requests(3)],
            source=CorridorSource(), engine=ScriptedEngine(lost), renderer=renderer(), context=context,
            settings=RolloutSettings(max_steps=4),
        )  # fmt: skip
        relabels = relabelled(
            played, guides={Actor.TEACHER: made}, renderer=renderer(), context=context, settings=RolloutSettings()
        )
        shown = [renderer().tokenizer.apply_chat_template(b["messages"], tokenize=False, add_generation_prompt=True)
                 for _, _, b in server.requests]  # fmt: skip
        assert {b["temperature"] for _, _, b in server.requests} == {0.0}
        assert not any("seed" in b for _, _, b in server.requests)
    prompts = [renderer().tokenizer.decode(t.rows[s.row].token_ids[: s.start]) for t in played for s in t.steps]
    assert sorted(set(shown)) == sorted(set(prompts)) and len(prompts) == 12  # alike questions are asked once
    for trajectory, relabel in zip(played, relabels, strict=True):
        assert [s.index for s in relabel.steps] == [s.index for s in trajectory.steps]
        assert all(s.action == "ahead" and s.info["student_action"] in ("dance", "") for s in relabel.steps)
        for row in relabel.rows:
            assert not row.mask.any() and np.isnan(row.old_logprob).all()


@pytest.mark.parametrize(
    "reply, reason",
    [
        (lambda body: completion("ahead", body, "length"), "cut"),
        (lambda body: completion("  \n", body), "empty"),
        (lambda body: completion("ahead <|im_end|> open", body), "unwritable"),
        (lambda body: completion("a" * 200, body), "too_long"),
    ],
)
def test_what_cannot_be_used_is_asked_again_and_then_left_to_the_student(reply, reason):
    with chat_server(reply) as server:
        made = guide(server)
        assert asked(made) is None
        assert made.counts == {"turns": 1, reason: 2, "left": 1}
        assert [b["temperature"] for _, _, b in server.requests] == [0.0, AGAIN]
    answers = iter([reply, lambda body: completion("ahead", body)])
    with chat_server(lambda body: next(answers)(body)) as server:
        made = guide(server)
        assert asked(made).text == "ahead" and made.counts == {"turns": 1, reason: 1, "left": 0}


def test_an_answer_in_another_format_is_unreadable_and_never_imitated():
    with chat_server("I would go ahead.") as server:
        made = guide(server, WINDOW)
        assert asked(made) is None and made.counts["unreadable"] == 2


def test_thoughts_are_put_in_front_where_they_are_wanted():
    def reply(body):
        return completion("<action>ahead</action>", body, reasoning_content="The door is far. ")

    thinking = WindowContext(WindowConfig(think=True))
    with chat_server(reply) as server:
        assert asked(guide(server, thinking)) is None  # the prompt asks for a thought, and the answer has none
        text = asked(guide(server, thinking, ChatGuideSettings(thoughts=True))).text
        assert text == "<think>\nThe door is far.\n</think>\n<action>ahead</action>"


def test_how_it_is_sampled():
    with chat_server("ahead") as server:
        asked(guide(server), temperature=0.7)
        asked(guide(server, settings=ChatGuideSettings(send_seed=False)), temperature=0.7)
        asked(guide(server, settings=ChatGuideSettings(own_sampling=True), temperature=0.3), temperature=0.7)
        asked(guide(server, settings=ChatGuideSettings(own_sampling=True), temperature=None), temperature=0.7)
        sent = [(b.get("temperature"), b.get("seed")) for _, _, b in server.requests]
    assert sent == [(0.7, 7), (0.7, None), (0.3, 7), (None, 7)]


def test_answers_come_from_the_cache_and_other_seeds_get_answers_of_their_own(tmp_path):
    with chat_server("ahead") as server:
        for _ in range(2):
            made = guide(server, cache=True, cache_folder=str(tmp_path))
            for seed in (1, 2):
                made.respond([one(seed=seed)], Sampling(100, (2,), 1.0))
            made.respond([one(seed=1), one(seed=2)], Sampling(100, (2,), 0.0))
        assert len(server.requests) == 3


def test_an_endpoint_that_is_down_is_an_outage_and_a_spent_budget_says_so():
    with chat_server("ahead", script=[Fault(503, "busy")]) as server:
        with pytest.raises(TeacherOutage, match="503"):
            asked(guide(server))
        made = guide(server, price_in=1e6, price_out=1e6, budget=1.0)
        assert asked(made).text == "ahead"
        with pytest.raises(BudgetSpent, match="is spent"):
            asked(made)


def test_a_prompt_of_ids_alone_cannot_be_answered():
    with chat_server("ahead") as server, pytest.raises(PluginError, match="what the prompt was made from"):
        guide(server).respond([GuideTurn(GenerationRequest("s", (1, 2)), {})], Sampling(9, (2,)))
