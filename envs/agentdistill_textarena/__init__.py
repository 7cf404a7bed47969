"""TextArena's single-player games for agentdistill: puzzles and guessing games that need neither network nor data."""

# Above the import, which reads it when gymnasium was imported first and this package second.
GYMNASIUM_IDS = {"agentdistill/TextArena-v0": "agentdistill_textarena.env:TextArenaEnv"}

from agentdistill import hookimpl  # noqa: E402

_HERE = "agentdistill_textarena"


@hookimpl
def agentdistill_register_environments(register):
    """Registers TextArena."""
    register(
        "textarena",
        f"{_HERE}.source:TextArenaSource",
        config=f"{_HERE}.source:TextArenaConfig",
        summary="single-player games of TextArena: guessing, sliding, sorting; tasks are seeds",
    )


@hookimpl
def agentdistill_register_benchmarks(register):
    """Registers the panel of the configured games."""
    register(
        "textarena/test",
        f"{_HERE}.source:test_panel",
        summary="the configured games with seeds that training never uses (no size is published)",
    )


@hookimpl
def agentdistill_register_recipes(register):
    """Registers the recipe."""
    register("textarena", f"{_HERE}:recipes/textarena.toml", summary="TCOD and SOD on three games of TextArena")
