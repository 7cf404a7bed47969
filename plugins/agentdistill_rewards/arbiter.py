"""A pairwise process reward (WebArbiter, arXiv 2601.21872): whether an action is better than another at its point.

    r_k = v_k / n      v_k = +1  the judge prefers the student's action
                             -1  it prefers the other one
                              0  it contradicts itself when the two change places, or there is nothing to compare

for the student's n turns. As in the paper the judge first derives the principles that matter for this goal and state,
then applies them to both candidates, then names one. The candidates are two actions at the same state; here the other
one is

* "sibling": the action of another episode of the batch, of the same task and with the same actions before, that did
  something else at this point (the lowest such in the batch);
* "expert": what the environment's expert would have done, where it was recorded (`expert_action`) and differs.

The paper asks once; we ask in both orders, which costs twice and takes the place out of it. The reasoning of the
candidates is shown. v_k goes into the turn's annotation `arbiter` as 1, 0.5 or 0; a turn without an alternative has
none. The paper's model is trained; any endpoint can be asked here.
Defaults: against siblings, the whole history is shown. Proofs: tests/rewards/test_judges.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from agentdistill.clients import ChatRequest
from agentdistill.records import Step, Trajectory
from agentdistill_rewards.judging import Judge, JudgeConfig, annotate, ask, goal, last, quoted, turn, unread
from agentdistill_rewards.llm_judge import SYSTEM
from agentdistill_rewards.turns import Rewards, nothing, own


class ArbiterConfig(JudgeConfig):
    """A judge of actions.

    Attributes:
        against: where the other action comes from, "sibling" or "expert".
        history: most earlier turns that are shown; false for all.
    """

    against: Literal["sibling", "expert"] = "sibling"
    history: int | None = Field(default=None, ge=0)


Candidate = tuple[str, str]
"""What was written, and the action."""


class Arbiter(Judge):
    """Compares the student's actions with others at the same state.

    Raises:
        ConfigError: the variable with the endpoint's key is not set.
        MissingExtraError: the extra `api` is not installed.
    """

    annotates: ClassVar[frozenset[str]] = frozenset({"arbiter"})

    def __init__(self, config: ArbiterConfig) -> None:
        super().__init__(config)
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Rewards]:
        """Preferences over the number of the student's turns; float32 [steps].

        Raises:
            TrainingError: a verdict cannot be read, and `unreadable` says nothing.
        """
        found = siblings(trajectories) if self.config.against == "sibling" else experts(trajectories)
        requests = []
        for (place, k), other in found.items():
            step = trajectories[place].steps[k]
            mine = (step.response, step.action)
            requests += [self.question(trajectories[place], k, *two) for two in ((mine, other), (other, mine))]
        verdicts = ask(self.client, requests, [_read] * len(requests), self.config.attempts)
        rewards = [nothing(trajectory) for trajectory in trajectories]
        for number, (place, k) in enumerate(found):
            forth, back = verdicts[2 * number], verdicts[2 * number + 1]
            if forth is None or back is None:
                value = unread(self.config, trajectories[place], "<better>first</better>")
            else:
                value = (forth - back) / 2
            steps = trajectories[place].steps
            rewards[place][k] = value / sum(own(step) for step in steps)
            annotate(steps[k], "arbiter", (value + 1) / 2)
        return rewards

    def question(self, trajectory: Trajectory, k: int, first: Candidate, second: Candidate) -> ChatRequest:
        """What the judge is asked about two actions at step k."""
        begin = 0 if self.config.history is None else max(0, k - self.config.history)
        shown = [f"<{name}>\n{_shown(*two)}\n</{name}>" for name, two in (("first", first), ("second", second))]
        return ChatRequest.of(
            "<transcript>\n" + "\n".join([f"<goal>{goal(trajectory)}</goal>", *map(turn, trajectory.steps[begin:k])])
            + f"\n<observation>\n{quoted(trajectory.steps[k].observation)}\n</observation>\n</transcript>\n"
            + "\n".join(shown) + "\n\nWhich of the two does more for the goal at this point? First derive the "
            "principles that matter for this goal in this state. Then apply them to both. Then end with "
            "<better>first</better> or <better>second</better>.",
            SYSTEM,
        )  # fmt: skip


def siblings(trajectories: Sequence[Trajectory]) -> dict[tuple[int, int], Candidate]:
    """Another episode's different turn at the same state, by (episode, step)."""
    seen: dict[tuple[object, ...], list[Step]] = {}
    places: dict[tuple[int, int], tuple[object, ...]] = {}
    for place, t in enumerate(trajectories):
        for k, step in enumerate(t.steps):
            done = tuple(earlier.action for earlier in t.steps[:k])
            state: tuple[object, ...] = (t.task.env, t.task.split, t.task.key, t.task.seed, done, step.observation)
            seen.setdefault(state, []).append(step)
            if own(step):
                places[place, k] = state
    found = {}
    for (place, k), state in places.items():
        mine = trajectories[place].steps[k].action
        other = next((step for step in seen[state] if step.action and step.action != mine), None)
        if other is not None:
            found[place, k] = (other.response, other.action)
    return found


def experts(trajectories: Sequence[Trajectory]) -> dict[tuple[int, int], Candidate]:
    """The expert's different action, by (episode, step)."""
    return {
        (place, k): ("", str(advice))
        for place, t in enumerate(trajectories)
        for k, step in enumerate(t.steps)
        if own(step) and (advice := step.info.get("expert_action")) and advice != step.action
    }


def _shown(response: str, action: str) -> str:
    thought = f"<response>\n{quoted(response)}\n</response>\n" if response and response.strip() != action else ""
    return f"{thought}<action>{quoted(action)}</action>"


def _read(text: str) -> int | None:
    return {"first": 1, "second": -1}.get((last("better", text) or "").lower())
