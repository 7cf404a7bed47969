"""How an agent writes tool calls and answers, and how results come back to it.

Two formats. In `hermes` a turn is free text with `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks, as
Qwen's chat template asks for them, or with `<answer>...</answer>` at its end. In `json` a turn is one JSON object (or a
list of calls), bare or in a fence: `{"name": ..., "arguments": {...}}` or `{"answer": ...}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentdistill_tools.config import Format

VERSION = 1
"""Part of prompt hashes and provenance: raise it when wording or parsing changes."""

QUESTION = "\n\nQuestion:\n"
"""Stands between the instructions and the question in the first observation."""

_HERMES = """You answer a question, with the help of tools where they are of use.

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>

When you know the answer, write it, and nothing else, between <answer> and </answer>. You can answer once."""

_JSON = """You answer a question, with the help of tools where they are of use. Every message of yours is one JSON \
object and nothing else.

The tools, as JSON schemas:
{tools}

To call one: {{"name": <function-name>, "arguments": <args-json-object>}}
To answer, when you know the answer: {{"answer": <the answer, as text>}}. You can answer once."""

_HOW = {
    "hermes": 'Write <tool_call>{"name": ..., "arguments": {...}}</tool_call> to call a tool, or <answer>...</answer> '
    "to answer.",
    "json": 'Write {"name": ..., "arguments": {...}} to call a tool, or {"answer": ...} to answer.',
}


class _Malformed(Exception):
    """A turn that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the agent wrote it.

    Attributes:
        name: the tool, which may not exist.
        arguments: its arguments, not yet validated.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was read.

    Attributes:
        calls: tool calls, in order.
        answer: the final answer, or None.
        problem: why the turn could not be read, "" when it could; then it has neither calls nor an answer.
    """

    calls: Sequence[Call] = field(default=())
    answer: str | None = None
    problem: str = ""


def instructions(format: Format, schemas: Sequence[Mapping[str, Any]]) -> str:
    """What the agent is told before the question.

    Args:
        format: the format.
        schemas: the tools, as `Tool.schema`.
    """
    lines = "\n".join(json.dumps(schema, ensure_ascii=False) for schema in schemas)
    return (_HERMES if format == "hermes" else _JSON).format(tools=lines)


def read_turn(action: str, format: Format) -> Turn:
    """Reads what the agent wrote. Takes time linear in its length."""
    try:
        return _read_hermes(action) if format == "hermes" else _read_json(action)
    except _Malformed as problem:
        return Turn(problem=f"{problem} {_HOW[format]}")


def write_call(name: str, arguments: Mapping[str, Any], format: Format) -> str:
    """A tool call, on one line."""
    text = json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)
    return f"<tool_call>{text}</tool_call>" if format == "hermes" else text


def write_answer(answer: str, format: Format) -> str:
    """A final answer, on one line when it is one itself."""
    return f"<answer>{answer}</answer>" if format == "hermes" else json.dumps({"answer": answer}, ensure_ascii=False)


def write_results(results: Sequence[tuple[str, str, bool]], format: Format) -> str:
    """The observation after a turn with calls.

    Args:
        results: (tool, text, whether it is an error) for each call.
        format: the format.
    """
    if format == "hermes":
        return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for _, text, _ in results)
    return "\n".join(
        json.dumps({"name": name, "error" if failed else "result": text}, ensure_ascii=False)
        for name, text, failed in results
    )


def write_problem(problem: str, format: Format) -> str:
    """The observation after a turn that could not be read."""
    return f"Error: {problem}" if format == "hermes" else json.dumps({"error": problem}, ensure_ascii=False)


def _read_hermes(action: str) -> Turn:
    blocks = _between(action, "<tool_call>", "</tool_call>")
    answers = _between(action, "<answer>", "</answer>")
    if blocks and answers:
        raise _Malformed("A turn either calls tools or answers, not both.")
    if answers:
        return Turn(answer=answers[-1].strip())
    if not blocks:
        raise _Malformed("There is no tool call and no answer.")
    return Turn([_call(_loads(block)) for block in blocks])


def _read_json(action: str) -> Turn:
    text = action.strip()
    if text.startswith("```"):
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    value = _loads(text)
    if isinstance(value, dict) and "answer" in value:
        if len(value) != 1:
            raise _Malformed("An object with an answer has nothing else in it.")
        answer = value["answer"]
        return Turn(answer=answer.strip() if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise _Malformed("The list of tool calls is empty.")
    return Turn([_call(call) for call in calls])


def _between(text: str, opening: str, closing: str) -> list[str]:
    """What stands between tags, by plain search: a pattern would be quadratic in the number of unclosed tags.

    Raises:
        _Malformed: the last opening tag is not closed.
    """
    found, place = [], text.find(opening)
    while place >= 0:
        start = place + len(opening)
        end = text.find(closing, start)
        if end < 0:
            raise _Malformed(f"A {opening} is not closed.")
        found.append(text[start:end])
        place = text.find(opening, end)
    return found


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise _Malformed(f"This is not JSON: {str(error)[:200]}.") from error


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _call(value: Any) -> Call:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _Malformed('A tool call is an object with a "name".')
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):  # some models write them as JSON in a string, as OpenAI's API does
        arguments = _loads(arguments)
    if not isinstance(arguments, dict):
        raise _Malformed('The "arguments" of a tool call are an object.')
    return Call(value["name"], arguments)
