"""Live on a terminal, lines elsewhere."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from agentdistill.cli.progress import Progress, step_line
from agentdistill.records import EpisodePlan, StopReason, Task, Trajectory


def metrics(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "steps": 10, "time/step": 60.0, "rollout/success": 0.312, **more}


def turns(count: int) -> dict[str, float]:
    rows: dict[str, float] = {}
    for turn in range(count):
        rows |= {f"turn/{turn}/tokens": 2.0, f"turn/{turn}/turns": 1.0}
        rows |= {f"turn/{turn}/kl_sum": 0.84 + turn, f"turn/{turn}/weight_sum": 1.0}
    return rows


def test_a_step_is_one_line():
    line = step_line(metrics(7, **turns(5), **{"curriculum/depth": 10.0, "tokens_per_second": 9812.0}), 252.0)
    assert line == (
        "step    7  depth 10  success 0.31  KL/turn 0.42 0.92 1.42 1.92 …  w 1.00 1.00 1.00 1.00 …  "
        "9.8k tok/s  eta 4:12"
    )
    assert step_line({"step": 3, "loss/imitate_token": 1.5}, 3700) == "step    3  loss 1.500  eta 1:01:40"


def test_plain_lines_are_throttled_but_the_first_and_last_are_shown():
    out = io.StringIO()
    with Progress(Console(file=out, width=200), interval=1000.0) as progress:
        progress.plan(["plan     something"])
        for step in range(1, 11):
            progress.step(metrics(step))
    lines = out.getvalue().splitlines()
    assert lines[0] == "plan     something"
    assert [line.split()[1] for line in lines[1:]] == ["1", "10"]
    assert lines[1].endswith("eta 9:00")


def test_what_follows_a_held_back_step_comes_after_it():
    out = io.StringIO()
    with Progress(Console(file=out, width=200), interval=1000.0) as progress:
        progress.step(metrics(1))
        progress.step(metrics(2))
        progress.note("a note")
    assert [line.split()[:2] for line in out.getvalue().splitlines()] == [["step", "1"], ["step", "2"], ["a", "note"]]


def test_a_terminal_is_redrawn_in_place_and_put_back_after_an_error():
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True)
    try:
        with Progress(console) as progress:
            progress.step(metrics(1))
            progress.step(metrics(2))
            raise ValueError
    except ValueError:
        pass
    assert "2/10" in out.getvalue() and out.getvalue().endswith("\x1b[?25h")  # the cursor is visible again


def test_episodes_are_counted():
    out = io.StringIO()
    trajectory = Trajectory(Task("e", "s", "k"), EpisodePlan(), [], [], StopReason.SUCCESS, success=True)
    with Progress(Console(file=out, width=200)) as progress:
        seen = progress.episodes(100)
        for _ in range(100):
            seen(trajectory)
    lines = out.getvalue().splitlines()
    assert len(lines) == 10 and lines[-1].startswith("episode  100 of 100  won 100  eta 0:00")
