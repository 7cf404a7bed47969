"""The sections of a recipe that choose methods: plain sections, and sections whose `type` names a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from agentdistill.plugins.options import Options


class Section(Options):
    """A section that only the core reads."""


class PluginSection(Options):
    """A section whose `type` names a plugin; the plugin's own config class validates the other keys.

    Attributes:
        type: plugin name, or "package.module:Class".
    """

    model_config = ConfigDict(extra="allow")
    KIND: ClassVar[str] = ""

    type: str

    def options(self) -> dict[str, Any]:
        """The keys that only the plugin knows."""
        return dict(self.model_extra or {})

    def shared(self) -> dict[str, Any]:
        """The core's own keys here; the plugin gets those that its config class declares too."""
        own = [name for name in type(self).model_fields if name != "type"]
        return {name: getattr(self, name) for name in own if not isinstance(getattr(self, name), BaseModel)}


def section_of(kind: str) -> type[PluginSection]:
    """The section that chooses a plugin of a kind; a bare one for kinds that only stand in other plugins' options."""
    return next((one for one in PluginSection.__subclasses__() if kind == one.KIND), PluginSection)


class TeacherSection(PluginSection):
    """Who scores the student's tokens.

    Attributes:
        cache: "on" keeps every score and never asks twice, "only" asks nobody (no model, no server; docs/cache.md),
            "off" keeps nothing; unset is what the teacher says, "on" for those that cost money.
        cache_folder: where scores are kept; unset is `scores` below $AGENTDISTILL_CACHE.
    """

    KIND = "teacher"

    cache: Literal["off", "on", "only"] | None = None
    cache_folder: str | None = None


class CurriculumSection(PluginSection):
    """Who plays which turn, from where, how deep."""

    KIND = "curriculum"


class StepWeightSection(PluginSection):
    """How much each step counts."""

    KIND = "step-weight"


class TokenWeightSection(PluginSection):
    """How much each token counts."""

    KIND = "token-weight"


class LossSection(PluginSection):
    """What the learner minimises."""

    KIND = "loss"


class RewardSection(PluginSection):
    """One term of the reward; a recipe may have several, `[[reward]]`, and adds them up.

    Attributes:
        weight: factor of the term in the sum.
    """

    KIND = "reward"

    weight: Annotated[float, Field(allow_inf_nan=False)] = 1.0


class AdvantageSection(PluginSection):
    """How rewards become the RL advantage of each turn."""

    KIND = "advantage"


class FusionSection(PluginSection):
    """How much the teacher and how much the rewards count, and when."""

    KIND = "fusion"


class SurrogateSection(PluginSection):
    """What an advantage becomes when the policy has moved on from the one that played: clips and ratio shapes."""

    KIND = "surrogate"


class FilterSection(PluginSection):
    """Which turns of a batch may be trained; a recipe may have several, `[[filter]]`, applied in order."""

    KIND = "filter"


def _as_list(value: Any) -> Any:
    if value is False or value is None:  # unset, as everywhere
        return []
    return [value] if isinstance(value, Mapping | BaseModel) else value


one_or_more = BeforeValidator(_as_list)
"""For sections that a recipe may give once, [name], or several times, [[name]]."""
