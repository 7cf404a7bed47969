"""What a teacher may have besides scores: numbers, checks, a state that follows the student, an outage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import metrics_of, weights_of

from agentdistill.errors import BudgetSpent, TeacherOutage
from agentdistill.training.checkpoint import list_checkpoints
from agentdistill_teachers.local import LocalConfig, LocalTeacher, local_teacher


class Follower(LocalTeacher):
    """Moves its output layer a little with every step of the student, and counts."""

    fails_at: int | None = None
    error: type[TeacherOutage] | type[BudgetSpent] = TeacherOutage

    def __init__(self, config: LocalConfig, inner: LocalTeacher) -> None:
        super().__init__(config, inner.loaded)
        self.moved, self.asked, self.closed = 0, 0, False

    def score(self, trajectories, request):
        self.asked += 1
        if self.asked == self.fails_at:
            raise self.error("The teacher is gone.", "", "Start it again.")
        return super().score(trajectories, request)

    def after_step(self, step: int) -> None:
        self.moved += 1
        with torch.no_grad():
            self.parts.weight.mul_(1.01)

    def metrics(self):
        return {"asked": self.asked}

    def check(self, trajectories):
        assert trajectories
        return ["looks alive"]

    def state_dict(self):
        return {"moved": self.moved, "weight": self.parts.weight.detach().clone()}

    def load_state_dict(self, state) -> None:
        self.moved = state["moved"]
        with torch.no_grad():
            self.parts.weight.copy_(state["weight"])

    def close(self) -> None:
        self.closed = True


def follower(config: LocalConfig, registry=None) -> Follower:
    return Follower(config, local_teacher(config, registry=registry))


FULL = {"loss__support": "full", "loss__divergence": "forward-kl", "optim__steps": 4, "run__checkpoint_every": 2}
TYPE = f"{__name__}:follower"


@pytest.fixture
def make(make_run, models: Path):
    """A run whose teacher follows."""
    return lambda name, **more: make_run(name, teacher__type=TYPE, teacher__model=str(models / "teacher"), **more)


def test_a_teacher_that_follows_is_checkpointed_and_refreshed(make, make_run) -> None:
    still = make_run("still", **FULL)
    whole = make("whole", **FULL)
    for run in (still, whole):
        run.train()
    teacher = whole.parts.teacher
    assert teacher.moved == 4 and teacher.closed
    assert weights_of(whole) != weights_of(still)
    metrics = metrics_of(whole)
    assert metrics[-1]["teacher/asked"] > metrics[0]["teacher/asked"] > 0
    saved = torch.load(list_checkpoints(whole.directory / "checkpoints")[-1].path / "trainer.pt", weights_only=True)
    assert saved["teacher"]["moved"] == 4


@pytest.mark.parametrize("error", [TeacherOutage, BudgetSpent])
def test_an_outage_keeps_the_run_and_resuming_equals_an_uninterrupted_one(make, error) -> None:
    whole = make("whole", run__self_test=False, **FULL)
    whole.train()
    broken = make("broken", run__self_test=False, **FULL)
    broken.parts.teacher.fails_at, broken.parts.teacher.error = 4, error
    with pytest.raises(error, match="as it was after step 3; --resume goes on"):
        broken.train()
    assert [c.step for c in list_checkpoints(broken.directory / "checkpoints")][-1] == 3
    make("broken", run__self_test=False, run__resume=True, **FULL).train()
    assert weights_of(broken) == weights_of(whole)


def test_checks_are_lines_of_the_plan(make) -> None:
    from agentdistill.training.preflight import preflight

    run = make("run", run__self_test=False, **FULL)
    _, lines = preflight(run.parts)
    assert lines[0] == "teacher  looks alive"
