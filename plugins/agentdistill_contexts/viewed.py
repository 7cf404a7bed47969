r"""The student itself is shown what a view says about a recorded attempt at the same task: it plays as a reviser.

    messages = those of another policy, and in the first user message the words of the view about the attempt

It is for SD-Zero's first phase (arXiv 2604.12002), self-revision training, in which a model learns on its own episodes
to generate and to revise:

    L = - log pi(y | x) - log pi(y' | x, y, P_r)        y, y' won

Attempts are collected first, lost ones too. A second collection with this policy shows the student its lost attempts
(the view `sd-zero` with `good = false`, the default), and nothing where it won before. What it wins then are the tuples
of both terms, and `agentdistill sft` with this policy imitates each in the very prompt it was played in. What the
teacher of the second phase (`privileged`, the same view) finds in its prompts is then, word for word, what it learned:

    agentdistill collect RECIPE --agent student --failures --output runs/attempts
    agentdistill collect RECIPE --agent student --run.seed 1 --output runs/revisions \
        --env.context.type viewed --env.context.attempts runs/attempts
    agentdistill sft RECIPE --data runs/revisions --output runs/reviser \
        --env.context.type viewed --env.context.attempts runs/attempts
    agentdistill train RECIPE --student.model runs/reviser/student --curriculum.type full --teacher.type privileged \
        --teacher.view.type sd-zero --teacher.teacher.type local --teacher.teacher.model runs/reviser/student

Of several attempts at a task the first is taken that the view has something to say about. An attempt tells of its very
task, so nothing is shown about tasks that are about to be evaluated: there the student plays as it will alone. Views
that tell of single turns cannot be shown to an episode that takes other turns.

Differs from the paper and its released code: there y' continues the text of y, and the generator imitates
y, P_r, y' as one answer (4,000 of 6,000 tuples, three epochs, then three over 2,000 revisions, lr 5e-6). A world does
not start anew within an episode, so here a revision is another episode, generation is imitated of won episodes only,
and both go into one data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from agentdistill.conversation.base import Message, Situation
from agentdistill.errors import ConfigError, DataError
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig, PluginRegistry, SectionOf
from agentdistill.records import Task, Trajectory
from agentdistill.store import TrajectoryStore
from agentdistill.teachers.views import Privileged, View, with_privileged
from agentdistill_contexts.around import AroundContext

Key = tuple[str, str, str]


class ViewedConfig(PluginConfig):
    """What is shown of which attempts.

    Attributes:
        attempts: trajectory store with attempts at the tasks, as `agentdistill collect --failures` writes it.
        view: what is said about an attempt; a view's `type` and options.
        context: the policy that shows everything else; a `type` and that policy's options.
        place: the words stand "after" or "before" what the first user message says, as in the teacher `privileged`.
    """

    attempts: str
    view: Annotated[dict[str, Any], SectionOf("view")] = Field(
        default_factory=lambda: {"type": "sd-zero", "good": False}
    )
    context: Annotated[dict[str, Any], SectionOf("context")] = Field(default_factory=lambda: {"type": "append"})
    place: Literal["after", "before"] = "after"


class ViewedContext(AroundContext):
    """Another policy's prompts with the words of a view in them.

    Args:
        config: options.
        registry: where view and inner policy are looked up.

    Raises:
        ConfigError: the view tells of single turns.
        DataError: the store holds no attempt that the view has anything to say about.
    """

    def __init__(self, config: ViewedConfig, registry: PluginRegistry) -> None:
        super().__init__(config.context, registry)
        view: View = registry.build("view", config.view, "env.context.view", registry=registry)
        self._config, self._view = config, view.fingerprint
        self._words = _words(config.attempts, view, str(config.view["type"]))
        self._held_out = 0

    def messages(self, situation: Situation) -> list[Message]:
        """The inner policy's messages, with the view's words about an attempt at the task where there is one."""
        messages = self.inner.messages(situation)
        words = self._words.get(_key(situation.about)) if situation.about is not None else None
        if words is None:
            return messages
        return with_privileged(messages, Privileged(words), len(situation.steps), self._config.place)

    def hold_out(self, tasks: Sequence[Task]) -> None:
        """Never again shows an attempt at tasks that are about to be evaluated."""
        self._held_out += sum(self._words.pop(_key(task), None) is not None for task in tasks)
        if hasattr(self.inner, "hold_out"):
            self.inner.hold_out(tasks)

    def notes(self) -> list[str]:
        """What was shown, and what was held out."""
        inner = self.inner.notes() if hasattr(self.inner, "notes") else []
        what = f"attempts at {len(self._words):,} tasks shown by the view {self._config.view['type']}"
        return [f"{what}; those at {self._held_out:,} held out", *inner]

    @property
    def prompt_hash(self) -> str:
        """Sixteen hex digits over the view, what it says, and the policy inside."""
        said = digest(sorted(self._words.items()))
        return digest(["viewed", self._view, self._config.place, said, self.inner.prompt_hash])[:16]


def _key(task: Task) -> Key:
    return task.env, task.split, task.key


def _words(store: str, view: View, name: str) -> dict[Key, str]:
    """What a view says at the beginning of each task: about the first attempt that it has anything to say about."""
    attempts: dict[Key, list[Trajectory]] = {}
    for trajectory in TrajectoryStore(Path(store)).read():
        attempts.setdefault(_key(trajectory.task), []).append(trajectory)
    found: dict[Key, str] = {}
    for key, group in attempts.items():
        for shown in view.show(group):
            if shown is not None and shown.turns:
                raise ConfigError(
                    f"The view `{name}` tells of single turns.",
                    "An attempt's turns are not those of the episode that is played now.",
                    "Choose a view of whole episodes, such as `sd-zero`, for env.context.view.",
                )
            if shown is not None and shown.opening:
                found.setdefault(key, shown.opening)
    if not found:
        raise DataError(
            f"The view `{name}` has nothing to say about any attempt in {store}.",
            f"It holds attempts at {len(attempts):,} tasks.",
            "Collect some with `agentdistill collect --agent student --failures`: without it lost ones are not kept.",
        )
    return found
