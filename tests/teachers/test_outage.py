"""What a run does while its teacher is away, with a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdistill.clients import EndpointError
from agentdistill.errors import TeacherOutage, TrainingError
from agentdistill.teachers.outage import OutageConfig, OutagePolicy


def down(words: str = "refused") -> EndpointError:
    return EndpointError("The server cannot be reached.", words, transient=True)


class World:
    """Time that passes only by sleeping, and a server that is away between two moments."""

    def __init__(self, away: tuple[float, float] = (0.0, 0.0), cost: float = 0.1) -> None:
        self.now, self.away, self.cost = 0.0, away, cost
        self.asked: list[list[int]] = []
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds

    def healthy(self) -> None:
        if self.away[0] <= self.now < self.away[1]:
            raise down()

    def ask(self, numbers):
        self.asked.append(list(numbers))
        answers = []
        for number in numbers:
            try:
                self.healthy()
                answers.append(number * 10)
            except EndpointError as error:
                answers.append(error)
            self.now += self.cost
        return answers

    def policy(self, **options) -> OutagePolicy:
        config = OutageConfig(**options)
        return OutagePolicy(config, "the teacher", self.healthy, clock=self.clock, sleep=self.sleep)


@given(count=st.integers(0, 9), begin=st.floats(0, 1), length=st.floats(0, 500))
def test_waiting_gives_every_answer_and_asks_for_none_twice(count, begin, length):
    world = World((begin, begin + length))
    policy = world.policy()
    assert policy.collect(count, world.ask) == [number * 10 for number in range(count)]
    for before, after in zip(world.asked, world.asked[1:], strict=False):
        assert set(after) <= set(before)
    assert policy.outages <= 1 and policy.skipped == 0 and policy.waited == pytest.approx(sum(world.slept))


def test_pauses_grow_and_stay_bounded():
    world = World((0.0, 200.0))
    world.policy().collect(1, world.ask)
    assert world.slept[:5] == [0.5, 1.0, 2.0, 4.0, 8.0] and max(world.slept) == 10.0


def test_patience_is_counted_from_the_last_answer():
    world = World((0.0, 1e9))
    with pytest.raises(TeacherOutage, match="has not answered for 60 s") as caught:
        world.policy(patience=60.0).collect(2, world.ask)
    assert 60 <= world.now < 61 and "refused" in str(caught.value)


def test_no_patience_at_all():
    world = World((0.0, 1e9))
    with pytest.raises(TeacherOutage):
        world.policy(patience=0.0).collect(1, world.ask)
    assert world.slept == []


def test_stop_does_not_wait():
    world = World((0.0, 1e9))
    with pytest.raises(TeacherOutage, match="The teacher has not answered"):
        world.policy(on_outage="stop").collect(1, world.ask)
    assert world.slept == []


def test_skip_leaves_holes_and_counts_them():
    world = World((0.15, 1e9))
    policy = world.policy(on_outage="skip")
    assert policy.collect(4, world.ask) == [0, 10, None, None] and policy.skipped == 2
    with pytest.raises(TeacherOutage):  # nothing at all would leave nothing to train on
        policy.collect(4, world.ask)


def test_another_teacher_that_came_back_is_no_sign_of_life():
    world = World((0.0, 1e9))

    def somebody_else() -> None:
        raise TrainingError("Another model is served.")

    policy = OutagePolicy(OutageConfig(), "the teacher", somebody_else, clock=world.clock, sleep=world.sleep)
    with pytest.raises(TrainingError, match="Another model"):
        policy.collect(1, world.ask)


def test_a_server_that_is_well_and_never_answers_does_not_hold_the_run_for_ever():
    world = World()
    with pytest.raises(TeacherOutage, match="has not answered for 30 s"):
        world.policy(patience=30.0).collect(1, lambda numbers: [down("hung up") for _ in numbers])
    assert 30 <= world.now < 31
