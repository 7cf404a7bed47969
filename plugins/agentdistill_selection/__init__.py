"""First-party selections of collected episodes."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_selections(register):
    """Registers the selections of this package."""

    def selection(name: str, module: str, options: str, summary: str) -> None:
        path = f"agentdistill_selection.{module}"
        register(name, f"{path}:{module}", config=f"{path}:{options}", summary=summary)

    selection("provenance", "provenance", "ProvenanceConfig", "most sentences that only the teacher would have written")
    selection("divergence", "divergence", "DivergenceConfig", "DASD: likely for the teacher, unlikely for the student")
    selection("chance", "chance", "ChanceConfig", "by lot: the control")
