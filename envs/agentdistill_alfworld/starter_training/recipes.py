"""The two training runs behind the four starter models: everything that decides their weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agentdistill_alfworld.demonstrations import Mistakes, demonstrations
from agentdistill_alfworld.game import TASK_TYPES
from agentdistill_alfworld.generate import generate
from agentdistill_alfworld.starter_training.data import Batch, batches
from agentdistill_alfworld.starter_training.goals import with_second_goals
from agentdistill_alfworld.starter_training.tokenizer import build_tokenizer
from agentdistill_alfworld.starter_training.train import Schedule

GAME_TYPES = (*TASK_TYPES, "pick_two_obj_and_place")
"""Task types of the training games in turn; the longest task comes twice."""

SECOND_GOAL_TYPES = (*TASK_TYPES[:5], *TASK_TYPES)
"""Task types of their second goals: two of a kind lie about in every room, other tasks need particular rooms."""

PLAIN_TYPES = ("pick_and_place_simple", "look_at_obj_in_light", "pick_two_obj_and_place")
"""Task types without an appliance: what the apprentice learns."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training run.

    Attributes:
        name: the run.
        layers: layers of the model.
        schedule: how long and how fast.
        snapshots: optimiser step -> name of the starter model whose weights are those after that step.
        seed: seed of the games, the mistakes, the order of the data and the initial weights.
        batch: episodes in a batch.
        mistakes: how often the demonstrator errs.
        task_types: task types of the training games, in turn.
        second_goal_types: task types of their second goals.
    """

    name: str
    layers: int
    schedule: Schedule
    snapshots: dict[int, str]
    seed: int
    batch: int = 8
    mistakes: Mistakes = field(default_factory=Mistakes)
    task_types: tuple[str, ...] = GAME_TYPES
    second_goal_types: tuple[str, ...] = SECOND_GOAL_TYPES

    def data(self) -> Iterator[Batch]:
        """The batches of the run. Games come from the split "train": none is in a scene of valid_unseen."""
        steps = max(self.snapshots)
        # About 0.5% of the episodes do not reach the goal in time and are left out; batches fill up by shards.
        games = generate("train", (steps * self.batch * 6 // 5 + 256 * self.batch) // 2, self.seed, self.task_types)
        games = with_second_goals(games, self.second_goal_types, self.seed)
        episodes = demonstrations(games, split="train", seed=self.seed, mistakes=self.mistakes)
        return batches(episodes, build_tokenizer(), size=self.batch, seed=self.seed)


RUNS = (
    Run("teacher", layers=3, schedule=Schedule(steps=8000), snapshots={8000: "teacher"}, seed=1),
    Run(
        "student",
        layers=2,
        schedule=Schedule(steps=1200),
        snapshots={300: "student-15", 950: "student-55"},
        seed=2,
    ),
    # Finished, not interrupted: sure of what it was taught, lost elsewhere and after every "Nothing happens.".
    Run(
        "apprentice",
        layers=2,
        schedule=Schedule(steps=2400),
        snapshots={2400: "student-35"},
        seed=2,
        mistakes=Mistakes(rate=0.0),
        task_types=(*PLAIN_TYPES, "pick_two_obj_and_place"),
        second_goal_types=PLAIN_TYPES,
    ),
)
"""All runs. They are independent and can be made at the same time."""
