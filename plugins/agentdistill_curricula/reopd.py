"""ReOPD (arXiv 2607.04763): one turn of the student on the history of a recorded episode, without an environment.

A recorded episode of a teacher or expert is shown up to a turn; the student writes that turn, the teacher scores it,
and nothing is executed. Rollouts cost one response instead of an episode, and the histories are ones the teacher knows
its way in: histories made by a student are where it is least reliable.

Formula: turn t of an episode of L turns is drawn with p_t = kappa^t / sum_{s<L} kappa^s; the loss is that of the run.

Defaults: kappa = 0.6 (the paper's), which prefers early turns: deep histories of a good teacher are states the student
would hardly reach ("prefix trap"). kappa = 1 is uniform.

Differences: the released code also routes tasks to one of several teachers; here the run has one. The shortest
successful recording of a task is used. A task without a recording gives an episode without turns, which costs nothing
and trains nothing (`note["recorded"]` is 0): playing it live would be another method.

Recordings come from `[demonstrations]`: a store that `agentdistill collect` wrote (of the expert, or of a teacher that
is named as its student), or "expert", which plays the environment's expert once for each task, when first asked.

Proof tests: tests/curricula/test_reopd.py (p_t, no environment is made or called, the prompt is the one that was
recorded, only the student's turn is trained).
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Actor, EpisodePlan, Task
from agentdistill.training.curriculum import CurriculumBase, Progress
from agentdistill_curricula.draws import uniform


class ReopdConfig(PluginConfig):
    """Which turns are replayed.

    Attributes:
        kappa: ratio of the probabilities of a turn and the one before it, in (0, 1]; 1 is uniform.
    """

    kappa: float = Field(default=0.6, gt=0.0, le=1.0)


def probabilities(kappa: float, turns: int) -> list[float]:
    """p_t for t = 0 .. turns - 1."""
    powers = [kappa**turn for turn in range(turns)]
    total = sum(powers)
    return [power / total for power in powers]


def draw(kappa: float, turns: int, number: float) -> int:
    """The turn that a number in [0, 1) falls on."""
    reached = 0.0
    for turn, probability in enumerate(probabilities(kappa, turns)):
        reached += probability
        if number < reached:
            return turn
    return turns - 1


class Reopd(CurriculumBase):
    """Draws the turn from the episode's own seed."""

    needs = frozenset({"recordings"})

    def __init__(self, config: ReopdConfig) -> None:
        """Keeps the options."""
        self.config = config

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """The recorded history of one turn, and that turn for the student."""
        recording = progress.recording(task)
        turns = 0 if recording is None else min(len(recording.actions), progress.max_steps)
        if recording is None or not turns:
            return EpisodePlan(offline=True, horizon=1, note={"recorded": 0.0})
        turn = draw(self.config.kappa, turns, uniform("turn", progress.seed))
        # One action more than is shown tells an expert teacher what the expert did there.
        return EpisodePlan(
            prefix=recording.actions[:turn],
            prefix_actor=Actor.EXPERT if recording.expert else Actor.TEACHER,
            horizon=1,
            recording=recording.upto(turn + 1),
            offline=True,
            note={"recorded": 1.0, "turn": float(turn)},
        )
