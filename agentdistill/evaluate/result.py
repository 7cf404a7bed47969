"""What an evaluation found: every episode's outcome, and the numbers that follow from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentdistill.atomic import write_json
from agentdistill.codec import decode_value, encode_value, task_from_dict, task_to_dict
from agentdistill.errors import DataError
from agentdistill.evaluate.spending import Spent, dollars, total
from agentdistill.evaluate.statistics import Estimate, mean_estimate, wilson
from agentdistill.records import Panel, StopReason, Task

RESULT_VERSION = 1
"""Format of `results.json`."""

SUCCESS_RULE = "the environment's own verdict (info['won']), never derived from `done`; aborted episodes apart"
"""How success is counted; part of every result's protocol."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One episode of a panel.

    Attributes:
        task: the task.
        success: the environment's own verdict.
        stop: why it ended.
        steps: turns the student played; those that its engine gave to somebody else are among them.
        invalid: how many of them the environment did not accept or nobody could parse.
        score: the environment's final score.
        prompt_tokens: tokens that somebody else wrote (prompts, observations, template), counted once a row.
        sampled_tokens: tokens that the student sampled.
        spent: what the episode cost, by who was called, where the engine keeps account.
        teacher_steps: how many of `steps` somebody else than the student wrote.
    """

    task: Task
    success: bool
    stop: StopReason
    steps: int
    invalid: int
    score: float
    prompt_tokens: int
    sampled_tokens: int
    spent: Mapping[str, Spent] = field(default_factory=dict)
    teacher_steps: int = 0

    @property
    def aborted(self) -> bool:
        """The environment died: the episode says nothing about the student."""
        return self.stop is StopReason.ABORTED


@dataclass(frozen=True, slots=True)
class EvalResult:
    """An evaluation of one student over one panel. All numbers follow from `outcomes`.

    Attributes:
        panel: name of the panel.
        panel_hash: content hash of its task list.
        protocol: everything that makes two numbers comparable: step limit, sampling, prompt hash, success rule,
            samples per task, the environment's own settings. `compare` refuses two results that differ here.
        outcomes: one for each task of the panel, in its order.
        provenance: versions, configuration, models, panel data (see `agentdistill.provenance`).
        seed: seed of the sampling.
        seconds: wall-clock time; the one field that differs when an evaluation is repeated.
    """

    panel: str
    panel_hash: str
    protocol: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0

    @property
    def counted(self) -> list[Outcome]:
        """The outcomes that say something about the student: all but the aborted ones."""
        return [outcome for outcome in self.outcomes if not outcome.aborted]

    @property
    def aborted(self) -> int:
        """Number of episodes whose environment died."""
        return len(self.outcomes) - len(self.counted)

    @property
    def success(self) -> Estimate:
        """Success over the episodes that did not abort, with its Wilson interval."""
        return _success(self.counted)

    @property
    def success_by_type(self) -> dict[str, Estimate]:
        """Success of each task type, sorted by type."""
        types = sorted({outcome.task.type for outcome in self.counted})
        return {name: _success([o for o in self.counted if o.task.type == name]) for name in types}

    @property
    def mean_steps(self) -> Estimate:
        """Turns of an episode, won or not."""
        return mean_estimate([float(outcome.steps) for outcome in self.counted])

    @property
    def mean_steps_won(self) -> Estimate:
        """Turns of a won episode."""
        return mean_estimate([float(outcome.steps) for outcome in self.counted if outcome.success])

    @property
    def invalid_rate(self) -> float:
        """Share of the student's turns whose action was not accepted; NaN without any turn."""
        steps = sum(outcome.steps for outcome in self.counted)
        return sum(outcome.invalid for outcome in self.counted) / steps if steps else float("nan")

    @property
    def stops(self) -> dict[str, int]:
        """How often each stop reason occurred (those that did), in the order of the enum."""
        counts = {reason: sum(outcome.stop is reason for outcome in self.outcomes) for reason in StopReason}
        return {reason.value: count for reason, count in counts.items() if count}

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of all episodes."""
        return sum(outcome.prompt_tokens for outcome in self.outcomes)

    @property
    def sampled_tokens(self) -> int:
        """Sampled tokens of all episodes."""
        return sum(outcome.sampled_tokens for outcome in self.outcomes)

    @property
    def spent(self) -> dict[str, Spent]:
        """What all episodes cost, aborted ones included, by who was called; empty when nobody kept account."""
        return total(outcome.spent for outcome in self.outcomes)

    @property
    def teacher_steps(self) -> int:
        """Turns of all episodes that somebody else than the student wrote."""
        return sum(outcome.teacher_steps for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """The content of `results.json`. The summary is there to be read; reading back starts from the episodes."""
        return {
            "version": RESULT_VERSION,
            "panel": {"name": self.panel, "hash": self.panel_hash, "tasks": len(self.outcomes)},
            "summary": _summary(self),
            "protocol": encode_value(self.protocol),
            "seed": self.seed,
            "seconds": self.seconds,
            "provenance": encode_value(self.provenance),
            "episodes": [
                {
                    "task": task_to_dict(outcome.task),
                    "success": outcome.success,
                    "stop": outcome.stop.value,
                    "steps": outcome.steps,
                    "invalid": outcome.invalid,
                    "score": encode_value(outcome.score),
                    "prompt_tokens": outcome.prompt_tokens,
                    "sampled_tokens": outcome.sampled_tokens,
                    **_account(outcome),
                }
                for outcome in self.outcomes
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EvalResult:
        """Reverses `to_dict`.

        Raises:
            DataError: it was written by an unknown version, or its episodes are not those of its panel hash.
        """
        if data.get("version") != RESULT_VERSION:
            raise DataError(
                f"A result file has the format version {data.get('version')!r}.",
                f"This package reads version {RESULT_VERSION}.",
                "Read it with the version of agentdistill that wrote it.",
            )
        outcomes = tuple(
            Outcome(
                task=task_from_dict(episode["task"]),
                success=episode["success"],
                stop=StopReason(episode["stop"]),
                steps=episode["steps"],
                invalid=episode["invalid"],
                score=decode_value(episode["score"]),
                prompt_tokens=episode["prompt_tokens"],
                sampled_tokens=episode["sampled_tokens"],
                spent={who: Spent(**account) for who, account in episode.get("spent", {}).items()},
                teacher_steps=episode.get("teacher_steps", 0),
            )
            for episode in data["episodes"]
        )
        panel = Panel(data["panel"]["name"], tuple(outcome.task for outcome in outcomes))
        if panel.hash != data["panel"]["hash"]:
            raise DataError(
                f"A result over the panel `{panel.name}` does not hold that panel's episodes.",
                f"Its panel has the hash {data['panel']['hash']}, its episodes give {panel.hash}: the file was edited.",
                "Take the file as it was saved.",
            )
        return cls(
            panel=panel.name,
            panel_hash=panel.hash,
            protocol=decode_value(data["protocol"]),
            outcomes=outcomes,
            provenance=decode_value(data["provenance"]),
            seed=data["seed"],
            seconds=data["seconds"],
        )


def _success(outcomes: Sequence[Outcome]) -> Estimate:
    return wilson(sum(outcome.success for outcome in outcomes), len(outcomes))


def _account(outcome: Outcome) -> dict[str, Any]:
    """What is only there when an engine keeps account."""
    if not outcome.spent:
        return {}
    spent = {who: asdict(account) for who, account in outcome.spent.items()}
    return {"spent": spent, "teacher_steps": outcome.teacher_steps}


def _known(value: Any) -> Any:
    """The summary for other readers' eyes: what is unknown (NaN, an endless interval) is null."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary(result: EvalResult) -> dict[str, Any]:
    summary = {
        "success": asdict(result.success),
        "success_by_type": {name: asdict(value) for name, value in result.success_by_type.items()},
        "mean_steps": asdict(result.mean_steps),
        "mean_steps_won": asdict(result.mean_steps_won),
        "invalid_rate": result.invalid_rate,
        "stops": result.stops,
        "aborted": result.aborted,
        "tokens": {"prompt": result.prompt_tokens, "sampled": result.sampled_tokens},
    }
    if account := result.spent:
        summary["spent"] = {who: asdict(spent) for who, spent in account.items()}
        summary["usd"], summary["teacher_steps"] = dollars(account), result.teacher_steps
    return {key: _known(value) for key, value in summary.items()}


def save_result(result: EvalResult, path: Path) -> None:
    """Writes `results.json` atomically."""
    write_json(path, result.to_dict())


def load_result(path: Path, part: Literal["before", "after"] = "after") -> EvalResult:
    """Reads the result of an evaluation, or of a run.

    Args:
        path: a `results.json`, or the directory it lies in.
        part: which of the two to take when it is a run's, which holds the evaluations before and after.

    Raises:
        DataError: it is missing, no result file, or the run did not evaluate.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if "before" in data and "after" in data:
            if data[part] is None:
                raise DataError(
                    f"The run of {path} was not evaluated.", "", "Evaluate its student with `agentdistill eval`."
                )
            data = data[part]
        return EvalResult.from_dict(data)
    except FileNotFoundError as error:
        raise DataError(f"There is no result file {path}.", "", "Check the path.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no result file.", f"{type(error).__name__}: {error}.", "Check the path.") from error
