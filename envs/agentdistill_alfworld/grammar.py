"""TextWorld's context-sensitive grammar, parsed once instead of at every step.

TextWorld parses the template of every admissible command anew at every step and deep-copies the context of every
symbol; that is four fifths of its time. The rules here are TextWorld's own, parsed by its own parser; only their
expansion is done without repeating that work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from textworld.envs.pddl import logic as pddl_logic
from textworld.envs.pddl import textgen
from textworld.logic import Rule

from agentdistill_alfworld.dialect import with_goal_blank
from agentdistill_alfworld.translation import PARSER_LOCK

Context = Mapping[str, Any]
"""TextWorld's context of an expansion: "state", "facts", "variables", "mapping", "entity_infos"."""


@lru_cache(maxsize=4096)
def _symbols(text: str) -> tuple[Any, ...]:
    """Parses the right-hand side of a rule. The symbols are shared: nothing may write to them."""
    with PARSER_LOCK:
        return tuple(textgen._parse_and_convert(text, rule_name="symbols"))


@lru_cache(maxsize=4096)
def _query(expression: str) -> Rule:
    with PARSER_LOCK:
        return Rule.parse_conjunctive_query(expression)


@lru_cache(maxsize=4096)
def _code(expression: str) -> CodeType:
    return compile(expression.strip(), "<grammar>", "eval")


@lru_cache(maxsize=8)
def _parse(grammar: str) -> tuple[dict[str, Any], Any]:
    with PARSER_LOCK:
        return pddl_logic._parse_and_convert(grammar, rule_name="pddlStart")


def game_logic(domain: str, grammar: str) -> pddl_logic.GameLogic:
    """TextWorld's logic of a game, with the rules parsed once per dialect and process.

    Args:
        domain: PDDL domain.
        grammar: grammar of the game, its goal inside.

    Returns:
        A `GameLogic` whose grammar is a `CachedGrammar`.
    """
    blank, goal = with_goal_blank(grammar)
    actions, rules = _parse(blank)
    logic = pddl_logic.GameLogic.__new__(pddl_logic.GameLogic)
    logic.domain = domain
    logic.actions = dict(actions)
    logic.types = pddl_logic.textworld.logic.TypeHierarchy()
    logic.grammar = CachedGrammar()
    logic.grammar.update(rules)
    logic.grammar._rules["task"] = [textgen.ProductionRule("task", _symbols(goal))]
    return logic


class CachedGrammar(textgen.ContextSensitiveGrammar):
    """Expands the same rules to the same text as its base class, without parsing and copying."""

    def derive(self, start: str, context: Context | None = None) -> str:
        """Expands a template.

        Args:
            start: text with symbols in it, e.g. "#look.feedback#".
            context: TextWorld's context.

        Returns:
            The text.
        """
        return "".join(self._expand_all(_symbols(start), context or {}))

    def _expand_all(self, symbols: tuple[Any, ...], context: Context) -> Iterator[str]:
        for symbol in symbols:
            yield from self._expand(symbol, context)

    def _expand(self, symbol: Any, context: Context) -> Iterator[str]:
        if isinstance(symbol, textgen.TerminalSymbol):
            yield str(symbol.symbol)
        elif isinstance(symbol, textgen.NonterminalSymbol):
            yield from self._expand_all(self._applicable(symbol, context), context)
        elif isinstance(symbol, textgen.EvalSymbol):
            # The expressions come from the game file, as in TextWorld itself.
            yield str(eval(_code(symbol.expression), {}, dict(context["variables"])))
        elif isinstance(symbol, textgen.ConditionalSymbol):
            for match in self._matches(symbol, context):
                yield from self._expand(symbol.expression, match)
        elif isinstance(symbol, textgen.ListSymbol):
            yield from self._list(symbol, context)
        else:
            raise TypeError(f"unknown grammar symbol {symbol!r}")

    def _applicable(self, symbol: Any, context: Context) -> tuple[Any, ...]:
        """The right-hand side of the first rule whose condition holds."""
        rules = self._rules.get(str(symbol))
        if not rules:
            raise textgen.CSGUnknownSymbolError(symbol)
        for rule in rules:
            if not rule.condition or _holds(rule.condition, context):
                return tuple(rule.rhs)
        raise IndexError(f"no rule of #{symbol}# applies")

    def _matches(self, symbol: Any, context: Context) -> Iterator[Context]:
        if not symbol.given:
            yield context
            return
        names = context["entity_infos"]
        for mapping in context["state"].all_assignments(_query(symbol.given), context["mapping"]):
            variables = {**context["variables"], **{ph.name: names[var.name] for ph, var in mapping.items()}}
            yield {**context, "variables": variables, "mapping": {**context["mapping"], **mapping}}

    def _list(self, symbol: Any, context: Context) -> Iterator[str]:
        inner = symbol.symbol
        if isinstance(inner, textgen.ConditionalSymbol):
            items = ["".join(self._expand(inner.expression, match)) for match in self._matches(inner, context)]
        else:
            items = ["".join(self._expand(inner, context))]
        if not items:
            yield self.derive("#list_empty#", context)
        elif len(items) == 1:
            yield items[0]
        else:
            yield self.derive("#list_separator#", context).join(items[:-1])
            yield self.derive("#list_last_separator#", context) + items[-1]


def _holds(condition: str, context: Context) -> bool:
    return any(True for _ in context["state"].all_assignments(_query(condition), context["mapping"]))
