"""Errors a user can act on: what happened, why, and what to do, in one paragraph."""

from __future__ import annotations

import importlib
from types import ModuleType


class AgentDistillError(Exception):
    """A failure with a cause and a remedy.

    Args:
        what: what happened, a full sentence.
        why: the cause, a full sentence; empty when `what` already says it.
        do: what the user can do about it, a full sentence.
    """

    exit_code = 2

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(" ".join(part.strip() for part in (what, why, do) if part))


class ConfigError(AgentDistillError):
    """A configuration value, key or layer is wrong."""


class PluginError(AgentDistillError):
    """A plugin is missing, broken, ambiguous or asked for something it cannot do."""


class DataError(AgentDistillError):
    """Data on disk is missing, partial or corrupt."""


class MissingExtraError(AgentDistillError):
    """An optional dependency is not installed."""


class TokenizationError(AgentDistillError):
    """Tokenizers differ, or a chat template cannot be rendered incrementally."""


class EnvironmentFailure(AgentDistillError):
    """An environment misbehaved: it died, timed out, or a replay diverged from its record."""


class TrainingError(AgentDistillError):
    """Training cannot go on: a non-finite loss, a failed self-check, an empty batch."""


class CheckpointError(AgentDistillError):
    """A checkpoint is missing, damaged or belongs to another configuration."""


class Interruption(AgentDistillError):
    """Somebody the run depends on cannot answer now; nothing is wrong with the run itself.

    The training loop writes a checkpoint of the last finished step before it passes such an error on, so that
    `--resume` goes on from there as if nothing had happened.
    """


class TeacherOutage(Interruption):
    """A teacher cannot be reached or does not answer."""


class BudgetSpent(Interruption):
    """What may be spent on a paid service is spent."""


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports an optional dependency or says which extra brings it.

    Args:
        module: dotted module name.
        extra: name of the extra in `pyproject.toml` that installs it.
        purpose: what needs it, e.g. "the games' engine".

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the module's distribution is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package `{root}`, which is not installed.",
            f"It comes with the optional extra `{extra}`.",
            f"Install it with: pip install 'agentdistill[{extra}]'",
        ) from error
