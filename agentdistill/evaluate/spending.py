"""What an agent spent: model calls, tokens and US dollars, by who was called.

An engine that keeps account puts `usage(...)` into the extras of a turn (`agentdistill.engines.base.Generation.info`);
an evaluation adds the turns up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agentdistill.records import Step

USAGE = "usage"
"""Key of `Step.info` under which a turn's account stands."""


@dataclass(frozen=True, slots=True)
class Spent:
    """An account.

    Attributes:
        calls: responses that were asked for.
        prompt_tokens: tokens read, the whole prompt for every call.
        sampled_tokens: tokens written.
        usd: US dollars by the prices that were given; None when a price or a count is unknown.
    """

    calls: int = 0
    prompt_tokens: int = 0
    sampled_tokens: int = 0
    usd: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        known = self.usd is not None and other.usd is not None
        return Spent(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.sampled_tokens + other.sampled_tokens,
            math.fsum((self.usd, other.usd)) if known else None,  # type: ignore[arg-type]
        )

    @classmethod
    def priced(
        cls, calls: int, prompt_tokens: int, sampled_tokens: int, price_in: float | None, price_out: float | None
    ) -> Spent:
        """An account under prices in US dollars per million tokens; without both of them its dollars are unknown."""
        known = price_in is not None and price_out is not None
        usd = (prompt_tokens * price_in + sampled_tokens * price_out) / 1e6 if known else None  # type: ignore[operator]
        return cls(calls, prompt_tokens, sampled_tokens, usd)


def usage(**spent: Spent) -> dict[str, dict[str, dict[str, Any]]]:
    """Extras for a turn: who was called, and what it cost; {"usage": {"student": {...}, "teacher": {...}}}."""
    return {USAGE: {who: asdict(account) for who, account in spent.items() if account.calls}}


def total(accounts: Iterable[Mapping[str, Spent]]) -> dict[str, Spent]:
    """Adds accounts up, by who was called, in the order in which they first appear."""
    found: dict[str, Spent] = {}
    for account in accounts:
        for who, spent in account.items():
            found[who] = found.get(who, Spent()) + spent
    return found


def spent_in(steps: Iterable[Step]) -> dict[str, Spent]:
    """What the turns of an episode say they cost; empty when no engine kept account."""
    return total({who: Spent(**account) for who, account in step.info.get(USAGE, {}).items()} for step in steps)


def dollars(account: Mapping[str, Spent]) -> float | None:
    """US dollars of everybody together; None when something of it is unknown."""
    known = [spent.usd for spent in account.values()]
    return None if not known or None in known else math.fsum(known)  # type: ignore[arg-type]


def spending_lines(account: Mapping[str, Spent], episodes: int, turns: int, teacher_turns: int) -> list[str]:
    """An account in words.

    Args:
        account: of all episodes.
        episodes: how many those are.
        turns: turns played in them.
        teacher_turns: turns of these that somebody else than the student wrote.
    """
    if not account or not episodes:
        return []
    parts = [
        f"{who} {spent.calls:,} calls, {spent.prompt_tokens:,} tokens read, {spent.sampled_tokens:,} written"
        for who, spent in account.items()
    ]
    usd = dollars(account)
    cost = "cost unknown (prices are not set)" if usd is None else f"{usd:.6f} USD, {usd / episodes:.6f} an episode"
    lines = [f"spent: {' · '.join(parts)} · {cost}"]
    if teacher_turns:
        lines.append(f"NOT the student alone: the teacher wrote {teacher_turns:,} of {turns:,} turns")
    return lines
