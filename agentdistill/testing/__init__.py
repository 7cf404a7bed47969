"""For the tests of plugins: the conformance kits of environments and plugins, as assertions and as pytest tests.

    from agentdistill.testing import environment_contract

    test_contract = environment_contract("my-game", split="train")

is one test for each rule. The fixtures `check_environment` and `check_plugin` are there in every pytest session once
agentdistill is installed (`agentdistill.testing.pytest_plugin`).
"""

from __future__ import annotations

from agentdistill.envs.check import RULES, CheckResult
from agentdistill.envs.check import check_environment as examine
from agentdistill.testing.assertions import Source, assert_environment, assert_plugin, source_of
from agentdistill.testing.contract import environment_contract

__all__ = [
    "RULES",
    "CheckResult",
    "Source",
    "assert_environment",
    "assert_plugin",
    "environment_contract",
    "examine",
    "source_of",
]
