"""An episode as a teacher with another chat template and another tokenizer reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from agentdistill.conversation.base import ContextPolicy, Situation
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import TrainingError
from agentdistill.records import Step, Trajectory
from agentdistill.teachers.rerender import rerender
from agentdistill.teachers.views import Privileged


def read(trajectory: Trajectory, context: ContextPolicy, renderer: ChatRenderer) -> Trajectory:
    """The same conversation in the words of another template and the tokens of another tokenizer.

    Args:
        trajectory: an episode of the student.
        context: the context policy it was played with.
        renderer: the teacher's.

    Returns:
        The episode with the teacher's rows; steps that have tokens point into them. A template that rewrites what was
        said makes a row of every turn.

    Raises:
        TrainingError: the record does not tell what the student was shown.
    """
    builder, steps = RowBuilder(renderer), list[Step]()
    listed = "admissible_actions" in getattr(context, "needs", ())
    goal = str(trajectory.meta.get("goal", ""))
    for position, step in enumerate(trajectory.steps):
        if step.index != position or (listed and step.row >= 0 and "admissible_actions" not in step.info):
            raise TrainingError(
                f"A turn of the task {trajectory.task.key!r} cannot be shown to a teacher with another tokenizer.",
                "Its texts are read from the episode's record, which is not whole: turns before it, or the commands it "
                "was offered, are missing. Curricula that ask the teacher while the student plays make such records.",
                "Use a teacher with the student's tokenizer, or another curriculum.",
            )
        if step.info.get("replayed"):
            steps.append(step)
            continue
        admissible = step.info.get("admissible_actions") or ()
        situation = Situation(goal, step.observation, admissible, trajectory.steps[:position], trajectory.task)
        builder.turn(context.messages(situation))
        written = builder.written(step.index, renderer.response(step.response), learn=step.row >= 0)
        row, start, end = written if step.row >= 0 else (-1, 0, 0)
        steps.append(dataclasses.replace(step, row=row, start=start, end=end))
    return dataclasses.replace(trajectory, steps=steps, rows=builder.rows())


def check_prompts(trajectories: Sequence[Trajectory], context: ContextPolicy, renderer: ChatRenderer) -> None:
    """Makes sure that the student was shown what the texts of its episodes make.

    Args:
        trajectories: episodes, with the student's rows.
        context: the context policy.
        renderer: the student's.

    Raises:
        TrainingError: it was shown something else, for instance the words of a privileged view.
    """
    for trajectory in trajectories:
        try:
            rerender(trajectory, Privileged(), renderer=renderer, context=context)
        except TrainingError as error:
            raise TrainingError(
                error.what,
                "A teacher with another tokenizer reads the conversation that the context policy makes of the "
                "episode's texts, and the student was shown another.",
                "Use the context policy the episodes were played with; inside a privileged view, use a teacher with "
                "the student's tokenizer.",
            ) from error
