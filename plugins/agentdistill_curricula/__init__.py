"""First-party curricula."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_curricula(register):
    """Registers the curricula of this package."""
    here = "agentdistill_curricula"
    register("full", f"{here}.full:Full", summary="the student plays whole episodes")
    register(
        "tcod-f2b",
        f"{here}.depth:FrontToBack",
        config=f"{here}.depth:DepthConfig",
        summary="the first k turns, k grows with training (arXiv 2604.24005)",
    )
    register(
        "tcod-b2f",
        f"{here}.depth:BackToFront",
        config=f"{here}.depth:DepthConfig",
        summary="a demonstration is replayed up to its last k actions, k grows with training (arXiv 2604.24005)",
    )
    register(
        "guided",
        f"{here}.guided:Guided",
        config=f"{here}.guided:GuidedConfig",
        summary="the teacher plays some turns, fewer with training, also inside a growing window (arXiv 2606.15912)",
    )
    register(
        "uopd",
        f"{here}.uopd:Uopd",
        config=f"{here}.uopd:UopdConfig",
        summary="the teacher takes over the turns that surprise it most, and is imitated there",
    )
    register(
        "pope",
        f"{here}.pope:Pope",
        config=f"{here}.pope:PopeConfig",
        summary="guided twins begin after a short prefix of a known solution (arXiv 2601.18779)",
    )
    register(
        "reopd",
        f"{here}.reopd:Reopd",
        config=f"{here}.reopd:ReopdConfig",
        summary="one turn on the history of a recorded episode, no environment call (arXiv 2607.04763)",
    )
    register(
        "sopd",
        f"{here}.sopd:Sopd",
        config=f"{here}.sopd:SopdConfig",
        summary="the teacher's own turn at every state the student visits is imitated (arXiv 2608.16333)",
    )
    register(
        "turnopd",
        f"{here}.turnopd:TurnOpd",
        config=f"{here}.turnopd:TurnOpdConfig",
        summary="depth follows the divergence and the successes of full-depth probes (arXiv 2607.05804)",
    )
    register(
        "stride",
        f"{here}.stride:Stride",
        config=f"{here}.stride:StrideConfig",
        summary="stops where the teacher is lost, begins again from the last good turns (arXiv 2609.14636)",
    )
    register(
        "rescue",
        f"{here}.rescue:Rescue",
        config=f"{here}.rescue:RescueConfig",
        summary="the teacher plays a few turns where the student is stuck (DivOPD+R)",
    )
    register(
        "adaptive",
        f"{here}.adaptive:Adaptive",
        config=f"{here}.adaptive:AdaptiveConfig",
        summary="depth grows and shrinks with what the teacher knows at the frontier",
    )
