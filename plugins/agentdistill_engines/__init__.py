"""First-party engines."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_engines(register):
    """Registers the engines of this package."""
    here = "agentdistill_engines"
    register(
        "hf",
        f"{here}.hf:HfEngine",
        config=f"{here}.hf:HfConfig",
        summary="batched multi-turn sampling on a transformers model in this process, KV cache kept across turns",
    )
