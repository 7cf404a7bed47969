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
