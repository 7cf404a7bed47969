"""First-party rewards."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_rewards(register):
    """Registers the rewards of this package."""
    register("outcome", "agentdistill_rewards.outcome:outcome", summary="1 on the last step of a won episode")
