"""An environment of Gymnasium, played under our contract. Importing this module imports gymnasium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium

from agentdistill.envs.probe import RuleBroken, answer_of_reset, answer_of_step
from agentdistill.envs.spaces import Utf8Text
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.records import Task

if TYPE_CHECKING:
    from agentdistill.envs.adapter import GymnasiumSource


class AdaptedEnv(gymnasium.Env[str, str]):
    """See `agentdistill.envs.adapter.GymnasiumConfig` for what is filled in, and how.

    Args:
        source: which environment, and its options.

    Raises:
        ConfigError: Gymnasium cannot make it, or it is no text environment.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, source: GymnasiumSource) -> None:
        self.source = source
        self.observation_space, self.action_space = Utf8Text(), Utf8Text()
        self._inner = source.original()
        self._limit: int | None = getattr(self._inner.spec, "max_episode_steps", None)
        self._listed: list[str] = []
        self._steps = 0
        self._return = 0.0
        self._score = 0.0
        self._goal = ""
        self._advice: str | None = None
        self._wants_expert = False

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: seed of `np_random`, which draws the task when none is given.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have
                the expert's action.

        Raises:
            ConfigError: the environment gives something else than text.
            DataError: there is no such task.
            EnvironmentFailure: the environment breaks Gymnasium's API.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        task = self._task(given.get("task"))
        self._wants_expert = bool(given.get("expert"))
        ask = {"expert": True} if self._wants_expert and self.source.config.expert_key else None
        answer = self._inner.reset(seed=task.seed, options=ask)
        if isinstance(answer, tuple) and len(answer) == 2 and not isinstance(answer[0], str):
            raise ConfigError(
                f"`{self.source.name}` is no text environment.",
                f"Its first observation is a {type(answer[0]).__name__}.",
                "Wrap it so that it gives text, or choose another.",
            )
        try:
            observation, info = answer_of_reset(answer)
        except RuleBroken as broken:
            raise self._failure(broken) from broken
        self._steps, self._return, self._score = 0, 0.0, 0.0
        config = self.source.config
        self._goal = config.goal or str(info.get(config.goal_key) or observation)
        return observation, self._info(info, valid=True, won=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Takes one action.

        Raises:
            EnvironmentFailure: the environment breaks Gymnasium's API, or does not say whether it was won.
        """
        self._steps += 1
        config = self.source.config
        if config.check_space and action not in self._listed and action not in self._inner.action_space:
            late = self._limit is not None and self._steps >= self._limit
            return config.refused, 0.0, False, late, self._known(valid=False, won=False)
        listed = self._listed
        try:
            observation, reward, terminated, truncated, info = answer_of_step(self._inner.step(action), action)
        except RuleBroken as broken:
            raise self._failure(broken) from broken
        truncated = bool(truncated) or (self._limit is not None and self._steps >= self._limit and not terminated)
        self._return += float(reward)
        won = self._won(info, float(reward), bool(terminated), terminated or truncated)
        valid = bool(info.get(config.valid_key, not listed or action in listed))
        return observation, float(reward), bool(terminated), truncated, self._info(info, valid=valid, won=won)

    def close(self) -> None:
        """Closes the environment."""
        self._inner.close()

    def _task(self, wanted: Any) -> Task:
        if isinstance(wanted, Task):
            return wanted
        tasks = self.source.tasks(self.source.config.split)
        if not tasks:
            raise DataError(f"The split `{self.source.config.split}` of `{self.source.name}` has no tasks.")
        if wanted is None:
            return tasks[int(self.np_random.integers(len(tasks)))]
        for task in tasks:
            if task.key == wanted:
                return task
        raise DataError(
            f"`{self.source.name}` has no task `{wanted}` in the split `{self.source.config.split}`.",
            f"It has {len(tasks)}, from `{tasks[0].key}` to `{tasks[-1].key}`.",
            "Choose one of them.",
        )

    def _won(self, info: Mapping[str, Any], reward: float, terminated: bool, over: bool) -> bool:
        key, config = self.source.won_key, self.source.config
        if key is not None:
            if over and key not in info:
                raise EnvironmentFailure(
                    f"`{self.source.name}` does not say whether the episode was won.",
                    f"Success is read from info[{key!r}]; the last info has: {', '.join(map(str, info)) or 'nothing'}.",
                    "Name another key with `won_key`, or unset it to go by the reward.",
                )
            return bool(info.get(key, False))
        if config.won_return is not None:
            return over and self._return >= config.won_return
        return terminated and reward > config.won_reward

    def _info(self, info: Mapping[str, Any], *, valid: bool, won: bool) -> dict[str, Any]:
        config = self.source.config
        self._listed = [str(action) for action in info.get(config.admissible_key) or ()]
        self._score = float(info.get(config.score_key, self._return))
        advice = info.get(config.expert_key) if config.expert_key else None
        self._advice = None if advice is None else str(advice)
        return self._known(valid=valid, won=won)

    def _known(self, *, valid: bool, won: bool) -> dict[str, Any]:
        """Our info, from what the environment said last."""
        info = {
            "admissible_actions": list(self._listed),
            "won": won,
            "score": self._score,
            "task": self._goal,
            "valid": valid,
        }
        return {**info, "expert_action": self._advice} if self._wants_expert else info

    def _failure(self, broken: RuleBroken) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"`{self.source.name}` breaks Gymnasium's API.", f"{broken}.", "Mend the environment."
        )
