"""Tool use as a Gymnasium environment: text in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.envs.task_env import TaskEnv
from agentdistill.errors import DataError, EnvironmentFailure
from agentdistill.records import Task
from agentdistill_tools import expert, formats, gym
from agentdistill_tools.config import ToolsConfig
from agentdistill_tools.questions import Row, grade
from agentdistill_tools.source import Generated, ToolsSource
from agentdistill_tools.toolbox import Toolbox


class ToolsEnv(TaskEnv[ToolsSource, ToolsConfig]):
    """One question, tools, one answer.

    A turn calls tools, whose results come back as the observation, or answers, which ends the episode: `won` says
    whether the verifier gives the answer a score of 1. A turn that cannot be read, or asks for a tool or arguments that
    do not exist, costs a turn and has `info["valid"]` False; a tool that fails is an observation, and valid.

    Besides the keys of `agentdistill.envs.base.INFO_KEYS`, info has "task_key", "task_type", "split", and "tool_calls"
    and "tool_errors", counted over the last turn. No actions are listed: there is no end of them.

    Args:
        source: where questions come from; None makes one from `options`.
        render_mode: "ansi" or None.
        **options: fields of `ToolsConfig`, e.g. `split="test"`.

    Raises:
        ConfigError: an option is wrong.
    """

    title = "tool use"
    source_class = ToolsSource
    config_class = ToolsConfig

    def __init__(self, *, source: ToolsSource | None = None, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(source=source, render_mode=render_mode, **options)
        self._toolbox: Toolbox | None = None
        self._scorer = gym.Scorer()
        self._task: Task | None = None
        self._question: Generated | Row | None = None
        self._text = ""
        self._first = ""
        self._history: list[tuple[str, str]] = []
        self._results: dict[str, str] = {}
        self._wants_expert = False
        self._over = False
        self._score = 0.0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: seed of `np_random`, which draws the task when none is given.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have the
                expert's action at every step.

        Returns:
            Instructions, tools and the question; and info.

        Raises:
            ConfigError: an option is unknown, a tool cannot be had, or there is no sandbox for the tool `python`.
            DataError: the task or its split is unknown, or the questions cannot be read.
        """
        given = self._begin(seed, options)
        self._task = self._choose(given.get("task"))
        self._question = self.source.question(self._task)
        self._wants_expert = bool(given.get("expert", False))
        if self._toolbox is None:
            self._toolbox = Toolbox(self.config)
        self._text = _clean(self._ask(self._question))
        told = formats.instructions(self.config.format, self._toolbox.schemas())
        self._first = f"{told}{formats.QUESTION}{self._text}"
        self._history, self._results = [], {}
        self._over, self._score = False, 0.0
        return self._first, self._info(True, 0, 0)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Takes a turn.

        Args:
            action: what the agent wrote.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            EnvironmentFailure: there is no episode, it is over, or the sandbox broke.
        """
        if self._question is None:
            raise EnvironmentFailure("No episode has started.", do="Call reset() first.")
        if self._over:
            raise EnvironmentFailure("The episode is over.", do="Call reset() before the next step().")
        turn = self._read(action)
        calls = errors = 0
        valid, terminated = not turn.problem, False
        if turn.answer is not None:
            self._score = self._grade(turn.answer)
            terminated = True
            observation = "Your answer is right." if self._score >= 1 else "Your answer is wrong."
        elif turn.problem:
            observation = formats.write_problem(turn.problem, self.config.format)
        else:
            observation, calls, errors, valid = self._call(turn)
        observation = _clean(observation)
        self._history.append((action, observation))
        limit = self.config.step_limit
        truncated = not terminated and limit is not None and len(self._history) >= limit
        self._over = terminated or truncated
        reward = self._score if self.config.reward == "score" else float(self._won)
        return observation, reward if terminated else 0.0, terminated, truncated, self._info(valid, calls, errors)

    def expert_action(self) -> str | None:
        """What the scripted expert would do now, whatever happened so far; None when it knows no way.

        Raises:
            EnvironmentFailure: there is no episode.
        """
        if self._question is None or self._toolbox is None:
            raise EnvironmentFailure("No episode has started.", do="Call reset() first.")
        if self._over or isinstance(self._question, Row):
            return None
        plan = expert.plan(self._question.family, self._text, self._toolbox.names)
        if plan is None:
            return None
        call = formats.write_call(plan.tool, plan.arguments, self.config.format)
        result = self._results.get(call)
        return call if result is None else formats.write_answer(result, self.config.format)

    def render(self) -> str:
        """The last turn and its observation, as text."""
        return f"> {self._history[-1][0]}\n{self._history[-1][1]}" if self._history else self._first

    def close(self) -> None:
        """Ends helper processes and servers. Closing twice is allowed."""
        self._scorer.close()
        if self._toolbox is not None:
            self._toolbox.close()
            self._toolbox = None
        self._question = None

    @property
    def _won(self) -> bool:
        return self._score >= 1

    def _draw(self) -> Task:
        if not self.source.tasks(self.config.split):
            raise DataError(f"The split `{self.config.split}` has no questions.", do="Choose another `env.split`.")
        return super()._draw()

    def _ask(self, question: Generated | Row) -> str:
        if isinstance(question, Row):
            return question.question
        text = gym.item(question.family, question.options, question.first_seed, question.index)["question"]
        return str(text).strip()

    def _grade(self, answer: str) -> float:
        question = self._question
        if isinstance(question, Row):
            return grade(answer, question.answers)
        assert question is not None
        return self._scorer(question.family, question.options, question.first_seed, question.index, answer)

    def _read(self, action: str) -> formats.Turn:
        most = self.config.action_chars
        if len(action) > most:
            return formats.Turn(problem=f"A turn of {len(action)} characters is too long; {most} are allowed.")
        turn = formats.read_turn(action, self.config.format)
        if len(turn.calls) > self.config.calls_per_turn:
            most = self.config.calls_per_turn
            return formats.Turn(problem=f"{len(turn.calls)} tool calls in one turn are too many; {most} are allowed.")
        return turn

    def _call(self, turn: formats.Turn) -> tuple[str, int, int, bool]:
        assert self._toolbox is not None
        results, valid = [], True
        for call in turn.calls:
            outcome = self._toolbox.call(call)
            results.append((call.name[:100], _clean(outcome.text), outcome.failed))
            valid = valid and outcome.accepted
            if not outcome.failed:
                self._results[formats.write_call(call.name, call.arguments, self.config.format)] = outcome.text
        failed = sum(one[2] for one in results)
        return formats.write_results(results, self.config.format), len(results), failed, valid

    def _info(self, valid: bool, calls: int, errors: int) -> dict[str, Any]:
        task = self._task
        assert task is not None and self._question is not None
        question = self._question
        info: dict[str, Any] = {
            "admissible_actions": [],
            "won": self._won,
            "score": self._score,
            "task": self._text,
            "valid": valid,
            "task_key": task.key,
            "task_type": question.type if isinstance(question, Row) else question.family,
            "split": task.split,
            "tool_calls": calls,
            "tool_errors": errors,
        }
        if self._wants_expert:
            info["expert_action"] = self.expert_action()
        return info


def _clean(text: str) -> str:
    """Text that can be written as UTF-8: JSON escapes can spell lone surrogates, and tools may return them."""
    return text.encode("utf-8", "replace").decode("utf-8")
