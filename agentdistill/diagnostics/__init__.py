"""What goes wrong in training shows before the score does: numbers about play, and named warnings about trends."""

from __future__ import annotations

from agentdistill.diagnostics.monitor import Alert, Monitor
from agentdistill.diagnostics.rules import RULES, Rule

__all__ = ["RULES", "Alert", "Monitor", "Rule"]
