"""Playing episodes: many in flight, one batch of sampling a turn, a finished one's place taken at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Engine, Generation, GenerationRequest, Sampling
from agentdistill.envs.base import EnvironmentSource
from agentdistill.errors import ConfigError
from agentdistill.records import StopReason, Trajectory
from agentdistill.rollout.episode import Episode, EpisodeRequest, RolloutSettings, turn_seed

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

__all__ = ["EpisodeRequest", "RolloutSettings", "play"]


@dataclass(slots=True)
class _Flight:
    """An episode in flight."""

    index: int
    episode: Episode
    rows: RowBuilder
    env: TextEnv

    @property
    def session(self) -> str:
        return f"episode-{self.index}"


def play(
    requests: Sequence[EpisodeRequest],
    *,
    source: EnvironmentSource,
    engine: Engine,
    renderer: ChatRenderer,
    context: ContextPolicy,
    settings: RolloutSettings,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Lets the student play episodes.

    There is no barrier between episodes: when one ends, the next request starts in the same turn. What an episode
    samples depends on its own seed only, not on `concurrency` or on what else is in flight.

    Args:
        requests: the episodes.
        source: makes the environments, one for each episode in flight; they are used again and closed at the end.
        engine: samples.
        renderer: turns messages into tokens.
        context: shows the episode and reads the actions.
        settings: limits and sampling.
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
    sampling = Sampling(settings.max_new_tokens, renderer.stop_ids, settings.temperature, settings.top_p)
    waiting = deque(enumerate(requests))
    results: list[Trajectory | None] = [None] * len(requests)
    flights: list[_Flight] = []
    idle: list[TextEnv] = []
    opened: dict[int, TextEnv] = {}

    def make() -> TextEnv:
        env = source.make()
        opened[id(env)] = env
        return env

    def land(flight: _Flight) -> None:
        engine.release([flight.session])
        trajectory = flight.episode.trajectory(flight.rows.rows())
        results[flight.index] = trajectory
        if flight.episode.stop is StopReason.ABORTED:
            with suppress(Exception):  # it is broken already
                opened.pop(id(flight.env)).close()
        else:
            idle.append(flight.env)
        if on_episode is not None:
            on_episode(trajectory)

    def refill() -> None:
        while waiting and len(flights) < settings.concurrency:
            index, request = waiting.popleft()
            env = idle.pop() if idle else make()
            flight = _Flight(index, Episode(request, env, context, settings), RowBuilder(renderer), env)
            flight.episode.begin()
            if flight.episode.stop is None:
                flights.append(flight)
            else:
                land(flight)

    try:
        refill()
        while flights:
            batch = [_ask(flight, renderer, context, settings) for flight in flights]
            for flight, generation in zip(flights, engine.generate(batch, sampling), strict=True):
                _answer(flight, generation, renderer, context)
            landed = [flight for flight in flights if flight.episode.stop is not None]
            flights = [flight for flight in flights if flight.episode.stop is None]
            for flight in landed:
                land(flight)
            refill()
    finally:
        engine.release([flight.session for flight in flights])
        for env in opened.values():
            env.close()
    return [trajectory for trajectory in results if trajectory is not None]


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
    return GenerationRequest(flight.session, prompt, seed, allowed)


def _answer(flight: _Flight, generation: Generation, renderer: ChatRenderer, context: ContextPolicy) -> None:
    episode = flight.episode
    if generation.finish == "context":
        flight.rows.abandon()
        episode.give_up(StopReason.CONTEXT_LIMIT)
        return
    row, start, end = flight.rows.sampled(len(episode.steps), generation.token_ids, generation.logprobs)
    response = renderer.decode(generation.token_ids)
    parsed = context.parse(response)
    step = episode.act(response, parsed.action, well_formed=parsed.well_formed, info={"finish": generation.finish})
    step.row, step.start, step.end = row, start, end
