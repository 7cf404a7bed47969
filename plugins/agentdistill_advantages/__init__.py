"""First-party RL advantages: rewards of a batch -> one number for each turn."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_advantages(register):
    """Registers the advantages of this package."""
    here = "agentdistill_advantages"
    for name, target, config, summary in (
        ("grpo", "grpo:grpo", "Grpo", "return against the same task's, in standard deviations (arXiv 2402.03300)"),
        ("gigpo", "gigpo:gigpo", "Gigpo", "GRPO plus turns compared at identical observations (arXiv 2505.10978)"),
        ("rloo", "rloo:rloo", "Rloo", "return against the mean of the others of the same task (arXiv 2402.14740)"),
        ("brpo", "brpo:brpo", "Brpo", "what is solved within every budget of turns counts (arXiv 2505.13438)"),
        ("reinforce", "reinforce:reinforce", "Reinforce", "return or reward-to-go, against a mean or as it is"),
        (
            "adaptthink",
            "adaptthink:adaptthink",
            "AdaptThink",
            "rewards turns without thinking, if as good (arXiv 2505.13417)",
        ),
    ):
        register(name, f"{here}.{target}", config=f"{here}.{target.split(':')[0]}:{config}Config", summary=summary)
