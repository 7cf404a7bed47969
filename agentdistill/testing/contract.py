"""A test for each rule of an environment, in one line of a test module."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentdistill.envs.check import RULES, check_environment
from agentdistill.errors import import_extra
from agentdistill.testing.assertions import Source, explain, source_of


def environment_contract(
    environment: Source,
    *,
    split: str = "train",
    options: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    **settings: Any,
) -> Callable[[str], None]:
    """Makes a parametrised pytest test: one case for each rule.

    Args:
        environment: see `agentdistill.testing.source_of`; it is made when the first case runs.
        split: split of its tasks.
        options: keys of `[env]`, for an environment that is named.
        plugins: modules to load as plugins.
        **settings: see `agentdistill.envs.check.check_environment`, e.g. `episodes=1`.

    Returns:
        The test function: assign it to a name that begins with `test_`.

    Raises:
        MissingExtraError: pytest is not installed.
    """
    pytest = import_extra("pytest", "test", "Testing an environment")
    source = functools.cache(lambda: source_of(environment, options, plugins))

    @pytest.mark.parametrize("rule", list(RULES))
    def test_environment_contract(rule: str) -> None:
        for result in check_environment(source(), split, only=[rule], **settings):
            assert result.passed, explain(result)

    return test_environment_contract
