"""Playing episodes: many in flight, one batch of sampling a turn, a finished one's place taken at once."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Engine, Generation, GenerationRequest, Sampling
from agentdistill.envs.base import EnvironmentSource
from agentdistill.envs.workers.calls import Seat, seat_of
from agentdistill.errors import ConfigError
from agentdistill.records import Actor, LossRole, StopReason, Trajectory
from agentdistill.rollout.control import OnlineScores, Proposal, decide
from agentdistill.rollout.demonstrate import without_idle_rows
from agentdistill.rollout.episode import Episode, EpisodeRequest, Play, RolloutSettings, turn_seed
from agentdistill.rollout.guide import Guide, GuideTurn, guide_seed, guided
from agentdistill.rollout.recorded import NoSeat, RecordedEpisode

__all__ = ["EpisodeRequest", "RolloutSettings", "play"]


@dataclass(slots=True, eq=False)
class _Flight:
    """An episode in flight; `play` is what its environment still works on, None when it is the student's turn.

    `handed_over` is the number of turns to come that a control has given to the guide.
    """

    index: int
    episode: Episode
    rows: RowBuilder
    seat: Seat
    play: Play[Any] | None = None
    handed_over: int = 0

    @property
    def session(self) -> str:
        return f"episode-{self.index}"

    def begin(self, play: Play[Any]) -> None:
        """Begins what the environment shall do, and does it as far as that needs no waiting."""
        self.play = play
        try:
            self.seat.begin(next(play))
        except StopIteration:
            self.play = None
        self.go_on()

    def go_on(self) -> None:
        """Goes on as far as the environment has answered."""
        while self.play is not None and self.seat.settled:
            try:
                try:
                    reply = self.seat.outcome()
                except Exception as error:
                    call = self.play.throw(error)
                else:
                    call = self.play.send(reply)
            except StopIteration:
                self.play = None
            else:
                self.seat.begin(call)


@dataclass(slots=True)
class _Turn:
    """What is about to be sent: who wrote it, whether the episode ends with it, what the step shall remember."""

    generation: Generation
    guide: bool = False
    stop: bool = False
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def by_other(self) -> bool:
        return self.guide or self.generation.actor is not Actor.STUDENT


@dataclass(slots=True)
class _Seats:
    """Environments, used again and closed at the end."""

    source: EnvironmentSource
    idle: list[Seat] = field(default_factory=list)
    opened: list[Seat] = field(default_factory=list)

    def take(self, request: EpisodeRequest) -> Seat:
        if request.plan.offline:
            return NoSeat()
        if not self.idle:
            self.opened.append(seat_of(self.source.make()))
            return self.opened[-1]
        return self.idle.pop()

    def give_back(self, seat: Seat, broken: bool) -> None:
        if isinstance(seat, NoSeat):
            return
        if not broken:
            self.idle.append(seat)
            return
        self.opened.remove(seat)
        with suppress(Exception):  # it is broken already
            seat.close()

    def close(self) -> None:
        for seat in self.opened:
            seat.close()


def play(
    requests: Sequence[EpisodeRequest],
    *,
    source: EnvironmentSource,
    engine: Engine,
    renderer: ChatRenderer,
    context: ContextPolicy,
    settings: RolloutSettings,
    guides: Mapping[Actor, Guide] | None = None,
    score: OnlineScores | None = None,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Lets the student play episodes.

    When an episode ends, the next request starts in the same turn. What an episode samples depends on its own seed
    only, not on `concurrency` or on what else is in flight.

    With environments in worker processes and `settings.ordered` off there is no barrier between episodes: those whose
    environment has answered are sampled for while others still step. To fill batches, it waits for others as long as
    the last sampling took, since that is what another call would cost. Which conversations share a batch then depends
    on timing; an engine rounds differently in batches of other sizes, so that log-probabilities may differ in their
    last bits, and a token where two are that close.

    Args:
        requests: the episodes.
        source: makes the environments, one for each episode in flight; they are used again and closed at the end.
        engine: samples.
        renderer: turns messages into tokens.
        context: shows the episode and reads the actions.
        settings: limits and sampling.
        guides: who plays the turns that a plan gives to somebody else; needed for plans with `guide` above 0.
        score: asks the teacher about turns as they are written; needed for plans whose `control` is scored.
        on_episode: called with each trajectory as it ends.

    Returns:
        The trajectories, in the order of the requests. An environment that failed gives one that is `ABORTED`,
        with `meta["error"]` and nothing to train on.

    Raises:
        ConfigError: a setting is out of range, or `constrained` with an environment that lists no actions.
    """
    if settings.concurrency < 1 or settings.max_steps < 1:
        raise ConfigError(
            f"Cannot play with concurrency {settings.concurrency} and max_steps {settings.max_steps}.",
            "Both must be at least 1.",
            "Correct the `rollout` and `env` sections.",
        )
    sampling = Sampling(
        settings.max_new_tokens,
        renderer.stop_ids,
        settings.temperature,
        settings.top_p,
        settings.want_entropy,
        settings.want_top_ids,
    )
    waiting = deque(enumerate(requests))
    results: list[Trajectory | None] = [None] * len(requests)
    flights: list[_Flight] = []
    seats = _Seats(source)

    def release(sessions: Sequence[str]) -> None:
        engine.release(sessions)
        for guide in (guides or {}).values():
            guide.release(sessions)

    def land(flight: _Flight) -> None:
        release([flight.session])
        trajectory = flight.episode.trajectory(flight.rows.rows())
        steps, plan = trajectory.steps, flight.episode.request.plan
        written = any(step.row < 0 and not step.info.get("replayed") for step in steps)
        if plan.guide or plan.control is not None or written:
            trajectory = without_idle_rows(trajectory)
        results[flight.index] = trajectory
        seats.give_back(flight.seat, flight.episode.stop is StopReason.ABORTED)
        if on_episode is not None:
            on_episode(trajectory)

    def turn_over() -> None:
        """Lands what has ended and starts what waits, until every place is taken by an episode that goes on."""
        for flight in [flight for flight in flights if flight.play is None and flight.episode.stop is not None]:
            flights.remove(flight)
            land(flight)
        while waiting and len(flights) < settings.concurrency:
            index, request = waiting.popleft()
            kind = RecordedEpisode if request.plan.offline else Episode
            episode = kind(request, None, context, settings)
            flight = _Flight(index, episode, RowBuilder(renderer), seats.take(request))
            flight.begin(flight.episode.beginning())
            if flight.play is None and flight.episode.stop is not None:
                land(flight)
            else:
                flights.append(flight)

    patience = 0.0
    try:
        turn_over()
        while flights:
            _gather(flights, turn_over, None if settings.ordered else patience)
            ready = [flight for flight in flights if flight.play is None]
            batch = [_ask(flight, renderer, context, settings) for flight in ready]
            began = time.monotonic()
            answers = _guided(ready, batch, guides or {}, sampling)
            own = [request for request, answer in zip(batch, answers, strict=True) if answer is None]
            generations = iter(engine.generate(own, sampling) if own else [])
            patience = time.monotonic() - began
            turns = [_Turn(next(generations)) if answer is None else _Turn(answer, True) for answer in answers]
            _controlled(ready, batch, turns, guides or {}, score, sampling, renderer, context)
            for flight, turn in zip(ready, turns, strict=True):
                flight.begin(_answer(flight, turn, renderer, context))
            turn_over()
    finally:
        release([flight.session for flight in flights])
        seats.close()
    return [trajectory for trajectory in results if trajectory is not None]


