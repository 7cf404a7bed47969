"""First-party views: what a privileged teacher is shown that the student was not."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_views(register):
    """Registers the views of this package."""
    here = "agentdistill_views"
    for name, target, summary in (
        ("opsd", "Opsd", "a reference solution: the expert's next action, or a recorded episode of the same task"),
        ("sdpo", "Sdpo", "a sibling that solved the same task, and what the environment said to failing actions"),
        ("sd-zero", "SdZero", "the whole attempt, and the request to revise it or to say it again, by its outcome"),
        ("hindsight", "Hindsight", "before each turn, what the environment answered to it"),
        ("skills", "Skills", "rules and skills that hold for many tasks, in general or for a type of task"),
    ):
        module = name.replace("-", "_")
        register(name, f"{here}.{module}:{target}", config=f"{here}.{module}:{target}Config", summary=summary)
