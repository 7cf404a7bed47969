"""First-party token weights."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_token_weights(register):
    """Registers the token weights of this package."""
    register("uniform", "agentdistill_token_weights.uniform:uniform", summary="every token counts the same")
