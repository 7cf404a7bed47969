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
    register(
        "endpoint",
        f"{here}.endpoint:EndpointAgent",
        config=f"{here}.endpoint:EndpointAgentConfig",
        summary="whoever answers at an OpenAI-compatible chat endpoint plays; evaluated, never trained",
    )
    register(
        "vllm",
        f"{here}.vllm:VllmEngine",
        config=f"{here}.vllm:VllmConfig",
        summary="sampling by vLLM, in this process or as a server; weights handed over and probed after every step",
    )
    register(
        "cascade",
        f"{here}.cascade:CascadeEngine",
        config=f"{here}.cascade_options:CascadeConfig",
        summary="the student answers several times, and the teacher is asked where the answers disagree; no training",
    )
