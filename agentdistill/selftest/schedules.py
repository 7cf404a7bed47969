"""Does what is restored from a checkpoint go on as what wrote it would have?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentdistill.errors import CheckpointError
from agentdistill.learner.progress import LearnerProgress
from agentdistill.records import EpisodePlan
from agentdistill.selftest.gradients import measure
from agentdistill.selftest.material import Material
from agentdistill.training.curriculum import Progress

if TYPE_CHECKING:
    from agentdistill.training.assembly import Parts

TASKS = 3


def check_resume(material: Material) -> str:
    """See `SelfTest.resume`.

    Raises:
        CheckpointError: a restored part differs from the one that was saved.
    """
    parts = material.parts
    total = parts.config.optim.steps
    steps = sorted({0, total // 3, total // 2, total - 1})
    own = material.trains_own_turns
    before = measure(material, material.learner(), material.other_scores, random=True).metrics if own else {}
    metrics = {**before, "rollout/success": 0.5, "curriculum/depth": 2.0}
    told = [_curriculum(material, steps, metrics)]
    if parts.config.fusion is not None:
        told.append(_fusion(parts, steps, metrics))
    if own:
        told.append(_learner(material, total // 2))
    return " · ".join(told)


def _curriculum(material: Material, steps: list[int], metrics: Mapping[str, float]) -> str:
    parts, kind = material.parts, "curriculum"
    section = parts.config.curriculum
    first, second = (parts.registry.build(kind, section, kind) for _ in range(2))

    def plans(curriculum: Any) -> list[EpisodePlan]:
        settings = parts.settings
        return [
            curriculum.plan(
                task,
                Progress(step, steps[-1] + 1, settings.max_steps, parts.demonstrations, parts.recordings, seed, sample),
            )
            for step in steps
            for seed, task in enumerate(parts.tasks[:TASKS])
            for sample in range(2)
        ]

    look = getattr(first, "observe_episodes", None)
    if look is not None:
        look(material.episodes, material.own_scores if parts.config.loss is not None else None)
    first.observe(metrics)
    second.load_state_dict(_on_disk(first.state_dict(), f"curriculum `{section.type}`"))
    one, other = plans(first), plans(second)
    if one != other:
        place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        raise _differs(f"curriculum `{section.type}`", f"It planned {one[place]}, and restored plans {other[place]}.")
    return f"curriculum {section.type}: {len(one)} plans again"


def _fusion(parts: Parts, steps: list[int], metrics: Mapping[str, float]) -> str:
    section = parts.config.fusion
    assert section is not None
    first, second = (parts.registry.build("fusion", section, "fusion") for _ in range(2))
    first.observe(metrics)
    second.load_state_dict(_on_disk(first.state_dict(), f"fusion `{section.type}`"))
    places = [LearnerProgress(step, steps[-1] + 1) for step in steps]
    one, other = [first.scales(place) for place in places], [second.scales(place) for place in places]
    if one != other:
        raise _differs(f"fusion `{section.type}`", f"Its scales were {one}, and restored they are {other}.")
    return f"fusion {section.type}: {len(one)} scales again"


def _learner(material: Material, step: int) -> str:
    first, second = material.learner(), material.learner()
    first.steps_done = step
    second.load_state_dict(first.state_dict())
    one = measure(material, first, material.other_scores, random=True)
    other = measure(material, second, material.other_scores, random=True)
    if one.loss != other.loss or one.distance(other) != 0.0:
        raise _differs(
            "learner", f"At step {step} its loss was {one.loss!r}, restored it is {other.loss!r}, on the same batch."
        )
    return f"loss and gradient of step {step} again, to the bit"


def _on_disk(state: Mapping[str, Any], who: str) -> Any:
    """A state as it comes back from a checkpoint."""
    try:
        return json.loads(json.dumps(state))
    except TypeError as error:
        raise _differs(who, f"Its state cannot be written as JSON: {error}.") from error


def _differs(who: str, why: str) -> CheckpointError:
    return CheckpointError(
        f"The self-test failed: the {who} restored from its own state is not what it was.",
        why,
        "A resumed run would go another way than one that was never stopped; mend its `state_dict`.",
    )
