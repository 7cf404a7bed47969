"""First-party filters: which turns of a batch may be trained."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_filters(register):
    """Registers the filters of this package."""
    here = "agentdistill_filters"
    for name, config, summary in (
        ("coverage", "Coverage", "at most k turns of each episode, those of the largest gap to the teacher (DivOPD)"),
        ("staleness", "Staleness", "episodes of a policy that is too many steps old are dropped"),
        ("outcomes", "Outcomes", "tasks whose episodes were all won, or all lost, are dropped"),
        ("balance", "Balance", "as many lost as won episodes of each task, the excess is dropped (arXiv 2605.03677)"),
        ("progress", "Progress", "turns that repeat themselves or are invalid again and again are dropped"),
        ("scored", "Scored", "turns that the teacher has no opinion on are dropped"),
        ("quota", "Quota", "shares of the trained tokens by teacher, environment or task type stay in bounds"),
        ("truncated", "Truncated", "responses that ran into the token limit are dropped"),
    ):
        register(name, f"{here}.{name}:{name}", config=f"{here}.{name}:{config}Config", summary=summary)
