"""One episode in one environment: reset, replayed prefix, steps, and why it ended."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agentdistill.conversation.base import ContextPolicy, Situation
from agentdistill.envs.workers.calls import Call, Reply, ResetCall, StepCall, perform
from agentdistill.errors import ConfigError, EnvironmentFailure, MissingExtraError, PluginError
from agentdistill.hashing import digest
from agentdistill.records import (
    Actor,
    EpisodePlan,
    LossRole,
    Step,
    StopReason,
    Task,
    TokenRow,
    Trajectory,
)

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv

_T = TypeVar("_T")
_SHOWN = 160

Play = Generator[Call, Reply, _T]
"""A part of an episode that says what it wants of the environment and is sent the replies, or the exceptions."""

RUN_ERRORS = (ConfigError, MissingExtraError, PluginError)
"""Failures of the run's set-up: they are raised, while any other failure costs its episode only."""


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One episode to play.

    Attributes:
        task: what to do.
        plan: from where and how deep.
        sample: index among the episodes of the same task in the batch.
        seed: seed of the sampling of this episode.
        policy_version: optimiser step of the student that plays.
    """

    task: Task
    plan: EpisodePlan = field(default_factory=EpisodePlan)
    sample: int = 0
    seed: int = 0
    policy_version: int = 0


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """How episodes are played.

    Attributes:
        max_steps: most steps of an episode, replayed ones included.
        max_new_tokens: most tokens of a response, its terminator included.
        temperature: 0 is greedy.
        top_p: nucleus mass, 1 is off.
        concurrency: episodes in flight.
        ordered: sample for all conversations at once, so that results are the same to the last bit however fast the
            environments are. Otherwise those that are ready do not wait for a slow one (see `play`); environments
            of this process are always played in order.
        constrained: restrict responses to those that take an admissible action.
        want_expert: ask the environment for its expert's advice; it goes into `Step.info["expert_action"]`.
        want_entropy: record the entropy of the behaviour policy at each sampled token.
        want_top_ids: record that many of the behaviour policy's most likely ids at each sampled token; 0 is none.
    """

    max_steps: int = 30
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    concurrency: int = 16
    ordered: bool = True
    constrained: bool = False
    want_expert: bool = False
    want_entropy: bool = False
    want_top_ids: int = 0


def turn_seed(seed: int, turn: int) -> int:
    """The sampling seed of one turn, a 64-bit hash of the episode's seed and the step index."""
    return int(digest([seed, turn])[:16], 16)


