"""First-party step weights."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_step_weights(register):
    """Registers the step weights of this package."""
    here = "agentdistill_step_weights"
    register("uniform", f"{here}.uniform:uniform", summary="every step counts the same")
    register(
        "sod",
        f"{here}.sod:sod",
        config=f"{here}.sod:SodConfig",
        summary="less weight where the divergence rose since the first step (arXiv 2605.07725)",
    )
