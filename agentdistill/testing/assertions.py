"""The conformance kits as assertions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentdistill.envs.base import EnvironmentSource
from agentdistill.envs.check import CheckResult, check_environment
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.check import check_plugins

Source = EnvironmentSource | Callable[[], EnvironmentSource] | str
"""An environment: its source, what makes one, or what `[env]` would name as its type."""


def source_of(
    environment: Source, options: Mapping[str, Any] | None = None, plugins: Sequence[str] = ()
) -> EnvironmentSource:
    """Finds or makes an environment's source.

    Args:
        environment: a source, a function that makes one, a registered name, "module:Id-v0" or "module:Class".
        options: keys of `[env]`, for an environment that is named.
        plugins: modules to load as plugins, as with `-p`.

    Raises:
        AgentDistillError: there is no such environment, or an option is wrong.
    """
    if isinstance(environment, str):
        registry = PluginRegistry.load(plugins)
        registry.require_healthy(plugins)
        found: EnvironmentSource = registry.build("environment", {"type": environment, **(options or {})}, "env")
        return found
    return environment() if _makes_source(environment) else environment  # type: ignore[operator, return-value]


def _makes_source(environment: Any) -> bool:
    return isinstance(environment, type) or (callable(environment) and not hasattr(environment, "tasks"))


def assert_environment(
    environment: Source,
    split: str = "train",
    *,
    options: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    **settings: Any,
) -> list[CheckResult]:
    """Asserts that an environment keeps every rule of `agentdistill.testing.RULES`.

    Args:
        environment: see `source_of`.
        split: split of its tasks.
        options: keys of `[env]`.
        plugins: modules to load as plugins.
        **settings: see `agentdistill.envs.check.check_environment`.

    Returns:
        The results, all passed.

    Raises:
        AssertionError: a rule does not hold; each that does not is named with what was seen.
    """
    results = check_environment(source_of(environment, options, plugins), split, **settings)
    broken = [result for result in results if not result.passed]
    if broken:
        raise AssertionError("\n".join(explain(result) for result in broken))
    return results


def explain(result: CheckResult) -> str:
    """A broken rule in two lines: what was seen, and the rule."""
    return f"{result.name}: {result.detail}\n    rule: {result.rule}"


def assert_plugin(module: str, *, warnings: bool = True) -> None:
    """Asserts that a plugin and everything it registers keep their contracts (`agentdistill plugins check`).

    Args:
        module: its module, entry-point name or `.py` file.
        warnings: whether a warning fails too.

    Raises:
        AssertionError: with the findings.
    """
    levels = ("error", "warning") if warnings else ("error",)
    findings = [found for found in check_plugins(PluginRegistry.load(), [module]) if found.level in levels]
    if findings:
        raise AssertionError("\n".join(f"{found.level}: {found.subject}: {found.message}" for found in findings))
