"""SOPD: what it plans. What becomes of such plans is tested where they are played, in tests/rollout/test_relabel.py."""

from __future__ import annotations

from scored import progress, reborn, task

from agentdistill.records import Actor, LossRole, Relabel
from agentdistill_curricula.sopd import Sopd, SopdConfig


def test_the_student_plays_and_the_teacher_writes():
    plan = Sopd(SopdConfig()).plan(task(), progress())
    assert plan.relabel == Relabel(Actor.TEACHER, 0.0) and plan.student_role is LossRole.NONE
    assert (plan.guide, plan.control, plan.horizon, plan.prefix) == (0.0, None, None, ())


def test_options():
    plan = Sopd(SopdConfig(guide="expert", temperature=0.7, distill=True, horizon=5)).plan(task(), progress())
    assert plan.relabel == Relabel(Actor.EXPERT, 0.7) and plan.student_role is LossRole.DISTILL and plan.horizon == 5
    assert Sopd(SopdConfig(horizon=30)).plan(task(), progress(limit=30)).horizon is None
    assert Sopd(SopdConfig()).needs == {"teacher"} and Sopd(SopdConfig(guide="expert")).needs == {"expert"}
    assert reborn(Sopd(SopdConfig())).state_dict() == {}
