"""What a benchmark's papers did, beside what is being done here: size of the panel, step limit.

A panel states it in its provenance: `published`, the number of tasks that papers report on, and `published_steps`,
the step limits they use. Whatever differs becomes a note that is printed below every result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from agentdistill.records import Panel

SIZE = "published"
"""Key of a panel's provenance: the number of tasks in the publications."""

STEPS = "published_steps"
"""Key of a panel's provenance: the step limits of the publications, a list."""


def with_size_note(panel: Panel) -> Panel:
    """The panel, with a note when it has not as many tasks as published."""
    size = panel.provenance.get(SIZE)
    notes = [str(note) for note in panel.provenance.get("notes", ())]
    if not isinstance(size, int) or size == len(panel.tasks) or any(f"{size:,}" in note for note in notes):
        return panel
    note = f"{panel.name} has {len(panel.tasks):,} tasks, published results are over {size:,}: they cannot be compared"
    return dataclasses.replace(panel, provenance={**panel.provenance, "notes": [*notes, note]})


def protocol_notes(panel: Panel, protocol: Mapping[str, Any]) -> list[str]:
    """What of a protocol is not as published.

    Args:
        panel: the panel.
        protocol: the protocol of an evaluation over it.
    """
    published = list(panel.provenance.get(STEPS) or ())
    limit = protocol.get("max_steps")
    if not published or limit in published:
        return []
    return [f"the step limit is {limit}; published results use {' or '.join(map(str, published))}"]
