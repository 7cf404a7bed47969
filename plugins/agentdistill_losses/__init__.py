"""First-party losses."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_losses(register):
    """Registers the losses of this package."""
    here = "agentdistill_losses"
    register(
        "opd",
        f"{here}.opd:OpdLoss",
        config=f"{here}.opd:OpdConfig",
        summary="on-policy distillation: sampled reverse KL policy gradient, or a full-vocabulary divergence",
    )
