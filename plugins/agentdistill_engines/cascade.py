"""A training-free agent: the student answers several times, and the teacher is asked where the answers disagree.

At each turn the student is sampled N times from one prompt. If at least `agree` of the answers name the same action,
the first of those is what the agent does; otherwise the teacher writes the turn. With N = 1 nothing can disagree, so
the teacher is never asked and the agent is the student alone, to the last token; without a teacher the most frequent
action is taken whatever the votes (plain self-consistency).

    agent(h) = a*        if |{i : action(y_i) = a*}| >= agree,   y_1..y_N ~ pi_S(. | h)
             = pi_T(h)   otherwise

The second half of the method is the context policy `retrieval`: the N answers are written below the teacher steps that
lie nearest to the turn. Defaults are the paper's: N = 3, and all must agree.

Source: In-Context Distillation with Self-Consistency Cascades, arXiv 2512.02543. Actions are compared as the context
policy reads them, not answers as texts, and an answer it cannot read has no vote.

A turn that the teacher wrote says so: its `actor` is "teacher", its tokens are never the student's, and
`info["cascade"]` has the actions that were named and what the student would have done. Every turn's `info["usage"]`
has the calls, tokens and dollars of both, which evaluations add up: each of the N answers counts its whole prompt,
although a server that reads the prompt once for all N may charge less. The protocol of a result says
"cascade(student, teacher)", so that it is not compared with a student's by accident.

It is for evaluation and collection. A majority of several answers is no sample of the student's, so a training run
with this engine stops at its start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentdistill.engines.base import Engine, Generation, GenerationRequest, Sampling
from agentdistill.errors import ConfigError
from agentdistill.evaluate.spending import USAGE, Spent, usage
from agentdistill.records import Actor
from agentdistill_engines.advice import Advice, Adviser
from agentdistill_engines.advice_endpoint import EndpointAdviser
from agentdistill_engines.advice_model import ModelAdviser
from agentdistill_engines.cascade_options import CascadeConfig, check_context
from agentdistill_engines.votes import Vote, sample_seed, vote

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.models import LoadedModel
    from agentdistill.plugins import PluginRegistry
    from agentdistill.records import Trajectory


class CascadeEngine:
    """See the module.

    Args:
        config: options.
        model: the student.
        context: reads the answers' actions.
        renderer: the student's.
        registry: where engines, models and contexts are looked up.

    Raises:
        ConfigError: the teacher's own context policy would need what the run does not record.
    """

    def __init__(
        self,
        config: CascadeConfig,
        model: LoadedModel,
        context: ContextPolicy,
        renderer: ChatRenderer,
        registry: PluginRegistry,
    ) -> None:
        self._config, self._context, self._renderer = config, context, renderer
        offered = {"model": model, "context": context, "renderer": renderer, "registry": registry}
        self._student: Engine = registry.build("engine", config.sampler, "engine.sampler", **offered)
        self.capabilities: frozenset[str] = getattr(self._student, "capabilities", frozenset())
        asked = config.teacher or config.endpoint
        self._reads = context
        if asked is not None and asked.context is not None:
            self._reads = registry.build("context", asked.context, "engine.teacher.context", registry=registry)
            check_context(self._reads, context)
        self._teacher: Adviser | None = None
        if config.samples > 1 and config.teacher is not None:
            self._teacher = ModelAdviser(config.teacher, self._reads, registry)
        elif config.samples > 1 and config.endpoint is not None:
            self._teacher = EndpointAdviser(config.endpoint, self._reads)

    @property
    def context_length(self) -> int:
        """The student's: most tokens of a row, prompt and response together."""
        return self._student.context_length

    @property
    def players(self) -> str:
        """Who plays, for the protocol of a result."""
        config = self._config
        if config.samples == 1:
            return "student only"
        if self._teacher is None:
            return f"most frequent action of {config.samples} answers of the student"
        return f"cascade(student, teacher), {self._needed} of {config.samples} answers must agree"

    @property
    def _needed(self) -> int:
        return self._config.agree or self._config.samples

    def provenance(self) -> Mapping[str, Any]:
        """Who plays, and who the teacher is."""
        config = self._config
        found = {"players": self.players, "samples": config.samples, "agree": self._needed}
        return found if self._teacher is None else {**found, "teacher": dict(self._teacher.provenance())}

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """One turn for each request, the student's or the teacher's; results are in the order of the requests.

        Raises:
            ConfigError: several answers are asked for at temperature 0, where they are all the same.
        """
        count = self._config.samples
        if count > 1 and sampling.temperature == 0:
            raise ConfigError(
                f"{count} answers at temperature 0 are {count} times the same answer.",
                "A student that is sampled greedily never disagrees with itself.",
                "Set eval.temperature above 0, or engine.samples = 1.",
            )
        asked = [_sample(request, sample) for request in requests for sample in range(count)]
        found = self._student.generate(asked, sampling)
        groups = [found[start : start + count] for start in range(0, len(found), count)]
        votes = [self._vote(group) for group in groups]
        doubtful = [place for place, group in enumerate(groups) if self._disagree(group, votes[place])]
        advice: dict[int, Advice] = {}
        if doubtful and self._teacher is not None:
            given = self._teacher.answer([requests[place] for place in doubtful], sampling)
            advice = dict(zip(doubtful, given, strict=True))
        return [
            self._turn(request, group, ballot, advice.get(place))
            for place, (request, group, ballot) in enumerate(zip(requests, groups, votes, strict=True))
        ]

    def _vote(self, group: Sequence[Generation]) -> Vote:
        return vote([self._context.parse(self._words(answer)) for answer in group])

    def _words(self, answer: Generation) -> str:
        return self._renderer.decode(answer.token_ids) if answer.text is None else answer.text

    def _disagree(self, group: Sequence[Generation], ballot: Vote) -> bool:
        # A prompt that does not fit the student's context ends the episode, as it does for the student alone.
        fits = all(answer.finish != "context" for answer in group)
        return self._config.samples > 1 and self._teacher is not None and fits and ballot.votes < self._needed

    def _turn(
        self, request: GenerationRequest, group: Sequence[Generation], ballot: Vote, advice: Advice | None
    ) -> Generation:
        chosen = group[ballot.chosen]
        if chosen.finish == "context":
            return chosen
        student = self._spent(request, group)
        info: dict[str, Any] = dict(chosen.info)
        if self._config.samples > 1:
            info["cascade"] = {"votes": ballot.votes, "actions": list(ballot.actions)}
        if advice is None:
            return dataclasses.replace(chosen, info={**info, **usage(student=student)})
        if advice.finish == "context":
            return Generation([], [], "context")
        info["cascade"]["student"] = self._words(chosen)
        text = self._as_the_student_says_it(advice.text)
        ids = self._renderer.response(text)
        ids = ids[:-1] if advice.finish == "length" and len(ids) > 1 else ids
        info |= usage(student=student, teacher=advice.spent)
        unknown = [float("nan")] * len(ids)
        return Generation(ids, unknown, advice.finish, actor=Actor.TEACHER, text=text, info=info)

    def _spent(self, request: GenerationRequest, group: Sequence[Generation]) -> Spent:
        """What the student's answers cost: as their sampler says, else by tokens and prices."""
        told = [Spent(**account) for answer in group for account in answer.info.get(USAGE, {}).values()]
        if told:
            return sum(told, Spent())
        read, written = len(request.prompt) * len(group), sum(len(answer.token_ids) for answer in group)
        return Spent.priced(len(group), read, written, self._config.price_in, self._config.price_out)

    def _as_the_student_says_it(self, text: str) -> str:
        """The teacher's words; those of a teacher with a format of its own, written anew in the student's."""
        if self._reads is self._context:
            return text
        parsed = self._reads.parse(text)
        return self._context.render_action(parsed.action) if parsed.well_formed else text

    def release(self, sessions: Iterable[str]) -> None:
        """Forgets conversations."""
        names = list(sessions)
        self._student.release([_session(name, sample) for name in names for sample in range(self._config.samples)])
        if self._teacher is not None:
            self._teacher.release(names)

    def sync(self, policy_version: int) -> None:
        """Drops what was computed with the student's older weights; the teacher's never change."""
        self._student.sync(policy_version)

    def close(self) -> None:
        """Ends what the samplers started, such as servers."""
        for part in (self._student, self._teacher):
            if part is not None and hasattr(part, "close"):
                part.close()

    def check(self, trajectories: Sequence[Trajectory]) -> Sequence[str]:
        """A training run asks this before it starts.

        Raises:
            ConfigError: always, unless the student plays alone.
        """
        if self._config.samples == 1:
            return []
        raise ConfigError(
            "The engine `cascade` cannot sample for training.",
            "The majority of several answers is no sample of the student's, and gradients would take it for one.",
            "Train with another engine; evaluate and collect with this one.",
        )


def _session(name: str, sample: int) -> str:
    return name if sample == 0 else f"{name}#{sample}"


def _sample(request: GenerationRequest, sample: int) -> GenerationRequest:
    seed = sample_seed(request.seed, sample)
    return dataclasses.replace(request, session=_session(request.session, sample), seed=seed)
