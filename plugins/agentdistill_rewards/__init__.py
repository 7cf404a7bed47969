"""First-party rewards: rules over what was played, and judges behind an endpoint."""

from agentdistill import hookimpl


@hookimpl
def agentdistill_register_rewards(register):
    """Registers the rewards of this package."""

    def rule(name: str, module: str, function: str, options: str, summary: str) -> None:
        path = f"agentdistill_rewards.{module}"
        register(name, f"{path}:{function}", config=f"{path}:{options}", summary=summary)

    rule("outcome", "outcome", "outcome", "OutcomeConfig", "the verdict on the last step: 1 for a won episode")
    rule("score", "score", "score", "ScoreConfig", "the environment's final score, scaled, on the last step")
    rule("env", "environment", "environment_reward", "EnvironmentRewardConfig", "the environment's reward of each step")
    rule("step-penalty", "penalty", "penalty", "PenaltyConfig", "costs of a turn, of an invalid one, of a repeated one")
    rule(
        "progress",
        "progress",
        "progress",
        "ProgressConfig",
        "potential-based shaping: progress pays, the optimum stays",
    )
    rule("format", "validity", "validity", "FormatConfig", "turns that were accepted and follow a pattern")
    rule(
        "overlong", "overlong", "overlong", "OverlongConfig", "DAPO's and SOD's soft punishment before the length limit"
    )
    rule(
        "tool-use", "tool_use", "tool_use", "ToolUseConfig", "SOD's outcome with credit for tool calls in lost episodes"
    )
    rule("adaptthink", "adaptthink", "no_thinking", "NoThinkingConfig", "AdaptThink's bonus for turns without thinking")
    rule(
        "llm-judge", "llm_judge", "LLMJudge", "LLMJudgeConfig", "a model behind an endpoint scores episodes by a rubric"
    )
    rule(
        "pairwise-judge", "pairwise_judge", "PairwiseJudge", "PairwiseJudgeConfig", "a model compares a task's episodes"
    )
    rule(
        "process-judge",
        "process_judge",
        "ProcessJudge",
        "ProcessJudgeConfig",
        "a model scores every turn and the whole",
    )
    rule(
        "arbiter", "arbiter", "Arbiter", "ArbiterConfig", "a model compares each action with another at the same state"
    )
    rule(
        "gate-judge",
        "gate_judge",
        "GateJudge",
        "GateJudgeConfig",
        "a model says which turns need the teacher (for `sage`)",
    )
    rule("mpo", "meta_judge", "MetaJudge", "MetaJudgeConfig", "an LLM judge whose rubric a second model keeps revising")
