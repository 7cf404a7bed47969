"""Filters of whole episodes: staleness, outcomes, balance."""

from __future__ import annotations

import pytest
from made_rewarded import episode, scored
from pydantic import ValidationError

from agentdistill.errors import TrainingError
from agentdistill.records import StopReason
from agentdistill_filters.balance import BalanceConfig, balance
from agentdistill_filters.outcomes import OutcomesConfig, outcomes
from agentdistill_filters.staleness import StalenessConfig, staleness


def whole(kept) -> list[bool]:
    """Whether each episode is kept; it is never cut in two."""
    assert all(k.all() or not k.any() for k in kept)
    return [bool(k.all()) for k in kept]


def played(**groups: str):
    """Episodes by task: W won, L lost, C cut."""
    return [
        episode([0, float(c == "W")], key=key, stop=StopReason.HORIZON if c == "C" else StopReason.FAILURE)
        for key, letters in groups.items()
        for c in letters
    ]


def test_staleness():
    batch = scored([episode([0], version=v) for v in (5, 4, 3, 2)], step=5)
    assert whole(staleness(batch, StalenessConfig())) == [True, True, True, False]
    assert whole(staleness(batch, StalenessConfig(steps=0))) == [True, False, False, False]
    with pytest.raises(TrainingError, match="step 5, but this is step 4"):
        staleness(scored(batch.trajectories, step=4), StalenessConfig())


def test_outcomes():
    batch = scored(played(won="WWW", lost="LL", mixed="WL", one="W", unknown="LLC"))
    assert whole(outcomes(batch, OutcomesConfig())) == [False] * 3 + [False] * 2 + [True] * 2 + [True] + [True] * 3
    assert whole(outcomes(batch, OutcomesConfig(all_lost=False))) == [False] * 3 + [True] * 8
    assert whole(outcomes(batch, OutcomesConfig(all_won=False))) == [True] * 3 + [False] * 2 + [True] * 6
    assert whole(outcomes(batch, OutcomesConfig(smallest=1)))[7] is False
    with pytest.raises(ValidationError, match="drop nothing"):
        OutcomesConfig(all_won=False, all_lost=False)


def test_balance():
    batch = scored(played(a="WLLL", b="LLWWWL", c="LLL", d="WWC", e="WCLL"))
    a, b, c, d = [True, True, False, False], [True] * 6, [True] * 3, [True] * 3
    assert whole(balance(batch, BalanceConfig())) == a + b + c + d + [True, True, True, False]
    assert whole(balance(batch, BalanceConfig(ratio=1.5)))[:4] == [True, True, True, False]
    batch = scored(played(a="WWWWL"))
    assert whole(balance(batch, BalanceConfig(ratio=2))) == [True, True, False, False, True]
