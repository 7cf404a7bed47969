"""Teacher steps that can be asked for, and the rule that nothing of an evaluated task is among the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from agentdistill.conversation.base import Situation
from agentdistill.errors import DataError
from agentdistill.records import Task
from agentdistill_contexts.nearest import Index
from agentdistill_contexts.teacher_steps import TeacherEpisodes

_REMEMBERED = 65536

Key = tuple[str, Task | None, str, str]


def query_of(situation: Situation, actions: int) -> str:
    """What is compared: the goal, the last actions, and the observation."""
    return "\n".join([situation.task, *last_actions(situation, actions), situation.observation])


def last_actions(situation: Situation, count: int) -> list[str]:
    """The last actions before a turn, oldest first."""
    return [step.action for step in situation.steps[max(0, len(situation.steps) - count) :]]


def opening_of(situation: Situation) -> str:
    """The first thing that was seen in the episode."""
    return situation.steps[0].observation if situation.steps else situation.observation


class Library:
    """Teacher steps with an index over them.

    Args:
        held: what the store holds.
        index: makes the index over the steps' texts.
        actions: how many of the last actions count.
        drop_twins: never answer with an episode that began as the one that asks.
    """

    def __init__(
        self, held: TeacherEpisodes, index: Callable[[Sequence[str]], Index], actions: int, drop_twins: bool
    ) -> None:
        self.held, self._actions, self._drop_twins = held, actions, drop_twins
        self.index = index([query_of(held.situation(place), actions) for place in range(len(held.steps))])
        self._out = [False] * len(held.episodes)
        self._of_task: dict[tuple[str, str], list[int]] = {}
        self._begun: dict[tuple[str, str], list[int]] = {}
        for place, episode in enumerate(held.episodes):
            self._of_task.setdefault((episode.task.env, episode.task.key), []).append(place)
            self._begun.setdefault((episode.goal.strip(), episode.opening), []).append(place)
        self._remembered: dict[tuple[Key, int, int], tuple[int, ...]] = {}

    @property
    def held_out(self) -> int:
        """Episodes that are never shown."""
        return sum(self._out)

    def hold_out(self, tasks: Sequence[Task], whole_splits: bool) -> None:
        """Never again answers with an episode of these tasks.

        Args:
            tasks: the tasks that are evaluated.
            whole_splits: nor with one of any other task of their splits.

        Raises:
            DataError: nothing would be left.
        """
        splits = {(task.env, task.split) for task in tasks} if whole_splits else set()
        named = self.named(tasks)
        for place, episode in enumerate(self.held.episodes):
            if place in named or (episode.task.env, episode.task.split) in splits:
                self._out[place] = True
        self._remembered.clear()
        if all(self._out):
            raise DataError(
                "No demonstration is left: every episode of the store belongs to what is evaluated.",
                "They are of the evaluated tasks, or of their split.",
                'Collect from another split (`agentdistill collect --env.split train`); with held_out = "tasks" '
                "other tasks of the same split may be shown.",
            )

    def named(self, tasks: Sequence[Task]) -> frozenset[int]:
        """Episodes of these very tasks; a key names a task within its split."""
        return frozenset(
            place
            for task in tasks
            for place in self._of_task.get((task.env, task.key), ())
            if self.held.episodes[place].task.split == task.split
        )

    def nearest(self, situation: Situation, count: int, per_episode: int) -> tuple[int, ...]:
        """The steps that lie nearest to a turn.

        Args:
            situation: the turn.
            count: most steps.
            per_episode: most steps of one episode.

        Returns:
            Indices into `held.steps`, nearest first, of equally near ones the earlier in the store; fewer than `count`
            when no more have anything to do with the turn.
        """
        query = query_of(situation, self._actions)
        key = ((query, situation.about, situation.task, opening_of(situation)), count, per_episode)
        if key not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = self._search(query, self._forbidden(situation), count, per_episode)
        return self._remembered[key]

    def _forbidden(self, situation: Situation) -> frozenset[int]:
        """Episodes of the task that is being played, and those that cannot be told from it."""
        about = situation.about
        like = self._of_task.get((about.env, about.key), ()) if about is not None else ()
        own = frozenset(place for place in like if self._is_played(place, situation))
        if not self._drop_twins:
            return own
        return own.union(self._begun.get((situation.task.strip(), opening_of(situation)), ()))

    def _search(self, query: str, forbidden: frozenset[int], count: int, per_episode: int) -> tuple[int, ...]:
        scores = self.index.scores(query)
        taken: Counter[int] = Counter()
        found: list[int] = []
        for place in np.argsort(-scores, kind="stable").tolist():
            if len(found) == count or scores[place] <= 0:
                break
            episode = self.held.steps[place].episode
            if not self._out[episode] and episode not in forbidden and taken[episode] < per_episode:
                taken[episode] += 1
                found.append(place)
        return tuple(found)

    def _is_played(self, place: int, situation: Situation) -> bool:
        """Whether an episode is of the task that is being played: of its split, or of another that lists it, too."""
        episode, about = self.held.episodes[place], situation.about
        if about is None or (episode.task.env, episode.task.key) != (about.env, about.key):
            return False
        return episode.task.split == about.split or episode.goal.strip() == situation.task.strip()

    def require_clean(self, places: Sequence[int], situation: Situation) -> None:
        """Looks once more at what is about to be shown.

        Raises:
            DataError: it is of a task that is evaluated or played.
        """
        for place in places:
            episode = self.held.steps[place].episode
            if self._out[episode] or self._is_played(episode, situation):
                key = self.held.episodes[episode].task.key
                raise DataError(
                    f"A demonstration of the task `{key}` would have been shown, which is held out.",
                    "It is evaluated or being played.",
                    "This is a mistake of the program: please report it.",
                )
