"""What a run does, while it does it: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from agentdistill.diagnostics import Alert
    from agentdistill.evaluate.result import EvalResult
    from agentdistill.records import Trajectory
    from agentdistill.training.run import RunResult

SHOWN_TURNS = 4
"""Turns of a curve that fit into a line."""


class Progress:
    """Shows a run. On a terminal the current step is redrawn in place; elsewhere steps become lines.

    Use it as a context manager, so that the terminal is put back after an error.

    Args:
        console: where to write; None is stdout.
        interval: least seconds between two lines of steps where nothing is redrawn; the first and the last
            step are always shown.
    """

    def __init__(self, console: Console | None = None, interval: float = 10.0) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._interval = interval
        self._times: deque[float] = deque(maxlen=20)
        self._printed = -float("inf")
        self._started: float | None = None
        self._live: Live | None = None
        self._skipped: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def plan(self, lines: Sequence[str]) -> None:
        """Says what the run will do.

        Args:
            lines: a few lines, each beginning with its subject.
        """
        for line in lines:
            self._line(line)

    def step(self, metrics: Mapping[str, Any]) -> None:
        """Shows a finished optimiser step.

        Args:
            metrics: metrics of the learner and the rollout, with "step" (steps done) and "steps" (of the run).
        """
        now = time.monotonic()
        self._times.append(float(metrics.get("time/step", 0.0) or (now - self._started if self._started else 0.0)))
        self._started = now
        done, total = int(metrics["step"]), int(metrics["steps"])
        line = step_line(metrics, self._remaining(done, total))
        if self._console.is_terminal:
            self._redraw(line, done, total)
        elif done in (1, total) or now - self._printed >= self._interval:
            self._printed, self._skipped = now, None
            self._line(line)
        else:
            self._skipped = line

    def eval(self, result: EvalResult) -> None:
        """Shows the headline of an evaluation."""
        from agentdistill.evaluate.table import headline

        self._flush()
        self._line(f"eval     {headline(result)}")

    def warn(self, alert: Alert) -> None:
        """Shows a warning, once."""
        self._flush()
        self._console.print(Text(f"warning  step {alert.step}: {alert}", style="yellow"))

    def done(self, result: RunResult) -> None:
        """Shows what the run did: before, after, the two paired by task, and where everything is."""
        from agentdistill.evaluate.table import paired_line

        self._flush()
        self._stop()
        if result.after is not None:
            before = f"   before {result.before.success}" if result.before is not None else ""
            self._line(f"after    {result.after.panel}  {result.after.success}{before}")
        if result.comparison is not None:
            self._line(f"         {paired_line(result.comparison.overall)}")
        self._line(f"saved    {result.directory}/  (student, checkpoints, results.json, episodes)")

    def episodes(self, total: int) -> Callable[[Trajectory], None]:
        """Counts episodes as they end.

        Args:
            total: how many there will be.

        Returns:
            What to call with each episode.
        """
        ended, won = 0, 0
        began = time.monotonic()

        def count(trajectory: Trajectory) -> None:
            nonlocal ended, won
            ended, won = ended + 1, won + trajectory.success
            left = (time.monotonic() - began) / ended * (total - ended)
            line = f"episode {ended:>4} of {total}  won {won}  eta {_clock(left)}"
            if self._console.is_terminal:
                self._redraw(line, ended, total)
            elif ended == total or ended * 10 // total != (ended - 1) * 10 // total:
                self._line(line)

        return count

    def show(self, picture: RenderableType) -> None:
        """Shows a table."""
        self._stop()
        self._console.print(picture)

    def note(self, line: str) -> None:
        """Shows any other line."""
        self._flush()
        self._line(line)

    def _remaining(self, done: int, total: int) -> float:
        """Seconds to go, from the median of the latest steps: one evaluation in between does not disturb it."""
        ordered = sorted(self._times)
        return ordered[len(ordered) // 2] * (total - done)

    def _line(self, line: str) -> None:
        self._console.print(Text(line))

    def _flush(self) -> None:
        """Prints the latest step if it was held back, so that what follows has its context."""
        if self._skipped is not None:
            self._line(self._skipped)
            self._skipped = None

    def _redraw(self, line: str, done: int, total: int) -> None:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=total, completed=done, width=40), Text(f"{done}/{total}"))
        picture = Group(Text(line, no_wrap=True, overflow="ellipsis"), bar)
        if self._live is None:
            self._live = Live(picture, console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(picture, refresh=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def step_line(metrics: Mapping[str, Any], remaining: float) -> str:
    """One step on one line; what the metrics do not have is left out.

    Args:
        metrics: as for `Progress.step`.
        remaining: seconds to go.
    """
    parts = [f"step {int(metrics['step']):>4}"]
    if "curriculum/depth" in metrics:
        parts.append(f"depth {metrics['curriculum/depth']:.0f}")
    if "rollout/success" in metrics:
        parts.append(f"success {metrics['rollout/success']:.2f}")
    elif "loss/imitate_token" in metrics:
        parts.append(f"loss {metrics['loss/imitate_token']:.3f}")
    for label, name in (("KL/turn", "kl"), ("w", "weight")):
        values = _curve(metrics, name)
        if values:
            more = " …" if len(values) > SHOWN_TURNS else ""
            parts.append(f"{label} {' '.join(f'{value:.2f}' for value in values[:SHOWN_TURNS])}{more}")
    if metrics.get("tokens_per_second"):
        parts.append(f"{_short(metrics['tokens_per_second'])} tok/s")
    parts.append(f"eta {_clock(remaining)}")
    return "  ".join(parts)


def _curve(metrics: Mapping[str, Any], name: str) -> list[float]:
    if not any(key.startswith("turn/") for key in metrics):
        return []
    from agentdistill.learner.metrics import curve

    return list(curve(metrics, name).values())


def _short(number: float) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else f"{number:.0f}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
