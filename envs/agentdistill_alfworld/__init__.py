"""ALFWorld for agentdistill: the real engine and a fast one, real games and generated ones, three experts."""

# Above the import, which reads it when gymnasium was imported first and this package second.
GYMNASIUM_IDS = {"agentdistill/ALFWorld-v0": "agentdistill_alfworld.env:AlfworldEnv"}

from agentdistill import hookimpl  # noqa: E402

_HERE = "agentdistill_alfworld"


@hookimpl
def agentdistill_register_environments(register):
    """Registers ALFWorld."""
    register(
        "alfworld",
        f"{_HERE}.source:AlfworldSource",
        config=f"{_HERE}.config:AlfworldConfig",
        summary="household tasks in text: six task types, real and generated games, real and fast engine",
    )


@hookimpl
def agentdistill_register_benchmarks(register):
    """Registers a panel for every split that results are reported on."""
    for name, summary in (
        ("valid_seen", "the 140 published games in rooms that training uses"),
        ("valid_unseen", "the 134 published games in rooms that training never uses"),
        ("valid_train", "200 real games outside the published evaluation splits, for choosing settings"),
        ("generated-seen", "generated games in rooms that training uses; needs no data"),
        ("generated-unseen", "generated games in the four rooms that training never uses; needs no data"),
    ):
        register(
            f"alfworld/{name}",
            f"{_HERE}.panels:{name.replace('-', '_')}",
            summary=summary,
        )


@hookimpl
def agentdistill_register_recipes(register):
    """Registers the recipes of this package."""
    register("tcod-alfworld", f"{_HERE}:recipes/tcod-alfworld.toml", summary="TCOD and SOD, a real model pair")
    for name, summary in (
        ("atod", "ATOD: the teacher's turns weighed, then more and more GRPO"),
        ("gigpo", "GiGPO with a little distillation, stuck and cut turns left out"),
        ("kdrl", "KDRL: GRPO with a fading KL to the teacher"),
        ("opd-then-rl", "distillation first, then GRPO"),
        ("rlsd", "RLSD: the teacher scales the rewards' signal"),
        ("tide", "TIDE: hands over from teacher to rewards, credit by value x disagreement"),
    ):
        register(f"{name}-alfworld", f"{_HERE}:recipes/{name}-alfworld.toml", summary=f"{summary}; a real model pair")
    for name, summary in (
        ("opsd", "OPSD: the student, told what the expert would do next, teaches itself"),
        ("sdpo", "SDPO: the student, shown a sibling's success or what was refused, teaches itself"),
        ("skill-sd", "Skill-SD: the student, told of skills, teaches itself beside GRPO"),
    ):
        register(f"{name}-alfworld", f"{_HERE}:recipes/{name}-alfworld.toml", summary=summary)
    register(
        "cascade-alfworld",
        f"{_HERE}:recipes/cascade-alfworld.toml",
        summary="no training: teacher steps as demonstrations, and the teacher where the student disagrees with itself",
    )
    for name, summary in (
        ("two-teachers", "the environment's expert while it applies, a model otherwise; a layer"),
        ("blackbox", "SOPD from a chat endpoint: imitates the turns it writes at the student's states; a layer"),
    ):
        register(f"{name}-alfworld", f"{_HERE}:recipes/{name}-alfworld.toml", summary=summary)
    register("starter", f"{_HERE}:recipes/starter.toml", summary="laptop sizes and the models of this package; a layer")
    register(
        "demo",
        f"{_HERE}:recipes/demo.toml",
        summary="the short schedule of scripts/demo; a layer",
    )
    register(
        "demo-long",
        f"{_HERE}:recipes/demo-long.toml",
        summary="thirty CPU minutes instead of five; a layer over the demo",
    )


@hookimpl
def agentdistill_register_models(register):
    """Registers the models that ship with this package."""
    register("starter-teacher", f"{_HERE}:starters/teacher", summary="trained from nothing on generated games")
    for percent, what in (
        (15, "an unfinished student"),
        (35, "a student that was taught three of the six task types"),
        (55, "an unfinished student"),
    ):
        summary = f"{what}, about {percent}% of valid_seen"
        register(f"starter-{percent}", f"{_HERE}:starters/student-{percent}", summary=summary)
    register("starter", f"{_HERE}:starters/student-35", summary="the student of the demo: starter-35")
