"""Response formats that both policies share: bare command, tagged action, thought then tagged action."""

from __future__ import annotations

import re

from agentdistill.conversation.base import ParsedAction

PARSER_VERSION = 1
"""Part of every prompt hash: raise it when parsing changes."""

_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_ONLY_ACTION = re.compile(r"\s*<action>((?:(?!</?action>).)*)</action>\s*", re.DOTALL)
_THINK_THEN_ACTION = re.compile(
    r"\s*<think>(?:(?!</?think>|</?action>).)*</think>\s*<action>((?:(?!</?(?:think|action)>).)*)</action>\s*",
    re.DOTALL,
)


def parse_bare(response: str) -> ParsedAction:
    """The whole response is the command: one line, not empty."""
    action = response.strip()
    one_line = bool(action) and "\n" not in action
    return ParsedAction(action if one_line else " ".join(action.split()), one_line)


def parse_tagged(response: str, think: bool) -> ParsedAction:
    """Exactly `<action>...</action>`, after exactly one `<think>...</think>` when `think`.

    Anything else is malformed; its last tagged command, if there is one, is still what the agent gets to do.
    """
    whole = (_THINK_THEN_ACTION if think else _ONLY_ACTION).fullmatch(response)
    if whole is not None:
        action = whole[1].strip()
        return ParsedAction(action, bool(action) and "\n" not in action)
    found = _ACTION.findall(response)
    return ParsedAction(" ".join(found[-1].split()) if found else "", False)


def render_tagged(action: str, think: bool) -> str:
    """The response that takes an action; its thought is empty, for there is nobody whose thought it would be."""
    return f"<think>\n\n</think>\n<action>{action}</action>" if think else f"<action>{action}</action>"


def bullet_list(commands: list[str]) -> str:
    """Commands one a line."""
    return "\n".join(f"- {command}" for command in commands)
