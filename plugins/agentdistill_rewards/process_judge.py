"""A generative process reward: a score for every turn and one for the whole episode (after Fin-PRM, arXiv 2508.15202).

    r_k = (1 - zeta) q_k / n  +  zeta Q 1[k is the last step]         q_k, Q in [0, 1], n turns of the student

so that the sum is the ranking score of the episode, the mean of its turns' scores blended with its own. One question
per episode: the judge sees the transcript with the turns numbered, names the principles that matter for this goal,
applies them turn by turn, and ends with <turn index="k">s</turn> for each turn of the student and <episode>S</episode>.

Fin-PRM trains a model for this and blends the two levels with weights that are tuned; here any endpoint can be asked,
and `zeta` is one number. Its knowledge check against a reference answer needs one, which environments do not have.

Each q_k is also written to the turn's annotation `process`, for weights, filters and `progress`.
Defaults: zeta 0.5. A turn that is missing from the answer makes it unreadable.
Proofs: tests/rewards/test_judges.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from pydantic import Field

from agentdistill.clients import ChatRequest
from agentdistill.records import Trajectory
from agentdistill_rewards.judging import Judge, JudgeConfig, annotate, ask, last, number, transcript, unread
from agentdistill_rewards.llm_judge import SYSTEM
from agentdistill_rewards.turns import Rewards, nothing, own

PRINCIPLES = (
    "A good turn brings the goal nearer or finds out something that is needed for it, follows from what was observed, "
    "and cannot be undone only where that is right. A bad one repeats what did not work, ignores what was seen, or "
    "leads away from the goal."
)


class ProcessJudgeConfig(JudgeConfig):
    """A judge of turns and episodes.

    Attributes:
        principles: what a good turn is.
        zeta: share of the episode's own score in the sum.
    """

    principles: str = Field(default=PRINCIPLES, min_length=1)
    zeta: float = Field(default=0.5, ge=0.0, le=1.0)


class ProcessJudge(Judge):
    """Scores every turn of the student.

    Raises:
        ConfigError: the variable with the endpoint's key is not set.
        MissingExtraError: the extra `api` is not installed.
    """

    annotates: ClassVar[frozenset[str]] = frozenset({"process"})

    def __init__(self, config: ProcessJudgeConfig) -> None:
        super().__init__(config)
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Rewards]:
        """Blended scores; float32 [steps].

        Raises:
            TrainingError: a judgement cannot be read, and `unreadable` says nothing.
        """
        turns = [[place for place, step in enumerate(t.steps) if own(step)] for t in trajectories]
        asked = [place for place, own_turns in enumerate(turns) if own_turns]
        reads = [partial(read_scores, wanted=[trajectories[p].steps[k].index for k in turns[p]]) for p in asked]
        functions: list[Callable[[str], tuple[list[float], float] | None]] = [*reads]
        verdicts = ask(self.client, [self.question(trajectories[p]) for p in asked], functions, self.config.attempts)
        rewards = [nothing(trajectory) for trajectory in trajectories]
        for place, verdict in zip(asked, verdicts, strict=True):
            trajectory, mine = trajectories[place], turns[place]
            if verdict is None:
                value = unread(self.config, trajectory, '<turn index="k">s</turn> and <episode>s</episode>')
                verdict = [value] * len(mine), value
            scores, whole = verdict
            for k, value in zip(mine, scores, strict=True):
                rewards[place][k] = (1.0 - self.config.zeta) * value / len(mine)
                annotate(trajectory.steps[k], "process", value)
            rewards[place][-1] += self.config.zeta * whole
        return rewards

    def question(self, trajectory: Trajectory) -> ChatRequest:
        """What the judge is asked about an episode."""
        judged = ", ".join(str(step.index) for step in trajectory.steps if own(step))
        return ChatRequest.of(
            f"{transcript(trajectory, self.config.show_end)}\n\n{self.config.principles}\nFirst name the principles "
            f"that matter for this goal. Then apply them to each of the turns {judged} in one sentence each. Then end "
            'with one line per turn, <turn index="N">S</turn>, and one for the whole, <episode>S</episode>, where S is '
            "a number from 0 (harmful) to 1 (as good as it can be).",
            SYSTEM,
        )


def read_scores(text: str, wanted: Sequence[int]) -> tuple[list[float], float] | None:
    """The scores of the wanted turns and of the episode, None when one of them is missing or no number in [0, 1]."""
    found: dict[int, float | None] = {}
    for index, value in re.findall(r'<turn index="?(\d+)"?>\s*([^<]*?)\s*</turn>', text, re.IGNORECASE):
        found[int(index)] = number(value, 0.0, 1.0)
    scores = [value for value in (found.get(index) for index in wanted) if value is not None]
    whole = number(last("episode", text), 0.0, 1.0)
    return (scores, whole) if whole is not None and len(scores) == len(wanted) else None
