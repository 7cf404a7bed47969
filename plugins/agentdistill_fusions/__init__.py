"""First-party fusions: how the teacher's signal and the rewards' are joined."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_fusions(register):
    """Registers the fusions of this package."""
    here = "agentdistill_fusions"
    for name, cls, summary in (
        ("additive", "additive:Additive", "the sum of both signals, with scales that may move along a ramp"),
        ("kdrl", "kdrl:Kdrl", "rewards plus a fading KL to the teacher (arXiv 2506.02208)"),
        ("atod", "atod:Atod", "from the teacher to the rewards along a line of 80 steps (arXiv 2606.27814)"),
        ("switch", "switch:Switch", "the teacher first, then the rewards: by step or plateau (arXiv 2609.04108)"),
        ("tide", "tide:Tide", "hands over as disagreement stops falling; credit by value x disagreement"),
        ("rlsd", "rlsd:Rlsd", "the teacher scales the rewards' signal and never turns its sign (arXiv 2604.03128)"),
        ("agentopsd", "agentopsd:AgentOpsd", "turns scale the rewards' signal by their evidence (arXiv 2608.05987)"),
        ("trial", "trial:Trial", "turns scale the rewards' signal by the size of their gap (arXiv 2608.07371)"),
        ("scope", "scope:Scope", "won episodes by the rewards, lost ones by the teacher, weighted (arXiv 2604.10688)"),
        ("srpo", "srpo:Srpo", "won episodes by the rewards, lost ones by the teacher; or lost tasks only"),
    ):
        target = f"{here}.{cls}"
        register(name, target, config=f"{target}Config", summary=summary)
