"""Makes one game. Run as a script of its own, with a fixed hash seed: TextWorld iterates over sets of strings.

    python -P generate.py '{"kind": ..., "parameters": {...}, "seed": ..., "folder": ...}'

It imports nothing but TextWorld. The folder receives `game.z8` and `game.json`. When a game of these parameters cannot
be made, the last line of the output is one sentence and the exit status is 3.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

IMPOSSIBLE = 3
"""Exit status when there is no such game."""


def main(request: dict[str, Any]) -> int:
    """Makes a game.

    Args:
        request: "kind", "parameters", "seed", and the "folder" to write into.

    Returns:
        The exit status.
    """
    import numpy as np
    import textworld
    import textworld.challenges
    from textworld.generator import compile_game

    kind, parameters, seed = request["kind"], request["parameters"], request["seed"]
    # What TextWorld draws without being told a seed follows from ours, too.
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that TextWorld reads
    textworld.g_rng.set_seed(seed)
    options = textworld.GameOptions()
    options.seeds = seed
    options.path = str(Path(request["folder"]) / "game.z8")
    try:
        if kind == "custom":
            options.nb_rooms = parameters["rooms"]
            options.nb_objects = parameters["objects"]
            options.quest_length = parameters["quest_length"]
            options.quest_breadth = parameters["quest_breadth"]
            game = textworld.generator.make_game(options)
        else:
            make = textworld.challenges.CHALLENGES[f"tw-{kind}"][1]
            game = make(parameters, options)
        compile_game(game, options)
    except (textworld.generator.QuestGenerationError, AssertionError, ValueError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return IMPOSSIBLE
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