def _gather(flights: Sequence[_Flight], turn_over: Callable[[], None], patience: float | None) -> None:
    """Waits for environments: for all of them, or with `patience` seconds for the rest once one is ready."""
    until: float | None = None
    while busy := [flight for flight in flights if flight.play is not None]:
        left: float | None = None
        if patience is not None and len(busy) < len(flights):
            now = time.monotonic()
            until = now + patience if until is None else until
            left = max(0.0, until - now)
        busy[0].seat.wait(left)
        for flight in busy:
            flight.go_on()
        turn_over()
        if left == 0.0:
            return


def _ask(
    flight: _Flight, renderer: ChatRenderer, context: ContextPolicy, settings: RolloutSettings
) -> GenerationRequest:
    situation = flight.episode.situation
    prompt = flight.rows.turn(context.messages(situation))
    allowed: tuple[tuple[int, ...], ...] | None = None
    if settings.constrained:
        if not situation.admissible:
            raise ConfigError(
                f"Constrained sampling has nothing to choose from in task {flight.episode.request.task.key!r}.",
                "The environment listed no admissible actions.",
                "Set `rollout.constrained = false` for this environment.",
            )
        allowed = tuple(tuple(renderer.response(context.render_action(action))) for action in situation.admissible)
    seed = turn_seed(flight.episode.request.seed, len(flight.episode.steps))
    return GenerationRequest(flight.session, prompt, seed, allowed, situation)


