"""Whose words a student has learned: kept beside its weights, and compared with the teacher of the next run.

Distillation from stored rollouts is biased by the distance between the teacher and whoever wrote the student's
imitation data (arXiv 2604.13010: 6.8 points worse with another teacher). No number of a run shows it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.atomic import write_json
from agentdistill.hashing import neutral
from agentdistill.records import Actor, Trajectory
from agentdistill.scorecache.card import identities

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill.teachers.base import Teacher

FILE = "lineage.json"
AUTHOR = "author"
"""Key of `Trajectory.meta` under which `agentdistill collect` says which model played."""

WARNING = "other-teacher"


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote episodes that a student imitated.

    Attributes:
        kind: "model" or "expert".
        name: of the model, or of the expert's environment.
        fingerprint: of the model; "" for an expert.
    """

    kind: str
    name: str
    fingerprint: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})" if self.fingerprint else f"the expert of {self.name}"


def model_author(model: LoadedModel) -> dict[str, str]:
    """What `Trajectory.meta["author"]` says of episodes that a model played."""
    return asdict(Author("model", str(neutral(model.name)), model.fingerprint))


def authors(trajectories: Iterable[Trajectory]) -> Counter[Author]:
    """Episodes by author, as far as authors are known."""
    found: Counter[Author] = Counter()
    for trajectory in trajectories:
        said = trajectory.meta.get(AUTHOR)
        if isinstance(said, dict):
            found[Author(**{key: str(said.get(key, "")) for key in ("kind", "name", "fingerprint")})] += 1
        elif trajectory.steps and all(step.actor is Actor.EXPERT for step in trajectory.steps):
            found[Author("expert", trajectory.task.env)] += 1
    return found


def read_lineage(student: LoadedModel) -> Counter[Author]:
    """Whose episodes a student has imitated; nothing when nobody wrote it down."""
    if student.path is None:
        return Counter()
    try:
        data = json.loads((student.path / FILE).read_text(encoding="utf-8"))
        return Counter({Author(a["kind"], a["name"], a["fingerprint"]): int(a["episodes"]) for a in data["imitated"]})
    except (OSError, ValueError, KeyError, TypeError):
        return Counter()


def write_lineage(folder: Path, student: LoadedModel, trajectories: Iterable[Trajectory] = ()) -> None:
    """Writes down beside a student's new weights whose episodes it has imitated, before this run and in it.

    Args:
        folder: the new weights.
        student: the model as it was loaded.
        trajectories: what it imitated in this run.
    """
    known = read_lineage(student) + authors(trajectories)
    if known:
        entries: list[dict[str, Any]] = [{**asdict(author), "episodes": count} for author, count in known.items()]
        write_json(folder / FILE, {"version": 1, "imitated": entries})


def lineage_lines(student: LoadedModel, teacher: Teacher | None, type_name: str, *, offline: bool) -> Sequence[str]:
    """A warning when the student imitated somebody else than its teacher.

    A teacher that cannot say which model it is (a server, several in one) is not compared. An environment's expert
    counts as somebody else only where rollouts are stored: played ones correct what it taught.

    Args:
        student: the student as it was loaded.
        teacher: the teacher, None without one.
        type_name: the teacher's plugin.
        offline: the run trains on stored rollouts.
    """
    if teacher is None or type_name == "expert":
        return []
    mine = identities(teacher)
    told = len(mine) > 1 and not getattr(teacher, "members", ())
    wrote = read_lineage(student)
    others = [a for a in wrote if (offline if a.kind == "expert" else told and a.fingerprint not in mine)]
    if not others:
        return []
    count = sum(wrote[author] for author in others)
    return [
        f"warning  {WARNING}: {count:,} episodes that the student imitated are by {' and '.join(map(str, others))}, "
        "not by its teacher; what the two disagree on biases distillation, from stored rollouts most of all. Imitate "
        "the teacher's own episodes (`agentdistill collect --agent student`), or play instead of rollout.source"
    ]
