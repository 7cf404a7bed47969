"""The methods of a run that look at statistics: built from their sections, and what they need together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentdistill.config.schema import RunConfig
from agentdistill.errors import ConfigError
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import ScoreRequest, Trajectory
from agentdistill.training.judges import Filter
from agentdistill.training.rewarded import Array, RewardTerm

if TYPE_CHECKING:
    from agentdistill.learner.fusion import Fusion
    from agentdistill.learner.losses import Loss, ScheduledLoss
    from agentdistill.learner.surrogates import Surrogate

OVERLAP = 16
"""Most likely tokens that are compared where an overlap of student and teacher is asked for (arXiv 2605.07804)."""


@dataclass
class Methods:
    """Loss, weights, rewards, advantage, fusion, surrogate and filters, each made when it is first asked for.

    Attributes:
        config: the validated recipe.
        registry: the loaded plugins.
    """

    config: RunConfig
    registry: PluginRegistry

    @cached_property
    def loss(self) -> Loss | ScheduledLoss | None:
        """What the learner minimises; None without a distillation loss."""
        section = self.config.loss
        loss: Loss | ScheduledLoss | None = None if section is None else self.registry.build("loss", section, "loss")
        return loss

    @cached_property
    def step_weights(self) -> list[Callable[..., Any]]:
        """The step weights, to be multiplied."""
        return self._functions("step-weight", "step_weight", self.config.step_weight)

    @cached_property
    def token_weights(self) -> list[Callable[..., Any]]:
        """The token weights, to be multiplied."""
        return self._functions("token-weight", "token_weight", self.config.token_weight)

    @cached_property
    def fusion(self) -> Fusion | None:
        """How the two branches are joined."""
        section = self.config.fusion
        fusion: Fusion | None = None if section is None else self.registry.build("fusion", section, "fusion")
        if fusion is not None and self.config.advantage is None:
            raise ConfigError(
                f"The fusion `{self.config.fusion.type if self.config.fusion else ''}` has nothing to join.",
                "It says how much the teacher and how much the rewards count, and there is no [advantage].",
                "Add [reward] and [advantage] (`agentdistill plugins list --kind advantage`), or leave [fusion] out.",
            )
        return fusion

    @cached_property
    def surrogate(self) -> Surrogate | None:
        """What advantages become."""
        section = self.config.surrogate
        surrogate: Surrogate | None = (
            None if section is None else self.registry.build("surrogate", section, "surrogate")
        )
        if section is not None and self.config.advantage is None and not self._teacher_gives_advantages:
            raise ConfigError(
                f"The surrogate `{section.type}` has no advantage to shape.",
                "There is no [advantage], and the loss is differentiated as it is.",
                "Use a loss that is a policy gradient, add [reward] and [advantage], or leave [surrogate] out.",
            )
        return surrogate

    @property
    def _teacher_gives_advantages(self) -> bool:
        """Whether the distillation loss is a policy gradient."""
        from agentdistill.learner.losses import PolicyGradient, objective_at
        from agentdistill.learner.progress import LearnerProgress

        loss = self.loss
        return loss is not None and isinstance(objective_at(loss, LearnerProgress(0, 1)), PolicyGradient)

    @cached_property
    def advantage(self) -> Callable[..., Any] | None:
        """How rewards become advantages."""
        section = self.config.advantage
        if section is None:
            return None
        if not self.config.reward:
            raise ConfigError(
                f"The advantage `{section.type}` has no rewards to compare.",
                "There is no [reward].",
                "Add one (see `agentdistill plugins list --kind reward`).",
            )
        return self.registry.function("advantage", section, "advantage")

    @cached_property
    def filters(self) -> dict[str, Filter]:
        """Which turns may be trained, by name."""
        made = self._functions("filter", "filter", self.config.filter)
        return dict(zip(_names([section.type for section in self.config.filter]), made, strict=True))

    @cached_property
    def rewards(self) -> list[RewardTerm]:
        """The terms of the reward."""
        sections = self.config.reward
        names = _names([section.type for section in sections])
        return [
            RewardTerm(name, section.weight, *self._score(section, _path("reward", number, len(sections))))
            for number, (name, section) in enumerate(zip(names, sections, strict=True))
        ]

    def _score(self, section: Any, path: str) -> tuple[Callable[[Sequence[Trajectory]], Sequence[Array]], Any]:
        """What scores, and the object behind it."""
        if inspect.isclass(self.registry.get("reward", section.type).load()):
            judge = self.registry.build("reward", section, path)
            return judge.score, judge
        one = self.registry.function("reward", section, path)
        return lambda trajectories: [one(trajectory) for trajectory in trajectories], None

    def _functions(self, kind: str, name: str, sections: Sequence[Any]) -> list[Callable[..., Any]]:
        return [
            self.registry.function(kind, section, _path(name, number, len(sections)))
            for number, section in enumerate(sections)
        ]

    @cached_property
    def needs(self) -> frozenset[str]:
        """Statistics that the methods ask for, checked against what the recipe can provide.

        Raises:
            ConfigError: rewards or annotations are asked for that nobody gives.
        """
        from agentdistill.learner.statistics import STATISTICS

        asked: dict[str, str] = {}
        users = [
            *(("step weight", f, s.type) for f, s in zip(self.step_weights, self.config.step_weight, strict=True)),
            *(("token weight", f, s.type) for f, s in zip(self.token_weights, self.config.token_weight, strict=True)),
            *(("filter", f, name) for name, f in self.filters.items()),
            ("advantage", self.advantage, self.config.advantage.type if self.config.advantage else ""),
            ("fusion", self.fusion, self.config.fusion.type if self.config.fusion else ""),
            ("surrogate", self.surrogate, self.config.surrogate.type if self.config.surrogate else ""),
            ("loss", self.loss, self.config.loss.type if self.config.loss else ""),
        ]
        for kind, part, name in users:
            for need in getattr(part, "needs", ()):
                asked.setdefault(need, f"The {kind} `{name}`")
            _check_reduction(part, f"The {kind} `{name}`", self.config.optim.reduction)
        given = {
            "reward": bool(self.config.reward),
            "advantage": self.config.advantage is not None,
            "groups": self.config.rollout.samples_per_task > 1,
            "scores": self.config.loss is not None,
            **{f"annotation:{name}": True for name in self._annotations()},
        }
        for need, who in asked.items():
            if need.startswith("annotation:") and not given.get(need):
                raise ConfigError(
                    f"{who} needs the annotation `{need.removeprefix('annotation:')}`, and no reward writes it.",
                    "Annotations come from rewards that judge single turns.",
                    "Add such a [[reward]] (see `agentdistill plugins list --kind reward`), or choose another method.",
                )
            if need == "groups" and not given[need]:
                raise ConfigError(
                    f"{who} compares the episodes of a task, and there is one of each.",
                    "rollout.samples_per_task is 1: a group of one says nothing.",
                    "Set rollout.samples_per_task to 2 or more, e.g. 8 with fewer rollout.tasks_per_step.",
                )
            if need == "scores" and not given[need]:
                raise ConfigError(
                    f"{who} looks at the teacher's scores, and the recipe has no [loss].",
                    "Without a loss no teacher is asked.",
                    "Add one (see `agentdistill plugins list --kind loss`), or choose other options or another method.",
                )
            if need in ("reward", "advantage") and not given[need]:
                raise ConfigError(
                    f"{who} needs rewards, and the recipe has no [{need}].",
                    "It looks at what an episode is worth.",
                    f"Add it (see `agentdistill plugins list --kind {need}`), or choose another method.",
                )
            if need not in STATISTICS and need != "scores" and not need.startswith("annotation:"):
                raise ConfigError(
                    f"{who} needs `{need}`, which is no statistic of the learner.", "", "Mend the plugin."
                )
        return frozenset(asked) - {"scores"}

    def check(self) -> None:
        """Makes the methods and compares what they need, before anything is loaded.

        Raises:
            ConfigError: they do not fit together.
        """
        _ = self.needs

    def _annotations(self) -> frozenset[str]:
        targets = [self.registry.get("reward", section.type).load() for section in self.config.reward]
        return frozenset(name for target in targets for name in getattr(target, "annotates", ()))


def _check_reduction(part: Any, who: str, reduction: str) -> None:
    """A weight that evens out lengths itself says under which `reductions` it does so."""
    known: tuple[str, ...] | None = getattr(part, "reductions", None)
    if known is not None and reduction not in known:
        raise ConfigError(
            f'{who} cannot be used with optim.reduction = "{reduction}".',
            "Both even out lengths, which would be corrected twice.",
            f"Set optim.reduction to {' or '.join(known)}, or leave that weight out.",
        )


def widened(request: ScoreRequest, needs: frozenset[str]) -> ScoreRequest:
    """What a loss asks of the teacher, and what the statistics want besides."""
    return ScoreRequest(
        sampled=request.sampled,
        top_k=max(request.top_k, OVERLAP if "overlap" in needs else 0),
        hidden=request.hidden,
        entropy=request.entropy or "teacher_entropy" in needs,
        confidence=request.confidence or "teacher_confidence" in needs,
    )


def _path(name: str, number: int, count: int) -> str:
    return name if count == 1 else f"{name}.{number}"


def _names(types: Sequence[str]) -> list[str]:
    """Names for metrics: the types (of "package.module:name" the name), with a number where one comes again."""
    types = [kind.rpartition(":")[2] for kind in types]
    return [
        kind if types[:i].count(kind) == 0 else f"{kind}-{types[:i].count(kind) + 1}" for i, kind in enumerate(types)
    ]
