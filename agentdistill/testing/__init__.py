"""For the tests of plugins: the conformance kits of environments and plugins, as assertions and as pytest tests.

    from agentdistill.testing import environment_contract

    test_contract = environment_contract("my-game", split="train")

is one test for each rule. The fixtures `check_environment` and `check_plugin` are there in every pytest session once
agentdistill is installed (`agentdistill.testing.pytest_plugin`), and so the names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentdistill.envs.check import RULES, CheckResult
    from agentdistill.testing.assertions import Source, assert_environment, assert_plugin, source_of
    from agentdistill.testing.contract import environment_contract

_HOMES = {
    "RULES": "agentdistill.envs.check",
    "CheckResult": "agentdistill.envs.check",
    "Source": "agentdistill.testing.assertions",
    "assert_environment": "agentdistill.testing.assertions",
    "assert_plugin": "agentdistill.testing.assertions",
    "environment_contract": "agentdistill.testing.contract",
    "source_of": "agentdistill.testing.assertions",
}

__all__ = [
    "RULES",
    "CheckResult",
    "Source",
    "assert_environment",
    "assert_plugin",
    "environment_contract",
    "source_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
