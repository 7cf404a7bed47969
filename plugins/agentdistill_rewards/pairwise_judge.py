"""A language model compares episodes of the same task: the reward is the share of comparisons that an episode wins.

    r_last(i) = mean over opponents j of  (1[i beats j] + 1/2 1[tie])

Each pair is shown in both orders, because judges prefer a place: an episode wins a pair only by winning both, and two
verdicts that contradict each other are a tie. `opponents` limits the comparisons to the next episodes of the group in a
ring, so that n episodes cost 2 n opponents questions at most instead of n (n - 1).

An episode without another one of its task has nobody to compare with and gets 1/2, as does every pair whose verdict
cannot be read (`unreadable` is that pair's worth; false stops the run). Only orders are read, so scores cannot drift.
Proofs: tests/rewards/test_judges.py (a judge that always prefers the first place gives 1/2 to everybody; a transitive
judge ranks; the shares of a group sum to half its size).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agentdistill.clients import ChatRequest
from agentdistill.records import Trajectory
from agentdistill_rewards.judging import Judge, JudgeConfig, ask, last, transcript, unread
from agentdistill_rewards.llm_judge import RUBRIC, SYSTEM
from agentdistill_rewards.turns import Rewards, at_the_end


class PairwiseJudgeConfig(JudgeConfig):
    """A judge of pairs.

    Attributes:
        rubric: what to look at.
        opponents: most episodes that each is compared with as the first of the pair; false for all.
    """

    rubric: str = Field(default=RUBRIC, min_length=1)
    opponents: int | None = Field(default=None, ge=1)


class PairwiseJudge(Judge):
    """Compares the episodes of each task.

    Raises:
        ConfigError: the variable with the endpoint's key is not set.
        MissingExtraError: the extra `api` is not installed.
    """

    def __init__(self, config: PairwiseJudgeConfig) -> None:
        super().__init__(config)
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Rewards]:
        """The share of comparisons won, on the last step of each episode; float32 [steps].

        Raises:
            TrainingError: a verdict cannot be read, and `unreadable` says nothing.
        """
        found = pairs(trajectories, self.config.opponents)
        both = [(i, j) for pair in found for i, j in (pair, pair[::-1])]
        requests = [self.question(trajectories[i], trajectories[j]) for i, j in both]
        verdicts = ask(self.client, requests, [_read] * len(both), self.config.attempts)
        won: list[list[float]] = [[] for _ in trajectories]
        for place, (i, j) in enumerate(found):
            forth, back = verdicts[2 * place], verdicts[2 * place + 1]
            if forth is None or back is None:
                share = unread(self.config, trajectories[i], "<better>first</better>")
            else:
                total = forth - back  # the second question shows the pair the other way round
                share = 1.0 if total == 2 else 0.0 if total == -2 else 0.5
            won[i].append(share)
            won[j].append(1.0 - share)
        return [at_the_end(t, sum(w) / len(w) if w else 0.5) for t, w in zip(trajectories, won, strict=True)]

    def question(self, first: Trajectory, second: Trajectory) -> ChatRequest:
        """What the judge is asked about two episodes."""
        end = self.config.show_end
        return ChatRequest.of(
            f"<first>\n{transcript(first, end)}\n</first>\n<second>\n{transcript(second, end)}\n</second>\n\n"
            f"Which of the two episodes is better by this rubric?\n<rubric>\n{self.config.rubric}\n</rubric>\n"
            "First compare them in a few sentences. Then end with <better>first</better>, <better>second</better> or "
            "<better>tie</better>.",
            SYSTEM,
        )


def pairs(trajectories: Sequence[Trajectory], opponents: int | None) -> list[tuple[int, int]]:
    """Every pair of episodes of one task, once; with `opponents` each with so many next ones in its group's ring."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for place, t in enumerate(trajectories):
        if t.steps:
            groups.setdefault((t.task.env, t.task.split, t.task.key), []).append(place)
    found: dict[frozenset[int], tuple[int, int]] = {}
    for members in groups.values():
        size = len(members)
        for ahead in range(1, min(opponents or size - 1, size - 1) + 1):
            for place in range(size):
                pair = (members[place], members[(place + ahead) % size])
                found.setdefault(frozenset(pair), pair)
    return list(found.values())


def _read(text: str) -> int | None:
    """1 for the first, -1 for the second, 0 for a tie, None when nothing can be read."""
    return {"first": 1, "second": -1, "tie": 0}.get((last("better", text) or "").lower())
