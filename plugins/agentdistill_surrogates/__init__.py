"""First-party surrogates: the shape of the policy ratio around an advantage."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_surrogates(register):
    """Registers the surrogates of this package."""
    here = "agentdistill_surrogates"
    for name, cls, summary in (
        ("ppo", "ppo:Ppo", "the clipped ratio: asymmetric bounds and the dual clip (arXiv 1707.06347, 1912.09729)"),
        ("importance-sampling", "importance:ImportanceSampling", "ratio times advantage, nothing clipped"),
        ("reinforce", "reinforce:Reinforce", "advantage times log-probability, the ratio ignored"),
        ("truncated", "truncated:Truncated", "importance weights cut off at a cap, or dropped outside a band"),
        ("trust-region", "trust_region:TrustRegion", "drops tokens whose probability moved too far, by default down"),
        ("trrd", "trrd:Trrd", "RLAD's ratio to a blend of the old policy and the teacher (arXiv 2602.22495)"),
        ("bapo", "bapo:Bapo", "bounds that let gains supply a share of the update (arXiv 2510.18927)"),
    ):
        target = f"{here}.{cls}"
        register(name, target, config=f"{target}Config", summary=summary)
