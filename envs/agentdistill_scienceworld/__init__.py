"""ScienceWorld for agentdistill: its own simulator, many worlds in one JVM, gold paths as expert."""

# Above the import, which reads it when gymnasium was imported first and this package second.
GYMNASIUM_IDS = {"agentdistill/ScienceWorld-v0": "agentdistill_scienceworld.env:ScienceWorldEnv"}

from agentdistill import hookimpl  # noqa: E402

_HERE = "agentdistill_scienceworld"


@hookimpl
def agentdistill_register_environments(register):
    """Registers ScienceWorld."""
    register(
        "scienceworld",
        f"{_HERE}.source:ScienceWorldSource",
        config=f"{_HERE}.config:ScienceWorldConfig",
        summary="elementary science in text: 30 tasks, 7,207 variations, score 0 to 100; needs Java",
    )


@hookimpl
def agentdistill_register_benchmarks(register):
    """Registers a panel for every split that results are reported on."""
    for name, summary in (
        ("test", "the 1,819 published test variations of 30 tasks"),
        ("dev", "the 1,796 published development variations"),
        ("test-10", "the first ten test variations of each task (271; four tasks have fewer than ten by far)"),
    ):
        register(
            f"scienceworld/{name}",
            f"{_HERE}.panels:{name.replace('-', '_')}",
            summary=summary,
        )


@hookimpl
def agentdistill_register_recipes(register):
    """Registers the recipe of this package."""
    register(
        "scienceworld", f"{_HERE}:recipes/scienceworld.toml", summary="TCOD and SOD on ScienceWorld, a real model pair"
    )
