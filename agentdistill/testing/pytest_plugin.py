"""Fixtures of the conformance kits, in every pytest session (entry point `pytest11`). Loads nothing before its use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def check_environment() -> Callable[..., Any]:
    """`check_environment("my-game", split="train", options={...})`: see `agentdistill.testing.assert_environment`."""
    from agentdistill.testing.assertions import assert_environment

    return assert_environment


@pytest.fixture
def check_plugin() -> Callable[..., None]:
    """`check_plugin("my_module")`: see `agentdistill.testing.assert_plugin`."""
    from agentdistill.testing.assertions import assert_plugin

    return assert_plugin
