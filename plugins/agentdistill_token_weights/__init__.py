"""First-party token weights."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_token_weights(register):
    """Registers the token weights of this package."""
    here = "agentdistill_token_weights"
    register("uniform", f"{here}.uniform:uniform", summary="every token counts the same")
    register(
        "cord",
        f"{here}.cord:cord",
        config=f"{here}.cord:CordConfig",
        summary="more weight on the largest divergences and on early tokens (arXiv 2601.16547)",
    )
    register(
        "iw-opd",
        f"{here}.iw_opd:iw_opd",
        config=f"{here}.iw_opd:IwOpdConfig",
        summary="more weight before the response's disagreement was spent (arXiv 2606.22600)",
    )
    register(
        "tip",
        f"{here}.tip:tip",
        config=f"{here}.tip:TipConfig",
        summary="only the tokens of high entropy or high divergence (arXiv 2604.14084)",
    )
    register(
        "prune",
        f"{here}.prune:prune",
        config=f"{here}.prune:PruneConfig",
        summary="less weight after every token at which the top-k overlap is lost (arXiv 2605.07804)",
    )
    register(
        "tsd-kd",
        f"{here}.tsd_kd:tsd_kd",
        config=f"{here}.tsd_kd:TsdKdConfig",
        summary="more weight where the student is less sure than the teacher (arXiv 2603.13260)",
    )
    register(
        "teacher-confidence",
        f"{here}.teacher_confidence:teacher_confidence",
        config=f"{here}.teacher_confidence:TeacherConfidenceConfig",
        summary="the teacher's largest probability",
    )
    register(
        "role-weights",
        f"{here}.role_weights:role_weights",
        config=f"{here}.role_weights:RoleWeightsConfig",
        summary="one weight each for text, actions and special tokens",
    )
    register(
        "action-only",
        f"{here}.action_only:action_only",
        config=f"{here}.action_only:ActionOnlyConfig",
        summary="only the tokens of the command that was sent to the environment",
    )
    register(
        "special-mask",
        f"{here}.special_mask:special_mask",
        config=f"{here}.special_mask:SpecialMaskConfig",
        summary="no weight on special tokens and terminators (arXiv 2603.25562, 2608.14277)",
    )