class Episode:
    """An episode being played. `stop` is None while it goes on.

    Args:
        request: what to play.
        env: the environment, when `begin` and `act` shall use it at once; whoever runs `beginning` and `acting` has
            it himself. This episode is its only user until it ends.
        context: needed to say which facts later prompts want, and to write replayed actions as responses.
        settings: step limit and whether to ask the expert.

    Attributes:
        steps: the turns so far.
        stop: why it ended, or None.
        info: the environment's latest info.
    """

    def __init__(
        self, request: EpisodeRequest, env: TextEnv | None, context: ContextPolicy | None, settings: RolloutSettings
    ) -> None:
        self.request = request
        self.steps: list[Step] = []
        self.stop: StopReason | None = None
        self.info: Mapping[str, Any] = {}
        self._env = env
        self._context = context
        self._settings = settings
        self._keep_admissible = "admissible_actions" in getattr(context, "needs", ())
        self._observation = ""
        self._goal = ""
        self._played = 0
        self._error = ""

    @property
    def situation(self) -> Situation:
        """What may be shown before the next turn."""
        known = self.info.get("admissible_actions") or ()
        return Situation(self._goal, self._observation, known, self.steps, self.request.task)

    def begin(self) -> None:
        """Resets the environment and replays the plan's prefix, checked against its recording or for acceptance."""
        self._play(self.beginning())

    def _play(self, play: Play[_T]) -> _T:
        assert self._env is not None
        try:
            call = next(play)
            while True:
                try:
                    reply = perform(self._env, call)
                except Exception as error:
                    call = play.throw(error)
                else:
                    call = play.send(reply)
        except StopIteration as end:
            result: _T = end.value
            return result

    def beginning(self) -> Play[None]:
        """What `begin` does, for an environment that answers later."""
        try:
            options = {"task": self.request.task, "expert": self._settings.want_expert}
            self._observation, self.info = yield ResetCall(self.request.task.seed, options)
            self._goal = str(self.info.get("task", ""))
            for position, action in enumerate(self.request.plan.prefix):
                self._compare(position)
                yield from self._replay(position, action)
                if self.stop is not None:
                    return
            self._compare(len(self.request.plan.prefix))
        except RUN_ERRORS:
            raise
        except Exception as error:  # whatever an environment raises costs this episode only
            self._abort(error)
            return
        if self.request.plan.horizon is not None and self.request.plan.horizon <= 0:
            self.stop = StopReason.HORIZON

    def _replay(self, position: int, action: str) -> Play[None]:
        response = self.recorded_response(position, action)
        step = self._new_step(response, action, self.request.plan.prefix_actor, LossRole.NONE)
        step.info["replayed"] = True
        yield from self._send(step, action)
        recording = self.request.plan.recording
        seen = recording is not None and position + 1 < len(recording.observations)  # compared before the next turn
        if not step.valid and not seen:
            raise EnvironmentFailure(
                f"The replayed action {action!r} (step {position} of the prefix) was not accepted.",
                "The environment is in another state than when the prefix was recorded.",
                "Record the demonstrations again with this environment's data and version.",
            )

    def recorded_response(self, position: int, action: str) -> str:
        """The words of a replayed action: as recorded, where they still say that action, else written anew."""
        if self._context is None:
            return action
        recording = self.request.plan.recording
        words = recording.responses[position] if recording is not None and recording.responses else ""
        parsed = self._context.parse(words)
        if words and parsed.well_formed and parsed.action == action:
            return words
        return self._context.render_action(action)

    def _compare(self, position: int) -> None:
        recording = self.request.plan.recording
        if recording is None or position >= len(recording.observations):
            return
        if self._observation != recording.observations[position]:
            raise EnvironmentFailure(
                f"The replay of a recorded prefix went another way before step {position}.",
                f"Seen was {self._observation[:_SHOWN]!r}, recorded {recording.observations[position][:_SHOWN]!r}.",
                "The environment or its data is not what it was, or it is not deterministic: record the episode again.",
            )

    def _new_step(self, response: str, action: str, actor: Actor, role: LossRole) -> Step:
        info: dict[str, Any] = {}
        if self._settings.want_expert:
            info["expert_action"] = self.info.get("expert_action")
        if self._keep_admissible:
            info["admissible_actions"] = list(self.info.get("admissible_actions") or ())
        return Step(len(self.steps), self._observation, response, action, actor=actor, loss_role=role, info=info)

    def act(
        self,
        response: str,
        action: str,
        *,
        well_formed: bool = True,
        actor: Actor = Actor.STUDENT,
        loss_role: LossRole = LossRole.DISTILL,
        info: Mapping[str, Any] | None = None,
    ) -> Step:
        """Takes one turn.

        The environment gets the action; when none could be read it gets the response itself, stripped, which
        costs the agent a step as any wrong command does (`Step.info["sent"]` then holds what was sent).

        Args:
            response: text written, without its terminator.
            action: the command found in it, "" for none.
            well_formed: it followed the format; otherwise the step is not valid.
            actor: who wrote it.
            loss_role: what it may be trained with.
            info: extras for the step.

        Returns:
            The step. If the environment died the episode is aborted and the step has no result.
        """
        return self._play(
            self.acting(response, action, well_formed=well_formed, actor=actor, loss_role=loss_role, info=info)
        )

    def acting(
        self,
        response: str,
        action: str,
        *,
        well_formed: bool = True,
        actor: Actor = Actor.STUDENT,
        loss_role: LossRole = LossRole.DISTILL,
        info: Mapping[str, Any] | None = None,
    ) -> Play[Step]:
        """What `act` does, for an environment that answers later."""
        step = self._new_step(response, action, actor, loss_role)
        step.info.update(info or {})
        sent = action
        if not sent:
            sent = response.strip()
            step.info["sent"] = sent
        self._played += 1
        try:
            yield from self._send(step, sent)
        except RUN_ERRORS:
            raise
        except Exception as error:  # whatever an environment raises costs this episode only
            step.valid = False
            self._abort(error)
            return step
        step.valid = step.valid and well_formed
        horizon = self.request.plan.horizon
        if self.stop is None and horizon is not None and self._played >= horizon:
            self.stop = StopReason.HORIZON
        return step

    def _send(self, step: Step, command: str) -> Play[None]:
        self.steps.append(step)
        observation, reward, terminated, truncated, info = yield StepCall(command)
        self._observation, self.info = observation, info
        step.reward = float(reward)
        step.valid = bool(info.get("valid", True))
        if terminated or (truncated and info.get("won")):
            self.stop = StopReason.SUCCESS if info.get("won") else StopReason.FAILURE
        elif truncated or len(self.steps) >= self._settings.max_steps:
            self.stop = StopReason.ENV_LIMIT

    def _abort(self, error: Exception) -> None:
        self.stop = StopReason.ABORTED
        self._error = f"{type(error).__name__}: {error}"

    def give_up(self, reason: StopReason, why: str = "") -> None:
        """Ends the episode from outside, e.g. at the context limit."""
        self.stop, self._error = reason, why

    def trajectory(self, rows: list[TokenRow]) -> Trajectory:
        """The record of the episode."""
        assert self.stop is not None
        sampled = int(sum(int(row.mask.sum()) for row in rows))
        meta: dict[str, Any] = {
            "goal": self._goal,
            "prompt_hash": self._context.prompt_hash if self._context is not None else "",
            "prompt_tokens": sum(len(row) for row in rows) - sampled,
            "sampled_tokens": sampled,
            "student_steps": sum(s.actor is Actor.STUDENT and not s.info.get("replayed") for s in self.steps),
        }
        if self.stop is not StopReason.ABORTED and not meta["student_steps"]:
            meta["no_student_steps"] = True
        if self._error:
            meta["error"] = self._error
        if self.stop is StopReason.ABORTED:
            for row in rows:
                row.mask[:] = False
                row.old_logprob[:] = float("nan")
            for step in self.steps:
                step.loss_role = LossRole.NONE
        request = self.request
        return Trajectory(
            task=request.task,
            plan=request.plan,
            steps=self.steps,
            rows=rows,
            stop=self.stop,
            score=float(self.info.get("score") or 0.0),
            success=self.stop is not StopReason.ABORTED and bool(self.info.get("won", False)),
            sample=request.sample,
            seed=request.seed,
            policy_version=request.policy_version,
            meta=meta,
        )
