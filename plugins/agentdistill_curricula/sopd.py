"""SOPD (arXiv 2608.16333): at every state the student visits, the teacher writes its own turn, which is imitated.

The student plays; then the teacher is asked what it would have written before each of the student's turns, from the
very same prompt. Imitating those turns is DAgger with a language model as the expert: the states are the student's, the
words are whole turns of the teacher. It needs no score of a token, so it works with teachers that only write.

Formula: L = mean_k mean_j -log pi_S(s_kj | h_k, s_k<j), with h_k the student's history before turn k and s_k the
teacher's turn there. A history of one turn makes it supervised fine-tuning.

Defaults: the teacher writes greedily, the student's own turns are not trained. For the mean over turns set
`optim.reduction = "turn-mean"`; the token mean lets long turns count more.

Differences: the paper packs all teacher turns of an episode into one row with a mask; here each turn has a row that
repeats its history as context: the same loss. On CPUs the learner feeds a common history once, on other devices each
row costs its whole length. `distill = true` keeps the run's loss on the student's own turns besides, which is not in
the paper.

Proof tests: tests/curricula/test_sopd.py (prompts are the student's to the token, one imitated turn for each visited
state, the gradient is that of the demonstrations alone, no log-ratio on the teacher's turns).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Actor, EpisodePlan, LossRole, Relabel, Task
from agentdistill.training.curriculum import CurriculumBase, Progress


class SopdConfig(PluginConfig):
    """Who relabels.

    Attributes:
        guide: who writes at the student's states: the "teacher", or the environment's "expert".
        temperature: the teacher's; 0 is greedy.
        distill: also train the student's own turns with the run's loss.
        horizon: turns the student plays; None is whole episodes.
    """

    guide: Literal["teacher", "expert"] = "teacher"
    temperature: float = Field(default=0.0, ge=0.0)
    distill: bool = False
    horizon: int | None = Field(default=None, ge=1)


class Sopd(CurriculumBase):
    """Whole episodes of the student, relabelled."""

    def __init__(self, config: SopdConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.needs = frozenset({config.guide})

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """An ordinary episode that is relabelled afterwards."""
        config = self.config
        horizon = None if config.horizon is None or config.horizon >= progress.max_steps else config.horizon
        return EpisodePlan(
            horizon=horizon,
            guide_actor=Actor(config.guide),
            student_role=LossRole.DISTILL if config.distill else LossRole.NONE,
            relabel=Relabel(Actor(config.guide), config.temperature),
        )
