"""Multi-turn tool use for agentdistill: questions with verified answers, typed tools, a sandbox for written code."""

# Above the import, which reads it when gymnasium was imported first and this package second.
GYMNASIUM_IDS = {"agentdistill/Tools-v0": "agentdistill_tools.env:ToolsEnv"}

from agentdistill import hookimpl  # noqa: E402

_HERE = "agentdistill_tools"


@hookimpl
def agentdistill_register_environments(register):
    """Registers tool use."""
    register(
        "tools",
        f"{_HERE}.source:ToolsSource",
        config=f"{_HERE}.config:ToolsConfig",
        summary="questions answered with tools: reasoning-gym or your own, sandboxed Python, MCP servers",
    )


@hookimpl
def agentdistill_register_contexts(register):
    """Registers the conversation of tool use."""
    register(
        "tool-turns",
        f"{_HERE}.context:ToolTurnsContext",
        config=f"{_HERE}.context:ToolTurnsConfig",
        summary="one growing conversation whose responses may have many lines: reasoning, tool calls, an answer",
    )


@hookimpl
def agentdistill_register_benchmarks(register):
    """Registers a panel for every split that results are reported on."""
    for name, summary in (
        ("eval", "for choosing settings: seeds that neither training nor the test uses"),
        ("test", "for reporting: seeds that training and choosing never use"),
    ):
        register(
            f"tools/{name}",
            f"{_HERE}.panels:{name}_panel",
            summary=summary,
        )


@hookimpl
def agentdistill_register_recipes(register):
    """Registers the recipes of this package."""
    register("tools", f"{_HERE}:recipes/tools.toml", summary="SOD on tool-integrated arithmetic, a real model pair")
