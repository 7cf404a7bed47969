"""Demonstrations become token rows, with the same prompts a student would have seen."""

from __future__ import annotations

import dataclasses

from agentdistill.conversation.base import ContextPolicy, Situation
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import DataError
from agentdistill.records import LossRole, Step, Trajectory


def tokenize_demonstration(trajectory: Trajectory, renderer: ChatRenderer, context: ContextPolicy) -> Trajectory:
    """Renders an episode's text as token rows for imitation.

    Tokens of steps with role `IMITATE`, terminator included, carry the step's index in `step_of_token`; all others
    are context, among them those of mistakes made on purpose and of replayed prefixes (role `NONE`). `mask` is False
    and `old_logprob` NaN everywhere: nobody sampled anything.

    A response that follows the context's format is kept word for word; any other is written anew from its action.

    Args:
        trajectory: an episode whose steps hold observations, responses and actions.
        renderer: turns messages into tokens.
        context: the context policy the student will play with.

    Returns:
        A copy with rows, and steps that point into them; steps that are not learned from have `row` -1.

    Raises:
        DataError: the record lacks something the context shows: the goal, or the admissible actions.
    """
    goal = trajectory.meta.get("goal")
    if goal is None:
        raise DataError(
            f"The trajectory of task {trajectory.task.key!r} cannot be tokenised: it does not say what the goal was.",
            'Its `meta` has no "goal".',
            "Collect it again with this version.",
        )
    needs_admissible = "admissible_actions" in getattr(context, "needs", ())
    builder = RowBuilder(renderer)
    done: list[Step] = []
    for step in trajectory.steps:
        if needs_admissible and "admissible_actions" not in step.info:
            raise DataError(
                f"The trajectory of task {trajectory.task.key!r} cannot be shown with this context policy.",
                "The policy lists the admissible actions of every step, and they were not recorded.",
                "Collect it again with that context policy, or turn the policy's `admissible` off.",
            )
        admissible = step.info.get("admissible_actions", ())
        messages = context.messages(Situation(str(goal), step.observation, admissible, done, trajectory.task))
        builder.turn(messages)
        response = _response(step, context)
        learn = step.loss_role is LossRole.IMITATE
        row, start, end = builder.written(step.index, renderer.response(response), learn=learn)
        if not learn:
            row, start, end = -1, 0, 0
        done.append(dataclasses.replace(step, response=response, info=dict(step.info), row=row, start=start, end=end))
    return without_idle_rows(
        dataclasses.replace(trajectory, steps=done, rows=builder.rows(), meta=dict(trajectory.meta))
    )


def _response(step: Step, context: ContextPolicy) -> str:
    parsed = context.parse(step.response)
    if not step.action or (parsed.well_formed and parsed.action == step.action):
        return step.response
    return context.render_action(step.action)


def without_idle_rows(trajectory: Trajectory) -> Trajectory:
    """Drops rows no step learns from, such as a windowed prompt whose response was a mistake made on purpose."""
    used = sorted({step.row for step in trajectory.steps if step.row >= 0})
    place = {old: new for new, old in enumerate(used)}
    for step in trajectory.steps:
        if step.row >= 0:
            step.row = place[step.row]
    return dataclasses.replace(trajectory, rows=[trajectory.rows[old] for old in used])
