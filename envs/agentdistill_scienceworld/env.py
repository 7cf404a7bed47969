"""ScienceWorld as a Gymnasium environment: text in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.envs.task_env import TaskEnv
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.records import Task
from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.gold import GoldPath, gold_actions
from agentdistill_scienceworld.simulator import Outcome, Simulator
from agentdistill_scienceworld.source import ScienceWorldSource
from agentdistill_scienceworld.variations import SIZES, SPLITS, variations

FULL_SCORE = 100

_HIDDEN_FORMS = ("reset task", "task")
"""Forms left out of the compact prompt: one undoes the episode, the other repeats what the prompt says anyway."""


class ScienceWorldEnv(TaskEnv[ScienceWorldSource, ScienceWorldConfig]):
    """One variation of one task, in text.

    `info["score"]` is the simulator's, from -100 to 100 points; the reward of a step is its change, divided by 100.
    `terminated` is True when the simulator says that the task is over, or the score is negative (the agent focused on
    the wrong thing); `won` is a score of 100. A command that is not understood takes no time and has `info["valid"]`
    False.

    Besides the keys of `agentdistill.envs.base.INFO_KEYS`, info has "moves" (commands that took time), "task_key",
    "task_type" and "split".

    Args:
        source: where tasks come from; None makes one from `options`.
        render_mode: "ansi" or None.
        **options: fields of `ScienceWorldConfig`, e.g. `split="test"`.

    Raises:
        ConfigError: an option is wrong.
    """

    title = "ScienceWorld"
    source_class = ScienceWorldSource
    config_class = ScienceWorldConfig

    def __init__(
        self, *, source: ScienceWorldSource | None = None, render_mode: str | None = None, **options: Any
    ) -> None:
        super().__init__(source=source, render_mode=render_mode, **options)
        self._simulator: Simulator | None = None
        self._task: Task | None = None
        self._path: GoldPath | None = None
        self._goal = ""
        self._last = ("", "")
        self._outcome: Outcome | None = None
        self._steps = 0
        self._over = False

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: seed of `np_random`, which draws the task when none is given. The worlds themselves know no chance.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have
                the expert's action at every step.

        Returns:
            The first observation, and info.

        Raises:
            ConfigError: an option is unknown, or the simplifications do not go with the task.
            DataError: the task or its split is unknown.
            MissingExtraError: Java or the extra is not installed.
            EnvironmentFailure: the simulator failed.
        """
        given = self._begin(seed, options)
        self._outcome = None  # a world that cannot be loaded must not leave the last one in play
        task = self._choose(given.get("task"))
        name, number = self._variation(task)
        simulator = self._ready()
        simplification = self.config.simplification
        self._path = None
        if given.get("expert", False):
            self._path = GoldPath(gold_actions(simulator, name, number, simplification))
        simulator.load(name, number, simplification)
        self._task, self._steps, self._over = task, 0, False
        self._goal = simulator.goal()
        if self.config.prompt == "compact":
            forms = ", ".join(form for form in simulator.forms() if form not in _HIDDEN_FORMS)
            self._goal += f"\nCommands have these forms, with OBJ for a thing: {forms}"
        self._outcome = simulator.step("look around")
        observation = self._observe()
        self._last = ("", observation)
        return observation, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Sends a command.

        Args:
            action: the command.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            EnvironmentFailure: there is no episode, it is over, or the simulator failed.
        """
        simulator, before = self._playing()
        if self._over:
            raise EnvironmentFailure("The episode is over.", do="Call reset() before the next step().")
        self._outcome = outcome = simulator.step(action)
        self._steps += 1
        if self._path is not None:
            self._path.record(action, outcome)
        terminated = outcome.completed or outcome.score < 0 or outcome.score >= FULL_SCORE
        limit = self.config.step_limit
        truncated = not terminated and limit is not None and self._steps >= limit
        self._over = terminated or truncated
        observation = self._observe()
        self._last = (action, observation)
        return observation, (outcome.score - before.score) / 100, terminated, truncated, self._info()

    def render(self) -> str:
        """The last command and its observation, as text."""
        action, observation = self._last
        return f"> {action}\n{observation}" if action else observation

    def close(self) -> None:
        """Gives the simulator back; the last environment of a process ends the JVM. Closing twice is allowed."""
        self._outcome = None
        if self._simulator is not None:
            simulator, self._simulator = self._simulator, None
            simulator.close()

    def _variation(self, task: Task) -> tuple[str, int]:
        name, _, number = task.key.rpartition("/")
        known = name in SIZES and task.split in SPLITS and number in map(str, variations(name, task.split))
        if not known:
            raise DataError(
                f"The split `{task.split}` of ScienceWorld has no task `{task.key}`.",
                do="List the tasks of a split with `source.tasks(split)`.",
            )
        if "noElectricalAction" in self.config.simplification and ("power-" in name or "conductivity" in name):
            raise ConfigError(
                f"The task `{name}` cannot be done without electrical actions.",
                f"env.simplification is {self.config.simplification!r}.",
                'Take out `noElectricalAction` ("easy" knows these tasks), or choose other tasks with env.tasks.',
            )
        return name, int(number)

    def _ready(self) -> Simulator:
        if self._simulator is not None and not self._simulator.jvm.alive:
            self._simulator.close()
            self._simulator = None
        if self._simulator is None:
            self._simulator = Simulator(self.config.heap_mb)
        return self._simulator

    def _playing(self) -> tuple[Simulator, Outcome]:
        if self._simulator is None or self._outcome is None:
            raise EnvironmentFailure("No episode has started.", do="Call reset() first.")
        return self._simulator, self._outcome

    def _observe(self) -> str:
        simulator, outcome = self._playing()
        parts = [outcome.text.strip()]
        if self.config.observation == "room":
            room = simulator.room()
            parts += [text for text in (room, simulator.inventory()) if text != parts[0]]
        if self.config.prompt == "compact":
            parts.append(f"Things you can name: {', '.join(simulator.things())}")
        return "\n\n".join(parts)

    def _info(self) -> dict[str, Any]:
        simulator, outcome = self._playing()
        assert self._task is not None
        won = outcome.score >= FULL_SCORE
        info: dict[str, Any] = {
            "admissible_actions": simulator.commands() if self.config.admissible and not self._over else [],
            "won": won,
            "score": float(outcome.score),
            "task": self._goal,
            "valid": outcome.valid,
            "moves": outcome.moves,
            "task_key": self._task.key,
            "task_type": self._task.type,
            "split": self._task.split,
        }
        if self._path is not None:
            info["expert_action"] = None if won else self._path.action()
        return info
