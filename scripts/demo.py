"""Distils the starter student from the starter teacher on ALFWorld and measures it before and after.

    scripts/demo [--output DIR] [--SECTION.KEY VALUE ...]

It is `agentdistill train tcod-alfworld starter demo`, with the evaluation panel chosen by what this machine has: the
140 published valid_seen games where $ALFWORLD_DATA (or an archive of them beside the checkout) is there, otherwise
generated games in the rooms that training never uses. Evaluation plays the real ALFWorld engine either way.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are small: more threads only wait for each other
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything the demo needs ships with the package

REPOSITORY = Path(__file__).resolve().parent.parent
ARCHIVE = REPOSITORY.parent / "shared" / "data" / "alfworld" / "json_2.1.1.tar.xz"
UNPACKED = REPOSITORY / ".cache" / "alfworld"


def published_games() -> Path | None:
    """A folder with the published valid_seen games, if this machine has them."""
    configured = os.environ.get("ALFWORLD_DATA")
    if configured:
        return Path(configured) if (Path(configured) / "json_2.1.1" / "valid_seen").is_dir() else None
    if not (UNPACKED / "json_2.1.1").is_dir():
        if not ARCHIVE.is_file():
            return None
        partial = UNPACKED.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(partial, filter="data")
        partial.rename(UNPACKED)
    return UNPACKED


def main(arguments: list[str]) -> None:
    """Chooses the panel and trains."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return
    from agentdistill.cli import main as agentdistill

    data = published_games()
    if data is None:
        panel = "alfworld/generated-unseen"
        os.environ.pop("ALFWORLD_DATA", None)
    else:
        panel = "alfworld/valid_seen"
        os.environ["ALFWORLD_DATA"] = str(data)
    # Training games are generated ones, whatever is on disk: no published evaluation game is ever trained on.
    chosen = ["--eval.panel", panel, "--env.split", "generated-train"]
    agentdistill(["train", "tcod-alfworld", "starter", "demo", *chosen, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
