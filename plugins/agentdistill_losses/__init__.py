"""First-party losses."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_losses(register):
    """Registers the losses of this package."""
    here = "agentdistill_losses"
    register(
        "opd",
        f"{here}.opd:OpdLoss",
        config=f"{here}.opd:OpdConfig",
        summary="on-policy distillation: sampled reverse KL policy gradient, or a divergence on all or the top tokens",
    )
    methods = {
        "tsd-kd": (
            "TsdKd",
            "weighted JSD, teacher's order of opening tokens, entropy of wavering ones (arXiv 2603.13260)",
        ),
        "eopd": ("Eopd", "adds the forward KL where the teacher is undecided (arXiv 2603.07079)"),
        "reopold": ("Reopold", "log-ratio with a floor on selected tokens: explore, then refine (arXiv 2603.11137)"),
        "veto": ("Veto", "a target between teacher and student that moves to the teacher (arXiv 2601.07155)"),
        "tropd": ("Tropd", "policy gradient where the teacher accepts the token, else forward KL (arXiv 2606.01249)"),
        "vopd": ("Vopd", "policy gradient with the exact KL as its control variate (arXiv 2605.07865)"),
        "opsd": ("Opsd", "forward KL whose every vocabulary entry counts up to a bound (arXiv 2601.18734)"),
        "stableopd": ("StableOpd", "policy gradient held near the initial student (arXiv 2604.08527)"),
        "kdrl": ("Kdrl", "a differentiated k2 term beside RL, with an annealed coefficient (arXiv 2506.02208)"),
        "curiosft": ("Curiosft", "imitation held near a tempered average of the student (arXiv 2602.02244)"),
        "infigfusion": ("Infigfusion", "a divergence plus the distance of co-activation graphs (arXiv 2505.13893)"),
        "redi": ("Redi", "successes up, failures more gently down (arXiv 2505.24850)"),
        "qcrd": ("Contrast", "contrast between the successes and failures of a task (arXiv 2405.13014)"),
        "uld": ("Uld", "sorted probabilities, for a teacher with another vocabulary (arXiv 2402.12030)"),
        "gold": ("Gold", "JSD on the tokens both vocabularies have, sorted probabilities for the rest (TRL's GOLD)"),
    }
    for name, (stem, summary) in methods.items():
        place = f"{here}.{name.replace('-', '_')}"
        register(name, f"{place}:{stem}Loss", config=f"{place}:{stem}Config", summary=summary)
    for name, module, stem, summary in (
        ("f-pg", "pg_f", "FPolicyGradient", "policy gradient of any f-divergence, by name (arXiv 2606.01039)"),
        ("soft-log", "pg_softlog", "SoftLog", "policy gradient with the squashed log-ratio (arXiv 2607.13399)"),
        ("future-kl", "pg_future", "FutureKl", "a token answers for what follows it, discounted (arXiv 2306.08543)"),
        ("exopd", "pg_exopd", "ExOpd", "past the teacher, away from the initial student, or short of it"),
        ("uni-opd", "pg_uniopd", "UniOpd", "won episodes above lost ones by a margin (arXiv 2605.03677)"),
    ):
        place = f"{here}.{module}:{stem}"
        register(name, f"{place}Loss", config=f"{place}Config", summary=summary)
