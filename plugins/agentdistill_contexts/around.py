"""What context policies that add something to another policy's prompts have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.conversation.base import ContextPolicy, ParsedAction
from agentdistill.plugins import PluginRegistry


class AroundContext:
    """Another policy inside: it decides on rows, formats and what must be recorded.

    Args:
        context: the policy inside, a table with its `type`.
        registry: where it is looked up.

    Raises:
        ConfigError: it is missing or wrong.

    Attributes:
        inner: the policy inside.
    """

    def __init__(self, context: Mapping[str, Any], registry: PluginRegistry) -> None:
        self.inner: ContextPolicy = registry.build("context", context, "env.context.context", registry=registry)

    @property
    def fresh_rows(self) -> bool:
        """As the policy inside: whether a prompt never grows out of the one before."""
        return bool(getattr(self.inner, "fresh_rows", False))

    @property
    def needs(self) -> frozenset[str]:
        """What the policy inside must know of a step."""
        return getattr(self.inner, "needs", frozenset())

    def parse(self, response: str) -> ParsedAction:
        """As the policy inside."""
        return self.inner.parse(response)

    def render_action(self, action: str) -> str:
        """As the policy inside."""
        return self.inner.render_action(action)
