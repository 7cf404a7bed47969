from __future__ import annotations

import pytest
from tiny import CHAT_TEMPLATE, tiny_tokenizer

from agentdistill.conversation.base import Message
from agentdistill.conversation.template import ChatRenderer, renderer_for
from agentdistill.errors import TokenizationError

STRIPS_THINKING = (
    "{% for message in messages %}{% set content = message['content'] %}"
    "{% if message['role'] == 'assistant' and not loop.last and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NUMBERED = CHAT_TEMPLATE.replace(
    "message['role'] +", "message['role'] + (loop.index0 | string if message['role'] == 'user' else '') +"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + CHAT_TEMPLATE
TERSE = (
    "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<|im_end|>"
    "{% elif not loop.last %}<|im_start|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
PLAIN_END = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TRIMS = CHAT_TEMPLATE.replace("message['content']", "(message['content'] | trim)")


def conversation(*turns: str, system: str = "") -> list[Message]:
    messages = [Message("system", system)] if system else []
    for index, text in enumerate(turns):
        messages.append(Message("assistant", text, index // 2) if index % 2 else Message("user", text))
    return messages


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, NO_SYSTEM, TERSE, TRIMS])
def test_incremental_rendering_equals_the_template(template):
    tokenizer = tiny_tokenizer(template)
    renderer = ChatRenderer(tokenizer)
    assert renderer.incremental and renderer.problem == ""
    assert renderer.stop_ids == (2,)
    turns = ["You see a desk.", "go to desk 1", "You arrive. É ü\n\n{braces}", "take pen", "You have it."]
    ids = renderer.prompt(conversation(turns[0]))
    for position in (1, 3):
        ids += renderer.response(turns[position])
        ids += renderer.continuation([Message("user", turns[position + 1])])
        whole = [{"role": m.role, "content": m.content} for m in conversation(*turns[: position + 2])]
        text = tokenizer.apply_chat_template(whole, tokenize=False, add_generation_prompt=True)
        assert ids == tokenizer.encode(text, add_special_tokens=False)
        assert ids == renderer.prompt(conversation(*turns[: position + 2]))


def test_sampled_tokens_come_back_as_they_were():
    renderer = ChatRenderer(tiny_tokenizer())
    odd = [3, 250, 251, 9, 2]  # bytes that are no text: encoding their decoded form gives other ids
    assert renderer.tokenizer.encode(renderer.decode(odd), add_special_tokens=False) != odd[:-1]
    ids = renderer.prompt(conversation("a", "whatever the text says", "b"), {0: odd})
    start = len(renderer.prompt(conversation("a")))
    assert ids[start : start + len(odd)] == odd
    assert ids[start + len(odd) :] == list(renderer.continuation([Message("user", "b")]))


def test_a_response_is_closed_once():
    renderer = ChatRenderer(tiny_tokenizer(), extra_stop_ids=(0, 2))
    assert renderer.stop_ids == (2, 0)
    assert renderer.closed([5, 6]) == [5, 6, 2]
    assert renderer.closed([5, 6, 2]) == [5, 6, 2]
    assert renderer.closed([5, 0]) == [5, 0, 2], "a stop token that is not the template's is kept, then closed"
    assert renderer.closed([]) == [2]
    assert renderer.decode([74, 75, 0]) == renderer.decode([74, 75, 2]) == renderer.decode([74, 75]) == "hi"


def test_special_tokens_inside_a_response_stay_visible():
    renderer = ChatRenderer(tiny_tokenizer())
    assert renderer.decode([74, 1, 75, 2]) == "h<|im_start|>i"


@pytest.mark.parametrize(("template", "says"), [(STRIPS_THINKING, "strips"), (NUMBERED, "depends on the history")])
def test_templates_that_rewrite_history_are_refused(template, says):
    with pytest.raises(TokenizationError, match=says) as caught:
        ChatRenderer(tiny_tokenizer(template))
    assert "windowed" in str(caught.value)


def test_they_still_serve_contexts_with_a_fresh_prompt_each_turn():
    tokenizer = tiny_tokenizer(STRIPS_THINKING)

    class Fresh:
        fresh_rows = True

    renderer = renderer_for(tokenizer, Fresh())
    assert not renderer.incremental and "strips" in renderer.problem
    assert renderer.stop_ids == (2,)
    messages = conversation("a", "<think>x</think>go", "b")
    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(renderer.prompt(messages)) == text
    with pytest.raises(TokenizationError, match="strips"):
        renderer.continuation([Message("user", "b")])
    with pytest.raises(TokenizationError):
        renderer_for(tokenizer, object())


def test_a_fresh_prompt_each_turn_needs_no_terminator_from_the_template():
    no_end = STRIPS_THINKING.replace("+ '<|im_end|>\n' ", "")
    renderer = ChatRenderer(tiny_tokenizer(no_end), per_turn=True)
    assert renderer.terminator == renderer.tokenizer.eos_token_id
    with pytest.raises(TokenizationError, match="strips"):
        ChatRenderer(tiny_tokenizer(no_end))


def test_a_template_must_end_responses_with_a_special_token():
    with pytest.raises(TokenizationError, match="special token"):
        ChatRenderer(tiny_tokenizer(PLAIN_END))


def test_a_tokenizer_must_have_a_template():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TokenizationError, match="no chat template"):
        ChatRenderer(tokenizer)


def test_a_rejected_role_is_explained():
    renderer = ChatRenderer(tiny_tokenizer(NO_SYSTEM))
    with pytest.raises(TokenizationError, match="no system here"):
        renderer.prompt(conversation("a", system="Be brief."))


@pytest.mark.parametrize("turns", [("a", "go"), ()])
def test_a_prompt_ends_where_a_response_begins(turns):
    with pytest.raises(TokenizationError, match="nothing"):
        ChatRenderer(tiny_tokenizer()).prompt(conversation(*turns))


def test_the_fingerprint_follows_template_and_options():
    prints = {
        ChatRenderer(tiny_tokenizer()).fingerprint,
        ChatRenderer(tiny_tokenizer(TRIMS)).fingerprint,
        ChatRenderer(tiny_tokenizer(), template_options={"enable_thinking": False}).fingerprint,
    }
    assert len(prints) == 3
