"""What stands under "In a recipe" on a method's page: a layer that chooses it and runs over a recipe that ships.

    agentdistill train tcod-alfworld starter layer.toml

A layer holds the method, options without a default, and whatever the method cannot do without. Options that have a
default are in the page's table. tests/method_docs/test_page_recipes.py resolves and assembles the layer of every page.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentdistill.config.schema import LISTS, section_kinds
from agentdistill.plugins.registration import Registration

BASE = ("tcod-alfworld", "starter")
"""The recipes that a layer is laid over."""

EXAMPLES = {
    "url": '"http://localhost:8000/v1"',
    "model": '"served-name"',
    "store": '"collected"',
    "attempts": '"collected"',
}
"""Values of options without a default, by name; a new one of a method with such an option belongs here."""

SIBLINGS = """
[rollout]
samples_per_task = 4            # episodes of one task are compared
"""

OUTCOME = f"""
[reward]
type = "outcome"
{SIBLINGS}"""

GRPO = """
[advantage]
type = "grpo"
"""

COMPANIONS = {
    "advantage": OUTCOME,
    "fusion": GRPO + OUTCOME,
    "reward": GRPO + SIBLINGS,
    "filter/outcomes": GRPO + OUTCOME,
    "filter/balance": SIBLINGS,
    "loss/qcrd": SIBLINGS,
    "loss/uni-opd": SIBLINGS,
    "curriculum/pope": SIBLINGS,
    "step-weight/sage": """
[reward]
type = "gate-judge"             # writes the annotation that the weight reads
url = "http://localhost:8000/v1"
model = "served-name"
""",
    "step-weight/turn-equal": """
[optim]
reduction = "token-mean"        # the weight evens out lengths itself
""",
}
"""What a method is used with, by kind or by kind and name."""

MEMBERS = """
[teacher.members.first]
type = "local"
model = "starter-teacher"

[teacher.members.second]
type = "expert"
"""

PRIVILEGED = """
[teacher]
type = "privileged"

[teacher.view]
type = "VIEW"

[teacher.teacher]
type = "self"

[[filter]]
type = "scored"                 # leaves out turns that the view has nothing to say about
"""

WHOLE = {
    "fusion/tide": f"""
[fusion]
type = "tide"

[advantage]
type = "gigpo"                  # turns of the same state are compared
episode = 0.0
{OUTCOME}""",
    "reward/overlong": f"""
[[reward]]
type = "overlong"
limit = 16                      # as rollout.max_new_tokens
buffer = 4

[[reward]]
type = "outcome"
{GRPO}{SIBLINGS}""",
    "teacher/chat": """
loss = false                    # it writes turns to imitate, and scores none
step_weight = false

[teacher]
type = "chat"
url = "http://localhost:8000/v1"
model = "served-name"

[curriculum]
type = "sopd"
""",
    "teacher/cross": """
[teacher]
type = "cross"

[teacher.teacher]
type = "local"
model = "another/family"
""",
    "teacher/local": """
[teacher]
type = "local"
model = "starter-teacher"
""",
    "teacher/mixture": f"""
[teacher]
type = "mixture"
{MEMBERS}""",
    "teacher/privileged": PRIVILEGED.replace("VIEW", "opsd"),
    "teacher/route": f"""
[teacher]
type = "route"
default = "first"
rules = [{{ teacher = "second", expert = true }}]
{MEMBERS}""",
}
"""Layers of methods that hold others, or that several sections of one name make."""

COMMANDS = {
    "engine/endpoint": "agentdistill eval {base} layer.toml",
    "engine/cascade": "agentdistill eval {base} layer.toml",
    "selection": "agentdistill select {base} --data collected --by {name} \\\n"
    "    --student starter --teacher starter-teacher --share 0.5 --output chosen",
}
"""Commands that are not `train`, by kind or by kind and name."""


def _of(table: Mapping[str, str], entry: Registration) -> str:
    return table.get(f"{entry.kind}/{entry.name}", table.get(entry.kind, ""))


def layer(entry: Registration) -> str:
    """A TOML layer that chooses a plugin; "" for what no recipe chooses."""
    if entry.kind == "view":
        return PRIVILEGED.replace("VIEW", entry.name).strip()
    if whole := _of(WHOLE, entry):
        return whole.strip()
    path = next((path for path, kind in section_kinds().items() if kind == entry.kind), None)
    if path is None:
        return ""
    head = f"[[{path}]]" if path in LISTS else f"[{path}]"
    required = [name for name, field in entry.config_class().model_fields.items() if field.is_required()]
    lines = [head, f'type = "{entry.name}"', *(f"{name} = {EXAMPLES[name]}" for name in required)]
    return "\n".join([*lines, _of(COMPANIONS, entry)]).strip()


def command(entry: Registration) -> str:
    """The command that runs it."""
    found = _of(COMMANDS, entry) or "agentdistill train {base} layer.toml"
    return found.format(base=" ".join(BASE), name=entry.name)
