"""WebShop as a Gymnasium environment: text in, text out, no web server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.envs.task_env import TaskEnv
from agentdistill.errors import EnvironmentFailure
from agentdistill.records import Task
from agentdistill_webshop.config import WebshopConfig
from agentdistill_webshop.expert import Expert
from agentdistill_webshop.shop import Page, Visit
from agentdistill_webshop.source import WebshopSource


class WebshopEnv(TaskEnv[WebshopSource, WebshopConfig]):
    """One instruction, one purchase.

    Actions are `search[keywords]`, on any page, and `click[value]` with something the page has. Anything else changes
    nothing and has `info["valid"]` False. The purchase ends the episode; its reward, from 0 to 1, is the score, and
    `won` is a reward of 1.

    Besides the keys of `agentdistill.envs.base.INFO_KEYS`, info has "task_key", "task_type", "split", and
    "score_details": what the reward is made of, None until something is bought.

    Args:
        source: where goals come from; None makes one from `options`.
        render_mode: "ansi" or None.
        **options: fields of `WebshopConfig`, e.g. `split="test"`, `observation="text_rich"`.

    Raises:
        ConfigError: an option is wrong.
    """

    title = "WebShop"
    source_class = WebshopSource
    config_class = WebshopConfig

    def __init__(self, *, source: WebshopSource | None = None, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(source=source, render_mode=render_mode, **options)
        self._visit: Visit | None = None
        self._task: Task | None = None
        self._expert: Expert | None = None
        self._wants_expert = False
        self._steps = 0
        self._over = False
        self._last = ""

    @property
    def visit(self) -> Visit:
        """The state of the episode, to look at.

        Raises:
            EnvironmentFailure: there is no episode.
        """
        if self._visit is None:
            raise EnvironmentFailure("No episode has started.", do="Call reset() first.")
        return self._visit

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: seed of `np_random`, which draws the task when none is given.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have
                the expert's action at every step.

        Returns:
            The search page, and info.

        Raises:
            ConfigError: an option is unknown.
            DataError: the task or its split is unknown, or the catalogue's data is missing or damaged.
        """
        given = self._begin(seed, options)
        self._visit = None  # a task that is not there must not leave the last one in play
        self._task = self._choose(given.get("task"))
        goal = self.source.goal(self._task)
        self._visit = Visit(
            self.source.catalogue, goal, self.source.tagger[1], rich=self.config.observation == "text_rich"
        )
        self._wants_expert = bool(given.get("expert", False))
        self._expert, self._steps, self._over, self._last = None, 0, False, ""
        return self._visit.observation(), self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Does what an action says.

        Args:
            action: `search[keywords]` or `click[value]`.

        Returns:
            Observation, reward, terminated, truncated, info. The reward is that of the purchase, else 0.

        Raises:
            EnvironmentFailure: there is no episode, or it is over.
        """
        visit = self.visit
        if self._over:
            raise EnvironmentFailure("The episode is over.", do="Call reset() before the next step().")
        valid = visit.act(action)
        self._steps += 1
        self._last = action
        bought = visit.page is Page.DONE
        limit = self.config.step_limit
        truncated = not bought and limit is not None and self._steps >= limit
        self._over = bought or truncated
        reward = visit.score.reward if visit.score is not None else 0.0
        return visit.observation(), reward, bought, truncated, self._info(valid)

    def expert_action(self) -> str | None:
        """What the expert would do now, whatever happened so far; None when something was bought.

        The expert may be asked in any episode, also in one that `reset` started without it.

        Raises:
            EnvironmentFailure: there is no episode.
        """
        visit = self.visit
        if self._expert is None:
            self._expert = Expert(self.source.catalogue, visit.goal)
        return self._expert.action(visit)

    def render(self) -> str:
        """The last action and its observation, as text."""
        shown = self.visit.observation()
        return f"> {self._last}\n{shown}" if self._steps else shown

    def close(self) -> None:
        """Forgets the episode. Closing twice is allowed."""
        self._visit = self._expert = None

    def _draw(self) -> Task:
        return self.source.draw(self.config.split, self.np_random)

    def _info(self, valid: bool) -> dict[str, Any]:
        visit, task = self.visit, self._task
        assert task is not None
        score = visit.score
        info: dict[str, Any] = {
            "admissible_actions": visit.admissible(),
            "won": score is not None and score.reward == 1.0,
            "score": score.reward if score is not None else 0.0,
            "task": visit.goal.instruction,
            "valid": valid,
            "task_key": task.key,
            "task_type": visit.goal.category,
            "split": task.split,
            "score_details": score.to_dict() if score is not None else None,
        }
        if self._wants_expert:
            info["expert_action"] = self.expert_action()
        return info
