"""What lifecycle hooks receive: one frozen record for each hook. New fields may be added; none is taken away.

Events are for watching: a plugin that changes what it is given changes nothing in the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from agentdistill.config.resolved import ResolvedConfig
    from agentdistill.records import TeacherScores, Trajectory


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run is about to start.

    Attributes:
        config: the resolved configuration.
        directory: the run directory.
        plan: what the run will do, one line each.
        provenance: versions, hashes and seeds, as they go into every result.
    """

    hook: ClassVar[str] = "agentdistill_run_start"
    config: ResolvedConfig
    directory: Path
    plan: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """An episode was played.

    Attributes:
        trajectory: the episode.
        step: optimiser steps done so far.
        evaluation: it was played for an evaluation, not for training.
    """

    hook: ClassVar[str] = "agentdistill_episode_end"
    trajectory: Trajectory
    step: int
    evaluation: bool = False


@dataclass(frozen=True, slots=True)
class BatchReady:
    """A batch was scored and is about to be learned from.

    Attributes:
        step: the optimiser step it is for, from 0.
        trajectories: the episodes.
        metrics: numbers about the batch.
        scores: the teacher's scores: one list per trajectory, one entry per token row; empty when nothing was
            scored (imitation).
    """

    hook: ClassVar[str] = "agentdistill_batch_ready"
    step: int
    trajectories: Sequence[Trajectory]
    metrics: Mapping[str, float] = field(default_factory=dict)
    scores: Sequence[Sequence[TeacherScores]] = ()


@dataclass(frozen=True, slots=True)
class StepEnd:
    """An optimiser step is done.

    Attributes:
        step: optimiser steps done, this one included.
        metrics: numbers, and curves over turns as lists.
    """

    hook: ClassVar[str] = "agentdistill_step_end"
    step: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint was written.

    Attributes:
        step: optimiser steps done.
        path: its directory, complete on disk.
    """

    hook: ClassVar[str] = "agentdistill_checkpoint"
    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Restored:
    """A run was resumed.

    Attributes:
        step: optimiser steps done when the checkpoint was written.
        path: the checkpoint's directory.
    """

    hook: ClassVar[str] = "agentdistill_restore"
    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class EvalEnd:
    """An evaluation is done.

    Attributes:
        step: optimiser steps done.
        panel: name of the panel.
        result: an `agentdistill.evaluate.EvalResult`.
    """

    hook: ClassVar[str] = "agentdistill_eval_end"
    step: int
    panel: str
    result: Any


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run is over.

    Attributes:
        step: optimiser steps done.
        directory: the run directory.
        results: what was measured, as written to `results.json`.
    """

    hook: ClassVar[str] = "agentdistill_run_end"
    step: int
    directory: Path
    results: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunError:
    """A run failed; the exception goes on to the caller afterwards.

    Attributes:
        step: optimiser steps done.
        error: the exception.
        directory: the run directory.
    """

    hook: ClassVar[str] = "agentdistill_error"
    step: int
    error: BaseException
    directory: Path | None = None


EVENTS = (RunStart, EpisodeEnd, BatchReady, StepEnd, CheckpointSaved, Restored, EvalEnd, RunEnd, RunError)
"""Every event."""
