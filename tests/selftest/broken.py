"""Parts with a fault each, which the self-test must find."""

from __future__ import annotations

from typing import Any

import torch
from identity.words import WordsEnv, WordsSource

from agentdistill.learner.losses import SampledLoss
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, ScoreRequest
from agentdistill.training.curriculum import CurriculumBase, Progress


class DriftingLoss:
    """Pushes every sampled token down, whatever the teacher says of it."""

    request = ScoreRequest()
    objective = SampledLoss(lambda student, teacher: student - 0.5 * teacher)

    def __init__(self, config: PluginConfig) -> None:
        self.config = config


class HonestDriftingLoss(DriftingLoss):
    """The same, and says so."""

    rests_at_teacher = False


class _ByPass:
    def at(self, tokens: TokenStatistics) -> Any:
        return lambda student, teacher: 0.5 * (student - teacher) ** 2 / len(tokens)


class PassLoss(DriftingLoss):
    """Divides by the tokens it happens to be asked about at once."""

    objective = SampledLoss(_ByPass())


class ForgetfulCurriculum(CurriculumBase):
    """Deepens with what it has seen, and saves nothing of it."""

    def __init__(self, config: PluginConfig) -> None:
        self.depth = 1

    def plan(self, task: Any, progress: Progress) -> EpisodePlan:
        return EpisodePlan(horizon=self.depth)

    def observe(self, metrics: Any) -> None:
        self.depth += 1


class DiceEnv(WordsEnv):
    """Shows what no seed decides."""

    rolls = 0

    def reset(self, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        DiceEnv.rolls += 1
        observation, info = super().reset(**kwargs)
        return f"{observation} ({DiceEnv.rolls})", info


class DiceSource(WordsSource):
    def make(self) -> WordsEnv:
        return DiceEnv()


def zero(tokens: TokenStatistics, config: PluginConfig) -> torch.Tensor:
    """A token weight of 0."""
    return torch.zeros(len(tokens))
