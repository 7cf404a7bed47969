"""Several teachers, one for each turn: rules choose by task, environment, turn, and what the environment knows.

    pi_T(. | turn k) = pi_j(. | turn k)    with j the teacher of the first rule that turn k matches

A rule names a teacher and conditions, all of which must hold: `env`, `split`, `task_type` (one of several each), turns
from `first_turn` to `last_turn`, `expert` (the environment's expert knows what to do there) and `admissible` (the
command is one the environment accepts). A turn that no rule matches goes to `default`; without one the run stops and
names it. Domain-routed teachers are MOPD's (arXiv 2606.30406); "the expert while it applies, a model otherwise" is

    default = "model"
    fill = "model"
    rules = [{ teacher = "expert", expert = true }]

where `fill` speaks about the tokens on which the chosen teacher has no opinion, such as those of an expert after the
student's first deviation from its words. Without `fill` these are left out and counted (`tokens/dead`).

A member is asked for whole episodes, and for those alone whose task has a turn that is routed to it; all samples of a
task go together. Whatever all scoring members can give, the route gives: sampled log-probabilities and top k as the
member says them, and for losses over the full vocabulary the hidden states side by side, member j in its own columns of
[D_1 + ... + D_J] under the output layers side by side: exact, also where members share nothing but the vocabulary.

Defaults: no rule, no default. Logged: `teacher/turns/NAME`, turns of the student by teacher; `teacher/share/NAME` and
`teacher/gradient/NAME`, shares of trained tokens and of the gradient. Keep the shares within bounds with the filter
`quota`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import model_validator

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import TrainingError
from agentdistill.hashing import digest
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginRegistry
from agentdistill.records import LossRole, ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.base import Teacher
from agentdistill_teachers.joining import join_row
from agentdistill_teachers.members import SeveralConfig, build_members, named
from agentdistill_teachers.rules import Rule, first_match
from agentdistill_teachers.several import Several


class RouteConfig(SeveralConfig):
    """Who speaks when.

    Attributes:
        rules: in order; the first that matches wins.
        default: the member for turns that no rule matches; without one such a turn stops the run.
        fill: the member for tokens on which the chosen one has no opinion; without one they are left out.
    """

    rules: tuple[Rule, ...] = ()
    default: str | None = None
    fill: str | None = None

    def names(self) -> dict[str, str | None]:
        """The members that other options name, by the path of the option."""
        ruled = {f"rules.{number}.teacher": rule.teacher for number, rule in enumerate(self.rules)}
        return super().names() | ruled | {"default": self.default, "fill": self.fill}

    @model_validator(mode="after")
    def _routes_something(self) -> Self:
        if self.default is None and not self.rules:
            raise ValueError("it routes nothing: add rules, or a default")
        return self


class RouteTeacher(Several):
    """Asks for each turn the member that the rules choose."""

    def __init__(self, config: RouteConfig, teachers: Mapping[str, Teacher]) -> None:
        """Takes the members; `route_teacher` builds them.

        Raises:
            ConfigError: a rule, `default` or `fill` names a member that does not score.
        """
        super().__init__(teachers, config.act)
        self.config = config
        for number, rule in enumerate(config.rules):
            named(rule.teacher, self.scorers, f"teacher.rules.{number}.teacher")
        named(config.default, self.scorers, "teacher.default")
        named(config.fill, self.scorers, "teacher.fill")
        self._turns: Counter[str] = Counter()

    @property
    def capabilities(self) -> frozenset[str]:
        """What every scoring member can give."""
        return self.shared_capabilities

    @property
    def needs(self) -> frozenset[str]:
        """What any member needs, and the expert's advice where a rule asks for it."""
        asked = any(rule.expert is not None for rule in self.config.rules)
        return super().needs | ({"expert_action"} if asked else frozenset())

    @property
    def fingerprint(self) -> str:
        """Over the members and the rules."""
        config = self.config
        rules = [rule.model_dump(mode="json") for rule in config.rules]
        return self.fingerprint_of("route", rules, config.default, config.fill)

    def cache_key(self, trajectory: Trajectory) -> str:
        """The routes, which depend on more than tokens, and the members' own keys."""
        return digest([sorted(self._routes(trajectory).items()), super().cache_key(trajectory)])

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Each turn's scores by its teacher.

        Raises:
            TrainingError: a turn matches no rule, and there is no default.
        """
        routes = [self._routes(trajectory) for trajectory in trajectories]
        self._turns.update(name for route in routes for name in route.values())
        answers = {name: self._asked(name, trajectories, routes, request) for name in self.scorers}
        places = {name: self.members.index(name) for name in self.scorers}
        return [
            [
                join_row(trajectory, number, routes[i], {n: a[i][number] for n, a in answers.items() if i in a},
                         places, self.config.fill, request, self._columns() if request.hidden else {})
                for number in range(len(trajectory.rows))
            ]
            for i, trajectory in enumerate(trajectories)
        ]  # fmt: skip

    def _routes(self, trajectory: Trajectory) -> dict[int, str]:
        """The teacher of every turn with tokens of the student, by turn index."""
        found: dict[int, str] = {}
        for step in trajectory.steps:
            if step.row < 0 or step.loss_role is LossRole.IMITATE:
                continue
            name = first_match(self.config.rules, trajectory, step) or self.config.default
            if name is None:
                task = trajectory.task
                raise TrainingError(
                    f"No rule of the teacher `route` matches turn {step.index} of {task.env}/{task.split}/{task.key}.",
                    f"Its task type is {task.type!r}, and `teacher.default` is not set.",
                    "Set `teacher.default`, or add a rule.",
                )
            found[step.index] = name
        return found

    def _asked(
        self, name: str, trajectories: Sequence[Trajectory], routes: Sequence[Mapping[int, str]], request: ScoreRequest
    ) -> dict[int, list[TeacherScores]]:
        """One member's answers by episode: all samples of the tasks it speaks about."""
        tasks = {t.task for t, route in zip(trajectories, routes, strict=True) if name in route.values()}
        if name == self.config.fill:
            tasks = {t.task for t, route in zip(trajectories, routes, strict=True) if route}
        wanted = [i for i, trajectory in enumerate(trajectories) if trajectory.task in tasks]
        answers = self.ask(name, [trajectories[i] for i in wanted], request) if wanted else []
        return dict(zip(wanted, answers, strict=True))

    def _columns(self) -> dict[str, tuple[int, int]]:
        """Where each member's hidden states stand, and the width of all: (start, end) by name."""
        columns, start = {}, 0
        for name in self.scorers:
            width = self.teachers[name].output_weight().shape[1]
            columns[name] = (start, start + width)
            start += width
        return columns

    def output_weight(self) -> Any:
        """The members' output layers side by side, [V, D_1 + ... + D_J]; ids beyond the shortest are padding."""
        layers = [self.teachers[name].output_weight() for name in self.scorers]
        size = min(len(layer) for layer in layers)
        return layers[0] if len(layers) == 1 else torch.cat([layer[:size] for layer in layers], dim=1)

    def metrics(self) -> dict[str, float]:
        """Turns by teacher since the last call, and the members' own numbers."""
        turns = {f"turns/{name}": float(self._turns[name]) for name in self.scorers}
        self._turns.clear()
        return super().metrics() | turns


def route_teacher(
    config: RouteConfig,
    student: LoadedModel | None = None,
    *,
    context: ContextPolicy | None = None,
    renderer: ChatRenderer | None = None,
    registry: PluginRegistry | None = None,
) -> RouteTeacher:
    """Builds the members and routes between them.

    Raises:
        ConfigError: an option of a member is wrong, or a rule names nobody who scores.
        TokenizationError: the token ids of a member are not the student's.
    """
    return RouteTeacher(config, build_members(config, student, context, renderer, registry))
