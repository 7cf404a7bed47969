"""The model card: what the student is, what it reached, what that cost, and how to ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentdistill.config.toml import dump
from agentdistill.evaluate.compare import compare
from agentdistill.evaluate.result import EvalResult
from agentdistill.evaluate.statistics import Estimate
from agentdistill.evaluate.table import paired_line
from agentdistill.hashing import neutral

UNKNOWN_LICENSE = (
    "The card of the model it started from states none on this machine, so none is stated here: that model's licence "
    "holds for these weights."
)


def model_card(
    *,
    name: str,
    base: str,
    adapter: bool,
    license: str,
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    asked: Mapping[str, Any],
    checks: Sequence[str],
    versions: Mapping[str, Any],
) -> str:
    """Writes the card as Markdown with a front matter.

    Args:
        name: title.
        base: the model it started from.
        adapter: it was trained as an adapter, which is merged now.
        license: identifier of the licence, "" when unknown.
        config: resolved configuration of its run; empty without one.
        results: `results.json` of its run; empty without one.
        asked: the part of the configuration that says how it is asked.
        checks: sentences about what was compared.
        versions: `agentdistill.provenance.versions`.
    """
    config = neutral(config)
    parts = [
        _front(base, license, config),
        f"# {name}",
        _what(base, config, results),
        "## Measured success",
        *_success(results),
        "## Training",
        _training(base, adapter, config, results),
        "## Cost of the training",
        _cost(results),
        "## How to ask it",
        _use(asked, results),
        "## Checked",
        "\n".join(f"* {line}" for line in checks),
        "## Versions",
        _versions(versions, results),
        "## Licence",
        f"{license}." if license else UNKNOWN_LICENSE,
    ]
    return "\n\n".join(parts) + "\n"


def _front(base: str, license: str, config: Mapping[str, Any]) -> str:
    env = (config.get("env") or {}).get("type")
    lines = ["---"]
    lines += [f"license: {license}"] if license else []
    lines += [f"base_model: {base}"] if base.count("/") == 1 and not base.startswith((".", "/", "…")) else []
    lines += ["library_name: transformers", "pipeline_tag: text-generation"]
    lines += [f"tags: [agentdistill, agent{f', {env}' if env else ''}]", "---"]
    return "\n".join(lines)


def _what(base: str, config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    env, teacher, totals = config.get("env") or {}, config.get("teacher") or {}, results.get("totals") or {}
    if not config:
        return "A student trained with agentdistill. Nothing around it says how."
    asked = config.get("loss") or totals.get("teacher_written_tokens")
    taught = f", from the teacher {_teacher(teacher)}" if asked and teacher else ""
    return f"An agent for `{env.get('type')}`: {neutral(base) or 'a model'}, trained with agentdistill{taught}."


def _teacher(section: Mapping[str, Any]) -> str:
    """Who taught: model and type, and of a teacher made of others what each of them is."""
    kind, named = section.get("type"), section.get("model") or section.get("url")
    own = f"`{named}` ({kind})" if named else f"`{kind}`"
    inside = section.get("teacher")
    members = section.get("members")
    if isinstance(inside, Mapping):
        view = section.get("view")
        shown = f", shown `{view.get('type')}`" if isinstance(view, Mapping) else ""
        return f"{own} around {_teacher(inside)}{shown}"
    if isinstance(members, Mapping):
        return f"{own} of " + ", ".join(f"{name}: {_teacher(one)}" for name, one in members.items())
    return own


def _success(results: Mapping[str, Any]) -> list[str]:
    found = {part: results.get(part) for part in ("before", "after")}
    measured = {part: EvalResult.from_dict(data) for part, data in found.items() if data}
    if not measured:
        return ["It was not evaluated by its run. Nothing is known of how well it plays."]
    after = measured.get("after") or measured["before"]
    lines = ["| | panel | hash | episodes | success | 95% interval |", "|---|---|---|---|---|---|"]
    for part, result in measured.items():
        won = result.success
        named = f"{result.panel} | `{result.panel_hash}`"
        lines.append(f"| {part} training | {named} | {won.n} | {_share(won)} | {_interval(won)} |")
    parts = ["\n".join(lines)]
    if len(measured) == 2:
        gain = compare(measured["before"], measured["after"]).overall
        parts.append(f"After against before, {paired_line(gain)}.")
    types = after.success_by_type
    if len(types) > 1:
        table = ["| task type, after | won | of | success | 95% interval |", "|---|---|---|---|---|"]
        for kind, one in types.items():
            table.append(f"| {kind or '-'} | {round(one.value * one.n)} | {one.n} | {_share(one)} | {_interval(one)} |")
        parts.append("\n".join(table))
    protocol = after.protocol
    settings = ("max_steps", "temperature", "top_p", "max_new_tokens")
    facts = [f"{key.replace('_', ' ')} {protocol[key]}" for key in settings if key in protocol]
    environment = protocol.get("environment") or {}
    facts += [f"{key.replace('_', ' ')} {value}" for key, value in environment.items() if value is not None]
    aborted = f" {after.aborted} episodes aborted and are not counted." if after.aborted else ""
    parts.append(
        f"Played by {protocol.get('players')}; {', '.join(facts)}; prompt `{protocol.get('prompt_hash')}`; one run, "
        f"one seed ({after.seed}). Intervals are Wilson intervals over episodes and know nothing of other seeds."
        f"{aborted} Success is {protocol.get('success_rule')}."
    )
    return parts


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.1%}" if estimate.n else "-"


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.1%}, {estimate.high:.1%}]" if estimate.n else "-"


def _training(base: str, adapter: bool, config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    if not config:
        return "Unknown: no run lies around the student."
    optim, run = config.get("optim") or {}, config.get("run") or {}
    lora = (config.get("student") or {}).get("lora") or {}
    env = config.get("env") or {}
    rows = {
        "student": f"{neutral(base)}" + (f", LoRA of rank {lora.get('rank')}, merged here" if adapter else ""),
        "teacher": _teacher(config.get("teacher") or {}) if config.get("teacher") else "none",
        "tasks": f"{env.get('type')}/{env.get('split')}",
        "loss": (config.get("loss") or {}).get("type", "none"),
        "curriculum": (config.get("curriculum") or {}).get("type", "none"),
        "optimiser steps": optim.get("steps"),
        "learning rate": optim.get("lr"),
        "seed": run.get("seed"),
        "configuration": f"`{(results.get('provenance') or {}).get('config_hash', 'unknown')}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _cost(results: Mapping[str, Any]) -> str:
    totals = results.get("totals") or {}
    if not totals:
        return "Unknown: the run's results are not there."
    names = {
        "env_steps": "environment steps",
        "sampled_tokens": "tokens the student wrote",
        "teacher_tokens": "tokens the teacher read",
        "teacher_written_tokens": "tokens the teacher wrote",
        "teacher_cost_usd": "US dollars for the teacher, as the recipe's prices say",
        "judge_tokens": "tokens judges read and wrote",
        "judge_cost_usd": "US dollars for judges, as the recipe's prices say",
    }
    rows = ["| | |", "|---|---|"]
    for key, value in totals.items():
        if value:
            shown = f"{value:,.4f}" if key.endswith("_usd") else f"{value:,.0f}"
            rows.append(f"| {names.get(key, key)} | {shown} |")
    return "\n".join(rows) if len(rows) > 2 else "Nothing was counted: it imitated what was there."


def _use(asked: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    after = results.get("after") or results.get("before") or {}
    panel = str((after.get("panel") or {}).get("name", "ENV/PANEL")).partition(" (")[0]
    text = (
        "It is a plain `transformers` directory with its chat template; greedy or sampled, a response ends at the ids "
        f"of `generation_config.json`.\n\n```\nagentdistill eval --student.model DIR --panel {panel}\n```"
    )
    if asked:
        text += (
            "\n\nIt expects the prompts it was trained with; `config.toml` beside this card says them, and `eval` "
            f"reads it there.\n\n```toml\n{dump(asked).strip()}\n```"
        )
    return text


def _versions(versions: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    def line(found: Mapping[str, Any]) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in (found.get("packages") or {}).items())
        return f"agentdistill {found.get('agentdistill')}, Python {found.get('python')}, {packages}"

    trained = (results.get("provenance") or {}).get("versions")
    exported = f"Exported with {line(versions)}."
    return f"Trained with {line(trained)}.\n\n{exported}" if trained else exported
