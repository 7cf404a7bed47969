"""Turns of teacher episodes on disk: what they saw, what they did, and which of them must not be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentdistill.conversation.base import Situation
from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill.records import LossRole, Step, Task, Trajectory
from agentdistill.store import TrajectoryStore


@dataclass(frozen=True, slots=True)
class TeacherEpisode:
    """A recorded episode.

    Attributes:
        task: what it was about.
        goal: the same in words.
        steps: all its turns.
    """

    task: Task
    goal: str
    steps: tuple[Step, ...]

    @property
    def opening(self) -> str:
        """The first thing that was seen."""
        return self.steps[0].observation


@dataclass(frozen=True, slots=True)
class TeacherStep:
    """A turn worth imitating.

    Attributes:
        episode: index of its episode.
        turn: index of the turn in it.
    """

    episode: int
    turn: int


@dataclass(frozen=True, slots=True)
class TeacherEpisodes:
    """What a store holds.

    Attributes:
        episodes: in the order of the store.
        steps: their turns that can be shown: accepted by the environment, and not a mistake made on purpose.
        fingerprint: sixteen hex digits over all of it.
    """

    episodes: tuple[TeacherEpisode, ...]
    steps: tuple[TeacherStep, ...]
    fingerprint: str

    def step(self, index: int) -> Step:
        """The turn behind an entry of `steps`."""
        entry = self.steps[index]
        return self.episodes[entry.episode].steps[entry.turn]

    def situation(self, index: int) -> Situation:
        """What the teacher knew before that turn."""
        entry = self.steps[index]
        episode, step = self.episodes[entry.episode], self.step(index)
        known = tuple(step.info.get("admissible_actions") or ())
        return Situation(episode.goal, step.observation, known, episode.steps[: entry.turn], episode.task)


def read_episodes(store: str, failures: bool = False) -> TeacherEpisodes:
    """Reads a trajectory store.

    Args:
        store: directory that `agentdistill collect` wrote.
        failures: read episodes that were not won, too.

    Raises:
        DataError: there is no store, nothing in it can be shown, or an episode does not say what its goal was.
    """
    folder = Path(store).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"There is no trajectory store {store}.",
            "Demonstrations are retrieved from episodes that a teacher has played.",
            "Write one with `agentdistill collect ... --output DIR`, or correct env.context.store.",
        )
    episodes: list[TeacherEpisode] = []
    steps: list[TeacherStep] = []
    for trajectory in TrajectoryStore(folder).read():
        if not trajectory.steps or not (trajectory.success or failures):
            continue
        steps += [TeacherStep(len(episodes), turn) for turn, step in enumerate(trajectory.steps) if _shown(step)]
        episodes.append(TeacherEpisode(trajectory.task, _goal(trajectory), tuple(trajectory.steps)))
    if not steps:
        raise DataError(
            f"The trajectory store {store} has no turn to show.",
            "It holds no won episode with an accepted action." if not failures else "No action in it was accepted.",
            "Collect more episodes.",
        )
    content = [
        [_identity(episode.task), episode.goal, [[s.observation, s.response, s.action] for s in episode.steps]]
        for episode in episodes
    ]
    return TeacherEpisodes(tuple(episodes), tuple(steps), digest(content)[:16])


def _shown(step: Step) -> bool:
    return bool(step.action) and step.valid and step.loss_role is not LossRole.NONE


def _goal(trajectory: Trajectory) -> str:
    goal = trajectory.meta.get("goal")
    if not goal:
        raise DataError(
            f"The episode of task {trajectory.task.key!r} cannot be a demonstration.",
            'Its `meta` has no "goal": nobody could say what it was about.',
            "Collect it again with this version.",
        )
    return str(goal)


def _identity(task: Task) -> list[str]:
    return [task.env, task.split, task.key]
