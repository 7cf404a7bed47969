"""An episode whose environment is a recording: the student answers one turn of it, and nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.envs.workers.calls import Call, Reply, Seat
from agentdistill.errors import ConfigError, EnvironmentFailure
from agentdistill.records import Actor, LossRole, Step, StopReason
from agentdistill.rollout.episode import Episode, Play


class RecordedEpisode(Episode):
    """Plays a plan that is `offline`.

    The prefix is shown as it was recorded. The student's turn is not executed: `Step.info["executed"]` is False, it
    counts as valid when an action could be read in it, and the episode stops as cut (`HORIZON`): nothing is known
    about its success. Without a recording the episode has no turns and stops at once.
    """

    def beginning(self) -> Play[None]:
        """Puts the recorded turns down; makes no call.

        Raises:
            ConfigError: the recording is too short for the prefix, or lacks what prompts show.
        """
        plan = self.request.plan
        recording, length = plan.recording, len(plan.prefix)
        if recording is None:
            self.give_up(StopReason.HORIZON)
            return
        if len(recording.observations) <= length or recording.actions[:length] != plan.prefix:
            raise ConfigError(
                f"The recording of task {self.request.task.key!r} does not reach turn {length}.",
                f"It has {len(recording.observations)} observations of {len(recording.actions)} actions.",
                "Replay a prefix of the recorded actions that ends before the last observation.",
            )
        if self._keep_admissible and len(recording.admissible) <= length:
            raise ConfigError(
                f"The recording of task {self.request.task.key!r} cannot be shown with this context policy.",
                "The policy lists the admissible actions of every step, and they were not recorded.",
                "Collect it again with that context policy, or turn the policy's `admissible` off.",
            )
        self._goal = recording.goal
        self._show(0)
        for position, action in enumerate(plan.prefix):
            response = self.recorded_response(position, action)
            step = self._new_step(response, action, plan.prefix_actor, LossRole.NONE)
            step.info["replayed"] = True
            self.steps.append(step)
            self._show(position + 1)
        yield from ()

    def _show(self, turn: int) -> None:
        recording = self.request.plan.recording
        assert recording is not None
        self._observation = recording.observations[turn]
        self.info = {"task": recording.goal, "won": False}
        if turn < len(recording.admissible):
            self.info["admissible_actions"] = list(recording.admissible[turn])
        if recording.expert and turn < len(recording.actions):
            self.info["expert_action"] = recording.actions[turn]

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
        """Takes the turn down; makes no call."""
        step = self._new_step(response, action, actor, loss_role)
        step.info.update(info or {})
        step.info["executed"] = False
        step.valid = well_formed
        self.steps.append(step)
        self.stop = StopReason.HORIZON
        yield from ()
        return step


class NoSeat(Seat):
    """The place of an environment where there is none."""

    def begin(self, call: Call) -> None:
        """Not possible.

        Raises:
            EnvironmentFailure: always.
        """
        raise EnvironmentFailure("A recorded episode called its environment.", "It has none.", "This is a fault.")

    @property
    def settled(self) -> bool:
        """Always."""
        return True

    def outcome(self) -> Reply:
        """Not possible.

        Raises:
            EnvironmentFailure: always.
        """
        raise EnvironmentFailure("A recorded episode called its environment.", "It has none.", "This is a fault.")

    def wait(self, seconds: float | None) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to close."""
