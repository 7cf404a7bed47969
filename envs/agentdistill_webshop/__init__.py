"""WebShop for agentdistill: the shop itself without a web server, the original catalogue or a generated one."""

# Above the import, which reads it when gymnasium was imported first and this package second.
GYMNASIUM_IDS = {"agentdistill/WebShop-v0": "agentdistill_webshop.env:WebshopEnv"}

from agentdistill import hookimpl  # noqa: E402

_HERE = "agentdistill_webshop"


@hookimpl
def agentdistill_register_environments(register):
    """Registers WebShop."""
    register(
        "webshop",
        f"{_HERE}.source:WebshopSource",
        config=f"{_HERE}.config:WebshopConfig",
        summary="shopping by instruction: search, compare, choose options, buy; original or generated catalogue",
    )


@hookimpl
def agentdistill_register_benchmarks(register):
    """Registers the panels that results are reported on."""
    for name, summary in (
        ("test", "the 500 test goals"),
        ("eval", "the 1,000 goals for choosing settings"),
    ):
        register(
            f"webshop/{name}",
            f"{_HERE}.panels:{name}_goals",
            summary=summary,
        )


@hookimpl
def agentdistill_register_recipes(register):
    """Registers the recipe of this package."""
    register(
        "webshop", f"{_HERE}:recipes/webshop.toml", summary="on-policy distillation in the shop, a real model pair"
    )


@hookimpl
def agentdistill_register_commands(register):
    """Registers the command that opens the shop for a browser."""
    register("shop", f"{_HERE}.web:shop", summary="Open WebShop as a local web page and shop in a browser.")
