"""Episodes played by a scripted policy or a person: text only, to be stored, watched or tokenised later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentdistill.conversation.base import ContextPolicy, Situation
from agentdistill.envs.base import EnvironmentSource
from agentdistill.records import Actor, LossRole, StopReason, Trajectory
from agentdistill.rollout.episode import Episode, EpisodeRequest, RolloutSettings

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv


@dataclass(frozen=True, slots=True)
class Move:
    """An action with what it may be trained with.

    Attributes:
        action: the command.
        loss_role: `NONE` for a mistake that was made on purpose.
    """

    action: str
    loss_role: LossRole = LossRole.IMITATE


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The end of an episode by a policy that knows no way on.

    Attributes:
        stop: why the episode stopped, as its trajectory says it.
        why: in words, kept in `meta["error"]`.
    """

    stop: StopReason
    why: str


Policy = Callable[[Situation, Mapping[str, Any]], "str | Move | GiveUp | None"]
"""(situation, the environment's info) -> what to do; None ends the episode as aborted. `situation.steps` is empty on
the first turn of an episode."""


def environment_expert(situation: Situation, info: Mapping[str, Any]) -> str | None:
    """The policy that follows the environment's own expert; needs `RolloutSettings.want_expert`."""
    return info.get("expert_action")


def play_actions(
    requests: Sequence[EpisodeRequest],
    *,
    source: EnvironmentSource,
    policy: Policy,
    settings: RolloutSettings,
    context: ContextPolicy | None = None,
    actor: Actor = Actor.EXPERT,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Plays episodes one after another with a policy that answers in commands.

    Args:
        requests: the episodes; prefix and horizon of their plans hold as in `play`.
        source: makes the environment.
        policy: chooses the actions.
        settings: step limit, and whether to ask the environment's expert.
        context: writes actions as responses (the bare action without one), and says whether steps must remember
            the admissible actions for its prompts.
        actor: who the steps are attributed to.
        on_episode: called with each trajectory as it ends.

    Returns:
        Trajectories without token rows, in the order of the requests. One whose policy had no answer, or whose
        environment failed, is `ABORTED` with `meta["error"]`.
    """
    results: list[Trajectory] = []
    env: TextEnv | None = None
    try:
        for request in requests:
            env = env if env is not None else source.make()
            episode = Episode(request, env, context, settings)
            episode.begin()
            while episode.stop is None:
                _move(episode, policy, context, actor)
            trajectory = episode.trajectory([])
            results.append(trajectory)
            if on_episode is not None:
                on_episode(trajectory)
            if trajectory.stop is StopReason.ABORTED:
                env.close()
                env = None
    finally:
        if env is not None:
            env.close()
    return results


def _move(episode: Episode, policy: Policy, context: ContextPolicy | None, actor: Actor) -> None:
    answer = policy(episode.situation, episode.info)
    if answer is None:
        answer = GiveUp(StopReason.ABORTED, "the policy had no action to offer")
    if isinstance(answer, GiveUp):
        episode.give_up(answer.stop, answer.why)
        return
    move = Move(answer) if isinstance(answer, str) else answer
    response = move.action if context is None else context.render_action(move.action)
    episode.act(response, move.action, actor=actor, loss_role=move.loss_role)
