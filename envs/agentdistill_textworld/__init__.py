"""TextWorld for agentdistill: games generated on the spot, cached by their parameters, with the engine's own expert."""

# Above the import, which reads it when gymnasium was imported first and this package second.
GYMNASIUM_IDS = {"agentdistill/TextWorld-v0": "agentdistill_textworld.env:TextWorldEnv"}

from agentdistill import hookimpl  # noqa: E402

_HERE = "agentdistill_textworld"


@hookimpl
def agentdistill_register_environments(register):
    """Registers TextWorld."""
    register(
        "textworld",
        f"{_HERE}.source:TextWorldSource",
        config=f"{_HERE}.config:TextWorldConfig",
        summary="generated text adventures: coins, treasures, cooking, errands, and games of any size",
    )


@hookimpl
def agentdistill_register_benchmarks(register):
    """Registers a panel for every split that results are reported on."""
    for name, summary in (
        ("test", "100 generated games that no training uses, the configured kinds in turn"),
        ("dev", "50 generated games for choosing settings"),
    ):
        register(f"textworld/{name}", f"{_HERE}.panels:{name}", summary=summary)


@hookimpl
def agentdistill_register_recipes(register):
    """Registers the recipe of this package."""
    register("textworld", f"{_HERE}:recipes/textworld.toml", summary="TCOD and SOD on TextWorld, a real model pair")
