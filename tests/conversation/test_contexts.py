from __future__ import annotations

import pytest
from tiny import tiny_tokenizer

from agentdistill.conversation.base import ParsedAction, Situation
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.records import Step
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

TASK = "put some pen on desk"
FIRST = f"You are in a room. You see a desk 1.\n\nYour task is to: {TASK}."
COMMANDS = ["go to desk 1", "look", "help"]

POLICIES = [
    AppendContext(AppendConfig()),
    AppendContext(AppendConfig(admissible=True, think=True, system="Be brief.")),
    WindowContext(WindowConfig()),
    WindowContext(WindowConfig(steps=0, admissible=False, think=False)),
]


def situations(policy, count: int = 4, first: str = FIRST):
    steps, observation = [], first
    for index in range(count):
        yield Situation(TASK, observation, COMMANDS, list(steps))
        info = {"admissible_actions": COMMANDS}
        steps.append(Step(index, observation, policy.render_action("look"), "look", info=info))
        observation = f"Nothing new, {index}."


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("first", [FIRST, "You are in a room."])
def test_the_task_is_in_the_prompt_of_every_turn_once(policy, first):
    for situation in situations(policy, first=first):
        text = "\n".join(message.content for message in policy.messages(situation))
        assert text.count(TASK) >= 1
        assert situation.observation in text
    if not policy.fresh_rows:
        assert text.count(TASK) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_rendered_actions_parse_back(policy):
    for action in ("go to desk 1", "move pen 2 to desk 1"):
        assert policy.parse(policy.render_action(action)) == ParsedAction(action, True)


@pytest.mark.parametrize("policy", POLICIES)
def test_append_is_one_row_and_window_one_row_a_turn(policy):
    builder = RowBuilder(ChatRenderer(tiny_tokenizer()))
    for index, situation in enumerate(situations(policy)):
        builder.turn(policy.messages(situation))
        builder.sampled(index, [50, 2], [-1.0, -1.0])
    assert len(builder.rows()) == (4 if policy.fresh_rows else 1)


def test_append_shows_bare_observations_by_default():
    policy = AppendContext(AppendConfig())
    *_, last = situations(policy)
    contents = [message.content for message in policy.messages(last)]
    assert contents == [FIRST, "look", "Nothing new, 0.", "look", "Nothing new, 1.", "look", "Nothing new, 2."]
    assert policy.needs == frozenset()


def test_window_shows_the_last_steps_only_and_hides_help():
    policy = WindowContext(WindowConfig(steps=2))
    *_, last = situations(policy)
    (message,) = policy.messages(last)
    assert "Nothing new, 0." in message.content and "Nothing new, 1." in message.content
    assert FIRST not in message.content
    assert "You have taken 3 steps" in message.content and "[2]" in message.content and "[3]" in message.content
    assert "- look" in message.content and "- help" not in message.content
    assert policy.needs == {"admissible_actions"}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<think>hm</think><action>look</action>", ParsedAction("look", True)),
        ("\n<think>a\nb</think>\n<action> go to desk 1 </action>\n", ParsedAction("go to desk 1", True)),
        ("<think></think><action>look</action>", ParsedAction("look", True)),
        ("<action>look</action>", ParsedAction("look", False)),
        ("<think>hm<action>look</action>", ParsedAction("look", False)),
        ("<think>a</think><action>look</action><action>help</action>", ParsedAction("help", False)),
        ("<think>a</think><think>b</think><action>look</action>", ParsedAction("look", False)),
        ("<think>a</think>so <action>look</action>", ParsedAction("look", False)),
        ("<think>a</think><action></action>", ParsedAction("", False)),
        ("<think>a</think><action>look\naround</action>", ParsedAction("look\naround", False)),
        ("look", ParsedAction("", False)),
        ("", ParsedAction("", False)),
    ],
)
def test_thought_then_action_is_parsed_strictly(response, expected):
    assert WindowContext(WindowConfig()).parse(response) == expected
    assert AppendContext(AppendConfig(think=True)).parse(response) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<action>look</action>", ParsedAction("look", True)),
        ("I look. <action>look</action>", ParsedAction("look", False)),
        ("<think>a</think><action>look</action>", ParsedAction("look", False)),
        ("look", ParsedAction("", False)),
    ],
)
def test_action_only_in_tags(response, expected):
    assert WindowContext(WindowConfig(think=False)).parse(response) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (" go to desk 1", ParsedAction("go to desk 1", True)),
        ("", ParsedAction("", False)),
        ("  \n", ParsedAction("", False)),
        ("look\nhelp", ParsedAction("look help", False)),
    ],
)
def test_a_bare_command(response, expected):
    assert AppendContext(AppendConfig()).parse(response) == expected


def test_prompt_hashes_tell_every_option_apart():
    hashes = {policy.prompt_hash for policy in POLICIES}
    hashes |= {WindowContext(WindowConfig(steps=n)).prompt_hash for n in (1, 3)}
    assert len(hashes) == len(POLICIES) + 2
    assert AppendContext(AppendConfig()).prompt_hash == POLICIES[0].prompt_hash


def test_text_with_braces_is_shown_as_it_is():
    situation = Situation("put {x} on {0}", "You see {braces}.", ["use {y}"])
    for policy in POLICIES:
        text = "\n".join(message.content for message in policy.messages(situation))
        assert "{braces}" in text and "put {x} on {0}" in text
