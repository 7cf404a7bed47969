"""Skill-SD's view (arXiv 2604.10674): the teacher knows skills that hold for many tasks, the student shall need none.

The teacher's first message ends with a list of skills: general ones, then those for the type of task at hand. They are
the same for every task of a type, so that what the teacher makes of them can be learned: the view is "shared", and the
plan does not warn. SDAR (arXiv 2605.15155) takes the same teacher beside rewards.

Skills stand in the recipe, or in a TOML file of the same form:

    general = ["Look at what you hold before you search for more."]
    [types]
    clean = ["Take the object to a sinkbasin, clean it, then bring it where it belongs."]

A type is matched with `Task.type`; a task of another type is shown the general skills, and without any has no scores.
A list under the name of one task's key would be an answer: it is refused where keys are known, when episodes come in.

Defaults: no skills, which shows nothing: then teacher and student see the same. Differs from the papers: they have a
model write skills from trajectories, and pick some by similarity; here somebody writes them, and the type picks. The
papers' objective adds the divergence to GRPO with a gate and 0.01 (see the fusions).
Proofs: general and typed skills; unknown types; a file reads as the same table; keys are refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from agentdistill.errors import ConfigError, DataError
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill.teachers.views import Privileged, Scope

SKILLS = "What is known to help in tasks like this:\n{skills}"


class SkillsConfig(PluginConfig):
    """The skills.

    Attributes:
        general: skills for every task.
        types: lists of skills by type of task.
        file: TOML file with `general` and `types`, instead of these.
        words: words around the skills, `{skills}` in them.
    """

    general: tuple[str, ...] = ()
    types: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    file: str | None = None
    words: str = SKILLS


class Skills:
    """See `SkillsConfig`."""

    scope: Scope = "shared"
    siblings = False
    needs: frozenset[str] = frozenset()

    def __init__(self, config: SkillsConfig) -> None:
        """Reads the skills.

        Raises:
            ConfigError: both a file and skills in the recipe are given.
            DataError: the file cannot be read as skills.
        """
        self.config = config
        if config.file is not None and (config.general or config.types):
            raise ConfigError(
                "Skills are given twice.", "The view has both `file` and skills of its own.", "Leave one of them out."
            )
        read = config if config.file is None else _read(Path(config.file))
        self._general, self._types = read.general, read.types

    @property
    def fingerprint(self) -> str:
        """Over the words and all skills."""
        return digest(["skills", self.config.words, list(self._general), _plain(self._types)])[:16]

    def show(self, trajectories: Sequence[Trajectory]) -> list[Privileged | None]:
        """The skills for each task.

        Raises:
            ConfigError: skills are listed under the key of one task.
        """
        keys = {trajectory.task.key for trajectory in trajectories if trajectory.task.key != trajectory.task.type}
        if single := sorted(keys & set(self._types)):
            raise ConfigError(
                f"Skills are listed for the single task {single[0]!r}.",
                "Such a hint is an answer to one task and not a skill.",
                "List skills by type of task, or show solutions on purpose (view `opsd`).",
            )
        return [self._shown(trajectory.task.type) for trajectory in trajectories]

    def _shown(self, kind: str) -> Privileged | None:
        listed = [*self._general, *self._types.get(kind, ())]
        if not listed:
            return None if self._types else Privileged()
        return Privileged(opening=self.config.words.replace("{skills}", "\n".join(f"- {skill}" for skill in listed)))


def _plain(types: Mapping[str, tuple[str, ...]]) -> list[Any]:
    return [[kind, list(listed)] for kind, listed in sorted(types.items())]


def _read(path: Path) -> SkillsConfig:
    try:
        text = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
        return SkillsConfig(**{key: text[key] for key in text if key in ("general", "types")})
    except (OSError, ValueError) as error:
        raise DataError(
            f"The skills in {path} cannot be read.",
            str(error).strip().splitlines()[0],
            'Write general = ["..."] and a table [types] of lists of text.',
        ) from error
