"""OPSD's view (arXiv 2601.18734): the teacher sees a reference solution of the very task.

One model, two prompts. The student sees x, the teacher x and a verified solution y*; the student's own response is
matched token by token with what the teacher would have written at that place:

    L = E_{y ~ pi(.|x)} (1/|y|) sum_t D( pi_T(.|x, y*, y_<t) || pi(.|x, y_<t) )

For an agent the solution is a list of actions in an environment that the student has since moved on in. Two forms:

    source = "expert"   before each turn, what the environment's expert would do now. It is right in every state the
                        student gets itself into, and the only form that needs no files.
    source = "FOLDER"   in the first message, the actions of a successful episode of the same task, from a trajectory
                        store (`agentdistill collect`). The shortest is taken; its thoughts are not shown.

A task without a solution gets no scores.

Defaults: the expert. The paper's objective is the loss `opsd`, its teacher `self` with frozen weights. Instance-level:
the plan warns. Differs from the paper, which is about single questions: there, the solution is text to be read once.
Proofs: hints by turn and by task; the response's tokens stay; a task without a solution has no scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill.store import TrajectoryStore
from agentdistill.teachers.views import Privileged, Scope
from agentdistill_views.words import numbered, tasks_of

SOLUTION = "A solution of this very task that is known to work:\n{steps}"
ADVICE = "An expert's next command in this situation: {action}"


class OpsdConfig(PluginConfig):
    """Where solutions come from.

    Attributes:
        source: "expert", or the folder of a trajectory store.
        solution: words around the actions of a whole solution, `{steps}` in them.
        advice: words around the expert's next action, `{action}` in them.
    """

    source: str = "expert"
    solution: str = SOLUTION
    advice: str = ADVICE


class Opsd:
    """See `OpsdConfig`."""

    scope: Scope = "instance"
    siblings = False

    def __init__(self, config: OpsdConfig) -> None:
        """Reads the solutions.

        Raises:
            DataError: the store has no successful episode.
        """
        self.config = config
        self._solutions = {} if config.source == "expert" else _solutions(Path(config.source))

    @property
    def needs(self) -> frozenset[str]:
        """The expert's actions, unless solutions come from a store."""
        return frozenset({"expert_action"} if self.config.source == "expert" else ())

    @property
    def fingerprint(self) -> str:
        """Over the words and every solution."""
        words = self.config.model_dump(exclude={"source"})
        return digest(["opsd", words, self.config.source == "expert", sorted(self._solutions.items())])[:16]

    def show(self, trajectories: Sequence[Trajectory]) -> list[Privileged | None]:
        """A solution for each episode whose task has one."""
        if self.config.source == "expert":
            return [self._advice(trajectory) for trajectory in trajectories]
        return [
            Privileged(opening=self.config.solution.replace("{steps}", self._solutions[key]))
            if key in self._solutions
            else None
            for key in tasks_of(trajectories)
        ]

    def _advice(self, trajectory: Trajectory) -> Privileged | None:
        """What the expert would do; turns it has nothing to say about have no scores."""
        known = {
            step.index: self.config.advice.replace("{action}", str(step.info["expert_action"]))
            for step in trajectory.steps
            if step.row >= 0 and step.info.get("expert_action") is not None
        }
        return Privileged(turns=known, scored=frozenset(known)) if known else None


def _solutions(folder: Path) -> dict[tuple[str, str, str], str]:
    """The shortest success of every task in a store; of equally short ones, the first."""
    best: dict[tuple[str, str, str], tuple[int, str]] = {}
    for trajectory in TrajectoryStore(folder).read():
        (key,) = tasks_of([trajectory])
        if trajectory.success and (key not in best or len(trajectory.steps) < best[key][0]):
            best[key] = (len(trajectory.steps), numbered(trajectory.steps))
    if not best:
        raise DataError(
            f"There is no reference solution in {folder}.",
            "It holds no successful episode.",
            'Collect some with `agentdistill collect`, or use `source = "expert"`.',
        )
    return {key: steps for key, (_, steps) in best.items()}