def _guided(
    ready: Sequence[_Flight], batch: Sequence[GenerationRequest], guides: Mapping[Actor, Guide], sampling: Sampling
) -> list[Generation | None]:
    """What guides answer in the turns that fall to them; None where the student plays."""
    mine: list[int] = []
    for place, flight in enumerate(ready):
        request = flight.episode.request
        if flight.handed_over:
            flight.handed_over -= 1
            mine.append(place)
        elif guided(request.seed, len(flight.episode.steps), request.plan.guide):
            mine.append(place)
    return _ask_guides(ready, batch, mine, guides, sampling)


def _ask_guides(
    ready: Sequence[_Flight],
    batch: Sequence[GenerationRequest],
    places: Sequence[int],
    guides: Mapping[Actor, Guide],
    sampling: Sampling,
) -> list[Generation | None]:
    """The answers of the guides in the turns at `places`, one batch for each guide; None elsewhere."""
    answers: list[Generation | None] = [None] * len(ready)
    for actor, guide in guides.items():
        mine = [place for place in places if ready[place].episode.request.plan.guide_actor is actor]
        if not mine:
            continue
        turns = []
        for place in mine:
            episode = ready[place].episode
            seed = guide_seed(episode.request.seed, len(episode.steps))
            turns.append(GuideTurn(dataclasses.replace(batch[place], seed=seed), episode.info))
        for place, answer in zip(mine, guide.respond(turns, sampling), strict=True):
            answers[place] = answer
    return answers


def _controlled(
    ready: Sequence[_Flight],
    batch: Sequence[GenerationRequest],
    turns: list[_Turn],
    guides: Mapping[Actor, Guide],
    score: OnlineScores | None,
    sampling: Sampling,
    renderer: ChatRenderer,
    context: ContextPolicy,
) -> None:
    """Lets the plans' controls decide on what the student wrote, and puts the guides' turns in place of some of it."""
    proposals: dict[int, Proposal] = {}
    for place, (flight, turn) in enumerate(zip(ready, turns, strict=True)):
        written = turn.generation
        if flight.episode.request.plan.control is None or turn.by_other or written.finish == "context":
            continue
        response = renderer.decode(written.token_ids)
        proposals[place] = Proposal(flight.episode, batch[place], written, response, context.parse(response))
    if not proposals:
        return
    decide(list(proposals.values()), score)
    replaced = [place for place, proposal in proposals.items() if proposal.decision.guide]
    answers = _ask_guides(ready, batch, replaced, guides, sampling)
    for place, proposal in proposals.items():
        turn, answer = turns[place], answers[place]
        turn.stop, turn.info["control"] = proposal.decision.stop, proposal.notes()
        if answer is None:
            continue
        ready[place].handed_over = proposal.decision.guide - 1
        turn.info["control"]["response"] = proposal.response
        turn.generation, turn.guide = answer, True


def _answer(flight: _Flight, turn: _Turn, renderer: ChatRenderer, context: ContextPolicy) -> Play[None]:
    """Takes a turn: the student's, or a guide's."""
    episode, generation = flight.episode, turn.generation
    if generation.finish == "context":
        flight.rows.abandon()
        episode.give_up(StopReason.CONTEXT_LIMIT)
        return
    plan = episode.request.plan
    index, actor, role = len(episode.steps), Actor.STUDENT, plan.student_role
    if not turn.by_other:
        row, start, end = flight.rows.sampled(
            index, generation.token_ids, generation.logprobs, generation.entropies, generation.top_ids
        )
    else:
        actor, role = plan.guide_actor if turn.guide else generation.actor, plan.guide_role
        row, start, end = flight.rows.written(index, generation.token_ids, learn=role is LossRole.IMITATE)
        if role is not LossRole.IMITATE:
            row, start, end = -1, 0, 0
    response = renderer.decode(generation.token_ids) if generation.text is None else generation.text
    parsed = context.parse(response)
    info = {"finish": generation.finish, **generation.info, **turn.info}
    step = yield from episode.acting(
        response, parsed.action, well_formed=parsed.well_formed, actor=actor, loss_role=role, info=info
    )
    step.row, step.start, step.end = row, start, end
    if turn.stop and episode.stop is None:
        episode.give_up(StopReason.HORIZON)
