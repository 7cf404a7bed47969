"""Yesterday's scores as a teacher: no model is loaded and no server is asked.

A teacher with `[teacher] cache = "on"` leaves its scores in a cache, by the content of what was scored. This teacher
answers from there, to the bit, and stops a run that plays or trains on anything else. So a student is distilled
offline, from rollouts that were stored and scored once (`rollout.source`), as in Lightning OPD (arXiv 2604.13010): at
the weights that played the rollouts the gradient is the very one of on-policy distillation; later it is biased by how
far the student has moved, and by how far this teacher is from the one whose words the student imitated before.

Differs from the paper in that scores are found by content, not by their place in a data set: any part of the rollouts
can be trained on, in any order, under any loss that asks for the same.
"""

from __future__ import annotations

from agentdistill.errors import ConfigError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig
from agentdistill.scorecache.card import all_cards
from agentdistill.scorecache.setup import scores_folder, stored_teacher
from agentdistill.scorecache.stored import StoredTeacher


class StoredConfig(PluginConfig):
    """Whose scores, and where.

    Attributes:
        fingerprint: the teacher's fingerprint or how it begins; unset takes the only teacher there is.
        scores: the cache folder; unset is `scores` below $AGENTDISTILL_CACHE.
    """

    fingerprint: str = ""
    scores: str | None = None


def stored(config: StoredConfig, student: LoadedModel | None = None) -> StoredTeacher:
    """Makes the teacher.

    Raises:
        ConfigError: nobody has that fingerprint, or several have.
        TokenizationError: scores were kept for another tokenizer than the student's.
    """
    home = scores_folder(config.scores)
    cards = [card for card in all_cards(home).values() if card is not None]
    found = [card for card in cards if card.fingerprint.startswith(config.fingerprint)]
    if len(found) > 1:
        raise ConfigError(
            f"{home} has scores of several teachers"
            + (f" whose fingerprint begins with {config.fingerprint!r}." if config.fingerprint else "."),
            f"They are {', '.join(str(card) for card in found)}.",
            "Say which one with teacher.fingerprint.",
        )
    who = f"a teacher whose fingerprint begins with {config.fingerprint!r}" if config.fingerprint else "any teacher"
    return stored_teacher(home, found[0] if found else None, student, who)
