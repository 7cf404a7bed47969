"""The unmodified ALFWorld engine, as `AlfredTWEnv` builds it: what the engines here are compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentdistill_alfworld.dialect import GameText
from agentdistill_alfworld.upstream import import_alfworld


def stock_engine(**infos: Any) -> Any:
    """A stock TextWorld environment wrapped as ALFWorld does."""
    upstream = import_alfworld("alfworld.agents.environment.alfred_tw_env")
    import textworld
    from textworld.envs import PddlEnv

    wanted = textworld.EnvInfos(won=True, admissible_commands=True, **infos)
    return upstream.AlfredInfos(upstream.AlfredDemangler(PddlEnv(wanted)))


def write_text(text: GameText, path: Path) -> Path:
    """Writes a game file for the stock engine."""
    content = {"pddl_domain": text.domain, "grammar": text.grammar, "pddl_problem": text.problem, "solvable": True}
    path.write_text(json.dumps(content))
    return path
