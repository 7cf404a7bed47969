"""Any text environment that Gymnasium knows as a source of tasks: `[env] type = "module:Id-v0"`, no plugin needed.

A task is a seed. What the environment does not tell is filled in without pretending: no admissible actions when it
lists none, and success by a rule that is written into every result (see `GymnasiumConfig`).
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from agentdistill.errors import ConfigError, DataError
from agentdistill.plugins import PluginConfig
from agentdistill.plugins.suggest import hint
from agentdistill.plugins.targets import import_user_module
from agentdistill.records import Task

if TYPE_CHECKING:
    import gymnasium

    from agentdistill.envs.adapted import AdaptedEnv

BLOCK = 1_000_000
"""Seeds of two splits are this far apart, so that splits never share a task, however many are asked for."""

SPLITS = ("train", "valid", "test")
SUCCESS_KEYS = ("won", "is_success", "success")
"""Info keys that are taken for the environment's verdict when the first info has them and `won_key` names none."""

Tasks = Annotated[int, Field(ge=0, le=BLOCK)]


class GymnasiumConfig(PluginConfig):
    """Any text environment that Gymnasium knows.

    Attributes:
        split: split that `reset` draws from when it is given no task.
        arguments: keyword arguments of `gymnasium.make`.
        step_limit: steps after which episodes are truncated; unset is what the environment was registered with.
        train: number of tasks of the split "train": the seeds from `seed` on.
        valid: number of tasks of the split "valid": the seeds from `seed` + 1,000,000 on.
        test: number of tasks of the split "test": the seeds from `seed` + 2,000,000 on.
        seed: the first seed; another one gives other tasks.
        won_key: info key that says whether the task was solved; unset takes "won", "is_success" or "success" where
            the first info has it, and the reward otherwise.
        won_reward: without such a key, an episode is won when it terminates with a last reward above this.
        won_return: without such a key, and in place of `won_reward`: an episode that is over is won when its rewards
            sum up to this or more.
        score_key: info key of the score; without it the score is the sum of rewards.
        admissible_key: info key with the list of actions that are possible now; without it none is listed.
        valid_key: info key that says whether the last action was accepted; without it, one is accepted that lies in
            the action space and, where actions are listed, in the list.
        goal_key: info key with the goal in words.
        goal: the goal in words for every task, in place of `goal_key`. Without either, it is the first observation.
        expert_key: info key with an expert's action; reset then gets the option {"expert": true} when it is wanted.
        check_space: send only actions that lie in the action space (or are listed); others change nothing.
        refused: what the agent sees after an action that was not sent.
    """

    split: str = "train"
    arguments: dict[str, Any] = Field(default_factory=dict)
    step_limit: Annotated[int, Field(ge=1)] | None = None
    train: Tasks = 1000
    valid: Tasks = 100
    test: Tasks = 100
    seed: Annotated[int, Field(ge=0)] = 0
    won_key: str | None = None
    won_reward: float = 0.0
    won_return: float | None = None
    score_key: str = "score"
    admissible_key: str = "admissible_actions"
    valid_key: str = "valid"
    goal_key: str = "task"
    goal: str = ""
    expert_key: str | None = None
    check_space: bool = True
    refused: str = "This is no action here. Nothing happens."


class GymnasiumSource:
    """An `agentdistill.envs.base.EnvironmentSource` of a Gymnasium id.

    Args:
        name: the id, "Name-v0" or "namespace/Name-v0", behind "module:" when a module registers it.
        config: its options.
    """

    def __init__(self, name: str, config: GymnasiumConfig | None = None) -> None:
        self.config = config or GymnasiumConfig()
        self._name = name

    def __reduce__(self) -> tuple[type[GymnasiumSource], tuple[str, GymnasiumConfig]]:
        return GymnasiumSource, (self._name, self.config)

    @property
    def name(self) -> str:
        """The id, as it is written as the type of the environment."""
        return self._name

    def tasks(self, split: str) -> Sequence[Task]:
        """One task for each seed of a split.

        Raises:
            DataError: there is no such split.
        """
        if split not in SPLITS:
            raise DataError(
                f"`{self._name}` has no split `{split}`.{hint(split, SPLITS)}",
                f"The splits of a Gymnasium id are ranges of seeds: {', '.join(SPLITS)}.",
                "Choose one of them.",
            )
        first = self.config.seed + BLOCK * SPLITS.index(split)
        count = int(getattr(self.config, split))
        return [Task(self._name, split, f"seed-{seed}", seed=seed) for seed in range(first, first + count)]

    def make(self) -> AdaptedEnv:
        """Makes one environment.

        Raises:
            ConfigError: Gymnasium cannot make it, or it is no text environment.
        """
        from agentdistill.envs.adapted import AdaptedEnv

        return AdaptedEnv(self)

    def original(self) -> gymnasium.Env[Any, Any]:
        """The environment as Gymnasium makes it.

        Raises:
            ConfigError: Gymnasium cannot make it, or its actions are no text.
        """
        import gymnasium

        module, colon, _ = self._name.rpartition(":")
        try:
            if colon:
                import_user_module(module)
            limit = {} if self.config.step_limit is None else {"max_episode_steps": self.config.step_limit}
            env = gymnasium.make(self._name, disable_env_checker=True, **limit, **self.config.arguments)
        except Exception as error:
            # Gymnasium's own errors say it all; for others the type helps.
            told = f"{error}" if isinstance(error, gymnasium.error.Error) else f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"Gymnasium cannot make `{self._name}`.",
                f"{told.rstrip('.')}.",
                "See `agentdistill envs list`, or write module:Name-v0 for an id that a module registers.",
            ) from error
        for what, space in (("actions", env.action_space), ("observations", env.observation_space)):
            if not _is_text(space):
                env.close()
                raise ConfigError(
                    f"`{self._name}` is no text environment.",
                    f"Its {what} are {space}.",
                    "Wrap it so that it takes and gives text, or choose another.",
                )
        return env

    @functools.cached_property
    def won_key(self) -> str | None:
        """The info key that holds the environment's verdict, None when the reward decides."""
        if self.config.won_key is not None:
            return self.config.won_key
        if self.config.won_return is not None:
            return None
        env = self.original()
        try:
            _, info = env.reset(seed=self.config.seed)
        finally:
            env.close()
        return next((key for key in SUCCESS_KEYS if key in info), None)

    @property
    def success_rule(self) -> str:
        """When an episode counts as won, in words; part of every result."""
        if self.won_key is not None:
            return f"info[{self.won_key!r}]"
        if self.config.won_return is not None:
            return f"the rewards of the finished episode sum up to {self.config.won_return:g} or more"
        return f"the episode terminates with a last reward above {self.config.won_reward:g}"

    def provenance(self) -> dict[str, Any]:
        """The id, its arguments, the rule of success, and the version of what registers it.

        Raises:
            ConfigError: Gymnasium cannot make it.
        """
        env = self.original()
        limit = getattr(env.spec, "max_episode_steps", None)
        package = type(env.unwrapped).__module__.partition(".")[0]
        env.close()
        return {
            "environment": self._name,
            "won_when": self.success_rule,
            "step_limit": limit,
            "arguments": json.dumps(self.config.arguments, sort_keys=True, default=str),
            "versions": {package: _version(package)},
        }


def _is_text(space: Any) -> bool:
    try:
        return isinstance(space.sample(), str)
    # A space of somebody's own may not be able to draw; the first observation will tell.
    except Exception:
        return True


def _version(package: str) -> str | None:
    names = importlib.metadata.packages_distributions().get(package)
    return importlib.metadata.version(names[0]) if names else None
