"""First-party step weights."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_step_weights(register):
    """Registers the step weights of this package."""
    here = "agentdistill_step_weights"
    register("uniform", f"{here}.uniform:uniform", summary="every step counts the same")
    register(
        "sod",
        f"{here}.sod:sod",
        config=f"{here}.sod:SodConfig",
        summary="less weight where the divergence rose since the first step (arXiv 2605.07725)",
    )
    register(
        "atod",
        f"{here}.atod:atod",
        config=f"{here}.atod:AtodConfig",
        summary="more weight where the student drifts or doubts, by a soft OR (T-DUR, arXiv 2606.27814)",
    )
    register(
        "turn-equal",
        f"{here}.turn_equal:turn_equal",
        config=f"{here}.turn_equal:TurnEqualConfig",
        summary="from tokens counting the same to turns counting the same, as training goes on (arXiv 2607.05804)",
    )
    register(
        "sage",
        f"{here}.sage:sage",
        config=f"{here}.sage:SageConfig",
        summary="a judge's verdict on the turn times the teacher's confidence, sum preserved (arXiv 2606.19659)",
    )
    register(
        "prune",
        f"{here}.prune:prune",
        config=f"{here}.prune:PruneConfig",
        summary="less weight after every turn in which the top-k overlap is lost (arXiv 2605.07804, per turn)",
    )
    register(
        "iw-opd",
        f"{here}.iw_opd:iw_opd",
        config=f"{here}.iw_opd:IwOpdConfig",
        summary="more weight before the episode's disagreement was spent (arXiv 2606.22600, per turn)",
    )
    register(
        "drop-stuck",
        f"{here}.drop_stuck:drop_stuck",
        config=f"{here}.drop_stuck:DropStuckConfig",
        summary="no weight on invalid actions that are repeated, or on other turns without progress",
    )
