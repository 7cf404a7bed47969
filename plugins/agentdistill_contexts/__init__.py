"""First-party context policies."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_contexts(register):
    """Registers the context policies of this package."""
    here = "agentdistill_contexts"
    register(
        "append",
        f"{here}.append:AppendContext",
        config=f"{here}.append:AppendConfig",
        summary="one growing conversation: the first observation with the task, then raw observations",
    )
    register(
        "window",
        f"{here}.window:WindowContext",
        config=f"{here}.window:WindowConfig",
        summary="a fresh prompt each turn: the task, the last few steps, the observation and the commands",
    )
    register(
        "retrieval",
        f"{here}.retrieval:RetrievalContext",
        config=f"{here}.retrieval_options:RetrievalConfig",
        summary="the nearest steps of recorded teacher episodes as demonstrations in front of another policy's prompt",
    )
    register(
        "viewed",
        f"{here}.viewed:ViewedContext",
        config=f"{here}.viewed:ViewedConfig",
        summary="what a view says about a recorded attempt at the same task, in another policy's prompt: a reviser's",
    )
