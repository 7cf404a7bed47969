"""Several worlds in one JVM: none changes another, and what is static in the simulator belongs to one at a time."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import scienceworld

from agentdistill.errors import EnvironmentFailure
from agentdistill_scienceworld import jvm
from agentdistill_scienceworld.classfile import hash_by_number
from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.env import ScienceWorldEnv
from agentdistill_scienceworld.simulator import Simulator
from agentdistill_scienceworld.source import ScienceWorldSource

THINGS = "scienceworld/struct/EnvObject.class"


@pytest.fixture
def other(env: ScienceWorldEnv) -> Iterator[ScienceWorldEnv]:
    """A second world beside `env`, without any simplification."""
    made = ScienceWorldSource(ScienceWorldConfig(simplification="")).make()
    yield made
    made.close()


def statics(simulator: Simulator) -> tuple[int, int, str]:
    """A random number, the number of the next thing, and the simplifications, as the simulator's code sees them."""
    java = simulator.jvm._gateway.jvm
    with simulator._turn() as call:
        draw = call(simulator.jvm.statics._random._module.nextInt, 1_000_000)
        return draw, call(java.util.UniqueIdentifier.count), str(call(simulator._java.getSimplificationsUsed))


def test_no_world_sees_the_statics_of_another(env, other):
    env.reset(options={"task": "melt/3"})
    mine = env._simulator
    alone = [statics(mine) for _ in range(4)]
    assert len({draw for draw, _, _ in alone}) == 4
    env.reset(options={"task": "melt/3"})
    seen = []
    for number in range(4):
        other.reset(options={"task": f"find-plant/{number}"})
        statics(other._simulator)
        seen.append(statics(mine))
    assert seen == alone
    assert statics(other._simulator)[2] != alone[0][2]


PLANTING = [
    "open door to greenhouse", "teleport to greenhouse", "open door to outside", "wait", "look around",
    "move flower pot 1 to agent", "inventory", "teleport to outside", "wait1", "look around", "wait1", "look around",
]  # fmt: skip


def test_an_episode_is_the_same_beside_others(env, other):
    def played(between) -> list[object]:
        seen: list[object] = [env.reset(options={"task": "find-plant/5"})]
        for number, command in enumerate(PLANTING):
            between(number)
            seen.append(env.step(command))
        return seen

    def disturb(number: int) -> None:
        if number % 4 == 0:
            other.reset(options={"task": f"melt/{number}"})
        other.step("wait1")

    assert played(lambda number: None) == played(disturb)


def test_things_are_hashed_by_their_number(env):
    java = env._simulator.jvm._gateway.jvm
    one, two = (java.scienceworld.struct.EnvObject() for _ in range(2))
    assert (one.hashCode(), two.hashCode()) == (one.uuid(), two.uuid())
    assert one.uuid() != two.uuid()


def test_nothing_stays_of_the_changed_class(env, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = ScienceWorldEnv(heap_mb=210)
    made.reset(options={"task": "melt/0"})
    assert list(tmp_path.iterdir()) == []
    made.close()


def classes() -> zipfile.ZipFile:
    return zipfile.ZipFile(Path(scienceworld.__file__).parent / "scienceworld.jar")


def test_a_class_that_is_not_the_simulators_is_refused():
    with classes() as archive:
        right, wrong = archive.read(THINGS), archive.read("util/UniqueIdentifier.class")
    changed = hash_by_number(right)
    for data, says in (
        (wrong, "have no number"),
        (changed, "know how to hash themselves"),
        (b"PK" + right, "no class file"),
        (right[:700], "no class file"),
        (b"\xca\xfe\xba\xbe" + struct.pack(">3H", 0, 52, 9) + b"\xff" * 90, "no class file"),
    ):
        with pytest.raises(ValueError, match=says):
            hash_by_number(data)


def test_another_simulator_is_named(tmp_path):
    jar = tmp_path / "scienceworld.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("scienceworld/struct/Other.class", b"")
    with pytest.raises(EnvironmentFailure, match=r"not one that this package knows.*EnvObject"):
        jvm._write_changed_class(jar, tmp_path)
