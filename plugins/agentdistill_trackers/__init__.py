"""First-party trackers."""

from agentdistill import hookimpl
from agentdistill.plugins.hookspecs import Register


@hookimpl
def agentdistill_register_trackers(register: Register) -> None:
    """Registers the trackers of this package."""
    here = "agentdistill_trackers"
    register(
        "jsonl",
        f"{here}.jsonl:JsonlTracker",
        config=f"{here}.jsonl:JsonlConfig",
        summary="metrics.jsonl in the run directory, one line a step, crash-safe",
    )
    register("none", f"{here}.none:NullTracker", summary="keeps no metrics")
