"""First-party teachers."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_teachers(register):
    """Registers the teachers of this package."""
    here = "agentdistill_teachers"
    register(
        "local",
        f"{here}.local:local_teacher",
        config=f"{here}.local:LocalConfig",
        summary="a transformers model in this process",
    )
    register(
        "expert",
        f"{here}.expert:expert_teacher",
        config=f"{here}.expert:ExpertConfig",
        summary="the environment's expert, label-smoothed over the vocabulary",
    )
    register(
        "vllm",
        f"{here}.vllm:vllm_teacher",
        config=f"{here}.vllm:VllmConfig",
        summary="a served model: vLLM, or any server whose completions give prompt_logprobs",
    )
    register(
        "chat",
        f"{here}.chat:ChatTeacher",
        config=f"{here}.chat:ChatTeacherConfig",
        summary="a model behind a chat endpoint, of which only the words are known: it writes turns",
    )
    register(
        "self",
        f"{here}.self_teacher:SelfTeacher",
        config=f"{here}.self_teacher:SelfConfig",
        summary="the student's own weights: as the run began, their moving average, a trust region, or live",
    )
    register(
        "privileged",
        f"{here}.privileged:privileged_teacher",
        config=f"{here}.privileged:PrivilegedConfig",
        summary="any teacher, shown a view's words that the student was not: hints, solutions, skills",
    )
    register(
        "stored",
        f"{here}.stored:stored",
        config=f"{here}.stored:StoredConfig",
        summary="scores that another run kept: no model, no server",
    )
    register(
        "mixture",
        f"{here}.mixture:mixture_teacher",
        config=f"{here}.mixture:MixtureConfig",
        summary="the weighted average of several teachers, with fixed weights or by recent loss (arXiv 2601.03717)",
    )
    register(
        "route",
        f"{here}.route:route_teacher",
        config=f"{here}.route:RouteConfig",
        summary="one of several teachers for each turn, by task, environment, turn or what the expert knows",
    )
    register(
        "cross",
        f"{here}.cross:cross_teacher",
        config=f"{here}.cross:CrossConfig",
        summary="a teacher with another tokenizer: spans of the same bytes carry its scores",
    )
