"""From a resolved configuration to the parts of a run, checked against each other before anything costs time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from agentdistill.config.resolved import ResolvedConfig
from agentdistill.config.schema import EnvSection, RunConfig
from agentdistill.errors import ConfigError
from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.learner.settings import LearnerSettings
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.provenance import collect
from agentdistill.records import Actor, ScoreRequest, Task
from agentdistill.rollout.control import OnlineScores
from agentdistill.rollout.guide import Guide
from agentdistill.rollout.play import RolloutSettings
from agentdistill.teachers.optional import close_teacher, student_ids
from agentdistill.training.demonstrations import Lookup, demonstrated, no_demonstrations
from agentdistill.training.heldout import hold_out_panel
from agentdistill.training.judges import Judges
from agentdistill.training.methods import OVERLAP, Methods, widened
from agentdistill.training.online import online_scores
from agentdistill.training.recordings import RecordingLookup, recording_lookup
from agentdistill.training.settings import learner_settings
from agentdistill.training.teaching import check_request, make_guides, make_teacher

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.engines.base import Engine
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.envs.workers.source import SupervisedSource
    from agentdistill.learner.imitation import Imitation
    from agentdistill.learner.learner import Learner
    from agentdistill.learner.losses import Loss, ScheduledLoss
    from agentdistill.teachers.base import Teacher
    from agentdistill.training.curriculum import Curriculum


@dataclass
class Parts:
    """The parts of a run, each made when it is first asked for.

    Attributes:
        resolved: the configuration.
        registry: the loaded plugins.
    """

    resolved: ResolvedConfig
    registry: PluginRegistry
    _supervised: list[SupervisedSource] = field(default_factory=list, init=False, repr=False)

    @property
    def config(self) -> RunConfig:
        """The validated recipe."""
        return self.resolved.config

    @cached_property
    def source(self) -> EnvironmentSource:
        """The training environment."""
        self.resolved.require("env")
        return self._source(_given(self.config.env), "env")

    def _source(self, section: EnvSection, path: str) -> EnvironmentSource:
        source: EnvironmentSource = self.registry.build("environment", section, path)
        if not section.workers.count:
            return source
        from agentdistill.envs.workers.settings import WorkerSettings
        from agentdistill.envs.workers.source import SupervisedSource

        supervised = SupervisedSource(source, WorkerSettings(**section.workers.model_dump(exclude={"ordered"})))
        self._supervised.append(supervised)
        return supervised

    def close(self) -> None:
        """Ends the environments' processes and lets go of teacher and engine, as far as they were made."""
        for source in self._supervised:
            source.close()
        if "teacher" in vars(self):
            close_teacher(self.teacher)
        if "engine" in vars(self) and hasattr(self.engine, "close"):
            self.engine.close()

    @cached_property
    def eval_source(self) -> EnvironmentSource:
        """The environment as evaluation sees it."""
        self.resolved.require("env")
        section = self.config.evaluation_env()
        if section == self.config.env:
            return self.source
        return self._source(section, "eval.env")

    @cached_property
    def tasks(self) -> Sequence[Task]:
        """The training tasks."""
        split = _given(self.config.env).split
        tasks = self.source.tasks(split)
        if not tasks:
            raise ConfigError(
                f"The split `{split}` of `{self.source.name}` has no tasks.", "", "Choose another env.split."
            )
        return tasks

    @cached_property
    def context(self) -> ContextPolicy:
        """The context policy; it shows nothing of what the run is evaluated on."""
        section = _given(self.config.env).context
        context: ContextPolicy = self.registry.build("context", section, "env.context", registry=self.registry)
        hold_out_panel(context, self.config.eval, lambda: self.eval_source, self.registry)
        return context

    @cached_property
    def student(self) -> LoadedModel:
        """The model that learns, with its adapters."""
        self.resolved.require("student")
        section = _given(self.config.student)
        loaded = load_model(section.model, registry=self.registry, device=section.device, dtype=section.dtype)
        if section.lora is not None:
            lora = LoraSettings(**section.lora.model_dump(), seed=self.config.run.seed)
            loaded.model = add_lora(loaded.model, lora)
        return loaded

    @cached_property
    def renderer(self) -> ChatRenderer:
        """The student's chat renderer, of the kind its context policy needs."""
        from agentdistill.conversation.template import renderer_for
        from agentdistill.models import generation_stop_ids

        stops = generation_stop_ids(self.student.model)
        return renderer_for(self.student.tokenizer, self.context, extra_stop_ids=stops)

    @cached_property
    def engine(self) -> Engine:
        """What samples from the student."""
        offered = {"context": self.context, "renderer": self.renderer, "registry": self.registry}
        engine: Engine = self.registry.build("engine", self.config.engine, "engine", model=self.student, **offered)
        return engine

    @cached_property
    def teacher(self) -> Teacher:
        """Who scores the student's tokens; its tokenizer is the student's, by every id."""
        self.resolved.require("teacher")
        return make_teacher(_given(self.config.teacher), self.registry, self.student, self.context, self.renderer)

    @cached_property
    def tutor(self) -> Teacher | None:
        """The teacher, where anything asks for it: the loss for scores, the curriculum for scores or turns."""
        asked = self.config.loss is not None or self.curriculum.needs & {"teacher", "scores"}
        return self.teacher if asked else None

    @cached_property
    def loss(self) -> Loss | ScheduledLoss:
        """What the learner minimises; the teacher can answer what it asks."""
        self.resolved.require("loss")
        loss = self.methods.loss
        assert loss is not None
        self._check_scores(loss.request, f"loss `{_given(self.config.loss).type}`")
        return loss

    def _check_scores(self, request: ScoreRequest, who: str) -> None:
        check_request(request, self.teacher, _given(self.config.teacher).type, who)

    @cached_property
    def methods(self) -> Methods:
        """Loss, weights, rewards, advantage, fusion, surrogate and filters."""
        return Methods(self.config, self.registry)

    @cached_property
    def needs(self) -> frozenset[str]:
        """Statistics that the run's methods ask for; teacher and engine can give them.

        Raises:
            ConfigError: they cannot.
        """
        needs = self.methods.needs
        if self.config.loss is None and (judged := needs & {"teacher_entropy", "teacher_confidence", "overlap"}):
            raise ConfigError(
                f"Something needs {', '.join(sorted(judged))}, and without a [loss] no teacher is asked.",
                "",
                "Add a [loss] and a [teacher], or leave that method out.",
            )
        offered: frozenset[str] = getattr(self.engine, "capabilities", frozenset())
        for need, capability in (("old_entropy", "entropy"), ("overlap", "top_ids")):
            if need in needs and capability not in offered:
                raise ConfigError(
                    f"Something needs `{need}`, and the engine `{self.config.engine.type}` does not report it.",
                    f"It would need the capability {capability!r}.",
                    'Use engine.type = "hf", or another method.',
                )
        return needs

    @cached_property
    def watched(self) -> frozenset[str]:
        """Statistics for diagnostics, which nobody needs: those that engine and teacher report."""
        if not self.config.run.diagnostics or self.config.loss is None:
            return frozenset()
        engine: frozenset[str] = getattr(self.engine, "capabilities", frozenset())
        teacher = self.teacher.capabilities
        found = {
            "teacher_entropy": "entropy" in teacher,
            "old_entropy": "entropy" in engine,
            "overlap": "top_ids" in engine and "top_k" in teacher,
        }
        return frozenset(name for name, given in found.items() if given)

    @cached_property
    def request(self) -> ScoreRequest:
        """What the run asks of its teacher."""
        request = widened(self.loss.request, self.needs | self.watched)
        self._check_scores(request, "recipe")
        return request

    @cached_property
    def judges(self) -> Judges:
        """Who judges finished episodes. Made before the first step, since it freezes the reference."""
        methods = self.methods
        reference = None
        if "reference" in self.needs:
            from agentdistill.training.reference import reference_scorer

            reference = reference_scorer(self.student, self.config.optim.micro_batch_tokens)
        members = getattr(self.teacher, "members", ()) if self.config.loss is not None else ()
        return Judges(methods.rewards, methods.advantage, methods.filters, reference, members)

    @cached_property
    def curriculum(self) -> Curriculum:
        """Who plays which turn, from where, how deep."""
        curriculum: Curriculum = self.registry.build("curriculum", self.config.curriculum, "curriculum")
        return curriculum

    @cached_property
    def demonstrations(self) -> Lookup:
        """Demonstrations for the curriculum."""
        return demonstrated(self.recordings) if "demonstrations" in self.curriculum.needs else no_demonstrations

    @cached_property
    def recordings(self) -> RecordingLookup:
        """Recorded episodes for the curriculum."""
        section = self.config.demonstrations
        max_steps = section.max_steps or _given(self.config.env).max_steps
        needed = not self.curriculum.needs.isdisjoint(("recordings", "demonstrations"))
        return recording_lookup(section.source, needed, self.source, max_steps)

    @cached_property
    def online(self) -> OnlineScores | None:
        """Asks the teacher about turns as they are written, where the curriculum decides by its scores."""
        if "scores" not in self.curriculum.needs:
            return None
        self.resolved.require("teacher")
        return online_scores(self.teacher, self.config.curriculum.type)

    @cached_property
    def settings(self) -> RolloutSettings:
        """How training episodes are played."""
        asked = self.config.loss is not None and "expert_action" in self.teacher.needs
        settings = self.play_settings(asked or "expert" in self.curriculum.needs)
        wanted = self.needs | self.watched
        top_ids = min(OVERLAP, len(self.student.tokenizer)) if "overlap" in wanted else 0
        return dataclasses.replace(settings, want_entropy="old_entropy" in wanted, want_top_ids=top_ids)

    @cached_property
    def guides(self) -> dict[Actor, Guide]:
        """Who can play turns in the student's place, as far as the curriculum asks for it."""
        needs, section = self.curriculum.needs, self.config.teacher
        if "teacher" in needs:
            self.resolved.require("teacher")
        return make_guides(
            needs,
            self.config.curriculum.type,
            self.teacher if "teacher" in needs else None,
            section.type if section is not None else "",
            self.context,
            self.renderer,
            lambda model: self.registry.build("engine", self.config.engine, "engine", model=model),
        )

    def play_settings(self, want_expert: bool) -> RolloutSettings:
        """How episodes are played under [env] and [rollout], with or without the expert's advice in every step."""
        rollout = self.config.rollout
        return RolloutSettings(
            max_steps=_given(self.config.env).max_steps,
            max_new_tokens=rollout.max_new_tokens,
            temperature=rollout.temperature,
            top_p=rollout.top_p,
            concurrency=rollout.concurrency,
            constrained=rollout.constrained,
            want_expert=want_expert,
            ordered=_ordered(_given(self.config.env)),
        )

    @cached_property
    def eval_settings(self) -> RolloutSettings:
        """How evaluation episodes are played."""
        rollout, section = self.config.rollout, self.config.eval
        return RolloutSettings(
            max_steps=section.max_steps or _given(self.config.env).max_steps,
            max_new_tokens=section.max_new_tokens or rollout.max_new_tokens,
            temperature=section.temperature,
            top_p=section.top_p,
            concurrency=section.concurrency or rollout.concurrency,
            constrained=section.constrained,
            want_expert=False,
            ordered=_ordered(self.config.evaluation_env()),
        )

    def learner_settings(self, dump_directory: Any) -> LearnerSettings:
        """The learner's settings; a batch with a non-finite loss is written to that directory."""
        return learner_settings(self.config, dump_directory)

    def learner(self, dump_directory: Any, *, distil: bool, imitation: Imitation | None = None) -> Learner:
        """Makes the learner.

        Args:
            dump_directory: where a batch with a non-finite loss is written.
            distil: with the loss and weights of the recipe; False trains imitated turns only.
            imitation: what imitated tokens count, without `distil`.
        """
        from agentdistill.learner.learner import Learner

        settings, watched = self.learner_settings(dump_directory), self.config.run.diagnostics
        if not distil:
            return Learner(self.student, loss=None, imitation=imitation, settings=settings, roles=watched)
        loss = self.loss if self.config.loss is not None else None
        return Learner(
            self.student,
            loss=loss,
            step_weight=self.methods.step_weights,
            token_weight=self.methods.token_weights,
            fusion=self.methods.fusion,
            surrogate=self.methods.surrogate,
            settings=settings,
            teacher_weight=self.teacher.output_weight() if loss is not None and loss.request.hidden else None,
            teacher_ids=student_ids(self.teacher) if loss is not None and loss.request.hidden else None,
            roles=watched or "role" in self.needs,
            members=getattr(self.teacher, "members", ()) if loss is not None else (),
        )

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """What every result of this run carries."""
        return collect(
            self.resolved.values,
            registry=self.registry,
            models={"student": self.student},
            extra={"prompt_hash": self.context.prompt_hash, **extra},
        )


_T = TypeVar("_T")


def _ordered(section: EnvSection) -> bool:
    return section.workers.ordered or not section.workers.count


def _given(value: _T | None) -> _T:
    """A section that `require` has checked."""
    if value is None:
        raise ConfigError("A section of the configuration is missing.", "", "Run with --dry-run to see what is set.")
    return value
