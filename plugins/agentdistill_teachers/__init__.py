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
        "chat",
        f"{here}.chat:ChatTeacher",
        config=f"{here}.chat:ChatTeacherConfig",
        summary="a model behind a chat endpoint, of which only the words are known: it writes turns",
    )
