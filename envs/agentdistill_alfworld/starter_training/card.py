"""The model card of a starter model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEMPLATE = """---
license: apache-2.0
pipeline_tag: text-generation
tags: [alfworld, text-game, agent]
---

# agentdistill starter: {name}

A very small language model that plays [ALFWorld](https://github.com/alfworld/alfworld)'s text games, trained from
nothing, so that distilling an agent can be tried on a laptop. It knows ALFWorld's text world and nothing else; it
is not an assistant, and its numbers say nothing about general language models of any size.

| | |
|---|---|
| architecture | {type}, {layers} layers, width {hidden}, tied embeddings |
| initial weights | random; the embedding of an entity is that of its type plus that of its number |
| parameters | {parameters:,} |
| vocabulary | {vocabulary} tokens: one for an entity (" apple 3") or a phrase, characters and bytes for the rest |
| stored, computed | bfloat16, float32 |
| format | `<first observation><act>command<end><observation><act>command<end>...` (see the chat template) |

## Training

{episodes:,} demonstrations in games that this package generates in the 116 ALFWorld rooms that are not rooms of
valid_unseen; every game is played twice, with its own goal and with one drawn evenly from all that its room allows. No
game of valid_seen or valid_unseen was trained on. How objects are placed was learned from the 200 real games of
valid_train. {lessons} The loss is cross-entropy on the expert's commands.

| | |
|---|---|
| run, seed | `{run}`, {seed} |
| optimiser steps | {steps:,} of batch {batch} (learning rates decay linearly over {decay_steps:,} steps) |
| optimiser | Muon {matrix_rate} for matrices, AdamW {other_rate} for embedding and norms, float32 |
| tokens read, learned from | {tokens:,}, {target_tokens:,} |
| final loss | {loss} nats a token |
| time | {cpu_seconds} s of one CPU core ({wall_seconds} s on the clock, on a shared machine) |

`scripts/make_starters` makes it again.

## Measured success

Greedy decoding, not constrained to admissible commands, no list of admissible commands in the prompt, {limit} steps at
most; one model, one seed. The intervals are 95% Wilson intervals over games and know nothing of other seeds.

{choice}

{table}

## Licence

Apache-2.0, as this package. Its data derives from ALFWorld and ALFRED (MIT).
"""

_CHOICE = {
    "teacher": (
        "valid_seen was looked at while the recipe was found: an earlier one (9,000 steps, no second goals, unrelated\n"
        "initial embeddings for an object's names) won 77% of it. The weights are those after the last step, not the\n"
        "best of several."
    ),
    "apprentice": (
        "The length of the run was chosen among two so that its success on valid_seen is near the number in its\n"
        "name; the weights are those after the last step."
    ),
    "student": (
        "A student is a snapshot of one training run, chosen because its success on valid_seen is near the number in\n"
        "its name. Success jumps between neighbouring snapshots, so another panel may rank the students otherwise."
    ),
}
"""How the weights were chosen, by training run."""

_LESSONS = {
    "recovery": (
        "A text-only expert plays; before {mistake_rate:.0%} of its turns a mistake is injected, which is never\n"
        "learned from, so that it shows how to recover."
    ),
    "apprentice": (
        "A text-only expert plays, and never errs; it plays only the three task types that need no\n"
        "appliance (place, look, two). So the model has never seen anything cleaned, heated or cooled, nor what to do\n"
        "after a mistake."
    ),
}
"""What was demonstrated; runs without a text of their own have the first."""

_SHORT = {
    "pick_and_place_simple": "place",
    "look_at_obj_in_light": "look",
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
    "pick_two_obj_and_place": "two",
}


def card(name: str, metrics: Mapping[str, Any]) -> str:
    """The text of a model card.

    Args:
        name: the model's name.
        metrics: content of its `metrics.json`.
    """
    evaluation = metrics["evaluation"]
    rows = [["games", *(f"{e['panel']}, {e['engine']} engine" for e in evaluation)]]
    rows += [["**all**", *(_overall(e) for e in evaluation)]]
    rows += [[short, *(_rate(*e["by_type"][kind]) for e in evaluation)] for kind, short in _SHORT.items()]
    rows += [["won within 30 steps", *(f"{e['won_short']}/{e['games']}" for e in evaluation)]]
    rows += [["mean steps when won", *(f"{e['mean_steps']}" for e in evaluation)]]
    rows += [["commands refused", *(f"{e['refused']:.1%}" for e in evaluation)]]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * (len(evaluation) + 1) + "|")
    facts = {**metrics["architecture"], **metrics["training"], **metrics["data"]}
    lessons = _LESSONS.get(facts["run"], _LESSONS["recovery"]).format(**facts)
    return _TEMPLATE.format(
        name=name,
        limit=evaluation[0]["limit"],
        table="\n".join(lines),
        choice=_CHOICE[facts["run"]],
        lessons=lessons,
        **facts,
    )


def _overall(entry: Mapping[str, Any]) -> str:
    return f"**{_rate(entry['won'], entry['games'], entry['low'], entry['high'])}**"


def _rate(won: float, games: float, low: float, high: float) -> str:
    share = f"{won / games:.1%}" if games else "–"
    return f"{won:.0f}/{games:.0f} = {share} [{low:.1%}, {high:.1%}]"
