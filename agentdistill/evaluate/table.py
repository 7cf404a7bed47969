"""Results as tables: rich on a terminal, the same content as plain lines elsewhere."""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentdistill.evaluate.compare import Comparison
from agentdistill.evaluate.result import EvalResult
from agentdistill.evaluate.spending import spending_lines
from agentdistill.evaluate.statistics import Estimate, Paired


def _share(estimate: Estimate) -> str:
    return "-" if math.isnan(estimate.value) else f"{estimate.value:.1%}"


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.1%}, {estimate.high:.1%}]"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.1%} [{estimate.low:+.1%}, {estimate.high:+.1%}]"


def p_text(p_value: float) -> str:
    """A p-value as readers expect it: three decimals, or a power of ten when it is smaller."""
    if p_value >= 0.0005:
        return f"p = {p_value:.3f}"
    return "p < 1e-300" if p_value < 1e-300 else f"p = {p_value:.0e}"


def headline(result: EvalResult) -> str:
    """One line: panel, success, interval, number of episodes, aborted ones."""
    line = f"{result.panel}  success {result.success}"
    return f"{line}, {result.aborted} aborted" if result.aborted else line


def paired_line(paired: Paired) -> str:
    """One line: what was gained and lost, the difference with its interval, the exact test."""
    return (
        f"paired: +{paired.gained} won, {paired.lost} lost of {paired.n}, "
        f"difference {_signed(paired.difference)}, {p_text(paired.p_value)} (exact McNemar)"
    )


def _facts(result: EvalResult) -> list[str]:
    protocol, counted = result.protocol, len(result.counted)
    if not counted:
        return ["nothing was measured: the environment died in every episode"]
    steps = f"steps {result.mean_steps.value:.1f} mean"
    if any(outcome.success for outcome in result.counted):
        steps += f", {result.mean_steps_won.value:.1f} when won"
    stops = ", ".join(f"{name} {count}" for name, count in result.stops.items())
    facts = [f"{steps} · invalid actions {result.invalid_rate:.1%} · stops: {stops}"]
    if result.prompt_tokens or result.sampled_tokens:
        facts.append(f"tokens {result.prompt_tokens:,} prompt, {result.sampled_tokens:,} sampled")
    turns = sum(outcome.steps for outcome in result.outcomes)
    facts += spending_lines(result.spent, len(result.outcomes), turns, result.teacher_steps)
    facts += [_protocol_line(result), f"success: {protocol.get('success_rule')}"]
    engine = _environment_line(result)
    if engine:
        facts.append(engine)
    notes = result.provenance.get("panel", {}).get("notes", [])
    facts += [f"note: {note}" for note in [*notes, *result.provenance.get("notes", [])]]
    if result.aborted:
        won = sum(outcome.success for outcome in result.counted)
        facts.append(
            f"{result.aborted} episodes aborted (the environment died) and are not among the {counted}; "
            f"counted as lost, success would be {won / len(result.outcomes):.1%}"
        )
    return facts


def _protocol_line(result: EvalResult) -> str:
    """What makes two numbers incomparable, as far as it was chosen here."""
    protocol = result.protocol
    parts = [f"limit {protocol.get('max_steps')} steps"]
    if "temperature" in protocol:
        parts.append(f"temperature {protocol['temperature']}")
    if protocol.get("constrained"):
        parts.append("constrained to admissible actions")
    parts.append(str(protocol.get("players")))
    sampler = result.provenance.get("config", {}).get("engine", {}).get("type")
    if sampler and "temperature" in protocol:
        parts.append(f"sampled by {sampler}")
    if "prompt_hash" in protocol:
        parts.append(f"prompt {protocol['prompt_hash']}")
    return " · ".join([*parts, f"panel {result.panel_hash}"])


def _environment_line(result: EvalResult) -> str:
    environment = result.protocol.get("environment", {})
    parts = [f"{key} {value}" for key, value in environment.items() if isinstance(value, str | int | float)]
    return ", ".join(parts) if not parts or parts[0].startswith("environment ") else f"environment {', '.join(parts)}"


def result_table(result: EvalResult) -> RenderableType:
    """An evaluation as a table with its facts below."""
    table = Table(title=Text(result.panel), title_justify="left")
    table.add_column("task type")
    for heading in ("won", "of", "success", "95% interval"):
        table.add_column(heading, justify="right")
    rows = [(name or "(none)", estimate) for name, estimate in result.success_by_type.items()]
    for name, estimate in rows if len(rows) > 1 else []:
        table.add_row(Text(name), *_cells(estimate))
    if len(rows) > 1:
        table.add_section()
    table.add_row(Text("all"), *_cells(result.success), style="bold")
    return Group(table, *(Text(line) for line in _facts(result)))


def _cells(estimate: Estimate) -> list[Text]:
    won = "0" if estimate.n == 0 else str(round(estimate.value * estimate.n))
    return [Text(cell) for cell in (won, str(estimate.n), _share(estimate), _interval(estimate))]


def comparison_table(comparison: Comparison, before: str = "before", after: str = "after") -> RenderableType:
    """A comparison as a table.

    Args:
        comparison: what `compare` found.
        before: heading of the reference.
        after: heading of the other.
    """
    table = Table(title=Text(comparison.panel), title_justify="left")
    table.add_column("task type")
    for heading in ("tasks", before, after, "won", "lost", "difference, 95% interval", "p"):
        table.add_column(Text(heading), justify="right")
    rows = list(comparison.by_type.items()) if len(comparison.by_type) > 1 else []
    for name, paired in rows:
        table.add_row(Text(name or "(none)"), *_paired_cells(paired))
    if rows:
        table.add_section()
    table.add_row(Text("all"), *_paired_cells(comparison.overall), style="bold")
    lines = [paired_line(comparison.overall)]
    if comparison.left_out:
        lines.append(f"{comparison.left_out} tasks left out: the environment died on one side")
    lines += [f"allowed difference of the protocol: {text}" for text in comparison.differences]
    return Group(table, *(Text(line) for line in lines))


def _paired_cells(paired: Paired) -> list[Text]:
    cells = (
        str(paired.n),
        _share(paired.before),
        _share(paired.after),
        f"+{paired.gained}",
        f"-{paired.lost}",
        _signed(paired.difference),
        p_text(paired.p_value).removeprefix("p ").removeprefix("= "),
    )
    return [Text(cell) for cell in cells]


def as_text(renderable: RenderableType, width: int = 120) -> str:
    """Renders a table as plain text, the same on every machine."""
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
