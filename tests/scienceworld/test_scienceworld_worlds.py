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
from agentdistill_scienceworld.classfile import ClassFile
from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.env import ScienceWorldEnv
from agentdistill_scienceworld.mended import CHANGES, NAMES, PARSER, WORDS
from agentdistill_scienceworld.simulator import Simulator
from agentdistill_scienceworld.source import ScienceWorldSource


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
        draw = call(simulator.jvm.statics._random[1].nextInt, 1_000_000)
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


def test_names_are_remembered_for_a_command_and_their_words_for_longer(env):
    env.reset(options={"task": "melt/0"})
    java = env._simulator.jvm._gateway.jvm
    parser = java.scienceworld.input.InputParser
    env.step("open door to kitchen")
    seen = parser.names.size()
    assert seen > 10
    env.step("xyzzy")
    assert parser.names.size() < seen  # cleared before; no form of command begins like this
    words = env._simulator.jvm._words
    assert words.size() > 50
    for name in list(java.String.join("\n", words.keySet()).split("\n"))[:200]:
        assert list(words.get(name)) == list(parser.tokenize(name))


def test_words_are_forgotten_when_they_are_many(env, monkeypatch):
    env.reset(options={"task": "melt/0"})
    before = [env.step(command) for command in PLANTING]
    words = env._simulator.jvm._words
    words["what nobody says"] = words[next(iter(words))]
    env.reset(options={"task": "melt/0"})
    assert "what nobody says" in words
    monkeypatch.setattr(jvm, "_MOST_WORDS", 0)
    env.reset(options={"task": "melt/0"})
    assert "what nobody says" not in words
    assert [env.step(command) for command in PLANTING] == before


def test_a_step_says_what_the_simulator_says(env):
    env.reset(options={"task": "melt/0"})
    simulator, java = env._simulator, env._simulator._java
    for command in (*PLANTING, "no\nsuch\ncommand", ""):
        outcome = simulator.step(command)
        assert (outcome.completed, outcome.moves) == (java.getCompleted(), java.getNumMoves())
        assert outcome.score == round(100 * java.getScore())


def test_a_parser_that_remembers_answers_like_one_that_does_not(env, monkeypatch):
    def with_fields_only(data: bytes) -> bytes:
        found = ClassFile(data)
        for field in (NAMES, WORDS):
            found.add_static_field(field, "Ljava/util/Map;")
        return found.written()

    plainly = {**CHANGES, PARSER: with_fields_only, PARSER + "$": lambda data: data}
    monkeypatch.setattr(jvm, "CHANGES", plainly)
    plain = ScienceWorldEnv(tasks=("find-plant", "melt"), heap_mb=220)
    listed = [
        *PLANTING,
        "close door",
        "1",
        "open",
        "use thermometer on air",
        "pick up",
        "focus on thermometer in kitchen",
    ]
    said: list[list[object]] = []
    for made in (plain, env):
        said.append([])
        for task in ("melt/7", "find-plant/2"):
            said[-1].append(made.reset(options={"task": task}))
            for command in listed:
                said[-1].append(made.step(command))
                if said[-1][-1][2]:
                    break
    assert plain._simulator.jvm._words.size() == 0
    plain.close()
    assert said[0] == said[1]


def classes() -> zipfile.ZipFile:
    return zipfile.ZipFile(Path(scienceworld.__file__).parent / "scienceworld.jar")


def file(name: str) -> str:
    return name.replace(".", "/") + ".class"


@pytest.mark.parametrize("name", CHANGES)
def test_a_class_that_is_not_the_simulators_is_refused(name):
    with classes() as archive:
        right, wrong = archive.read(file(name)), archive.read("util/UniqueIdentifier.class")
    change = CHANGES[name]
    changed = change(right)
    assert len(changed) > len(right)
    for data, says in (
        (wrong, "have no number|another number of calls|does not answer"),
        (changed, "know how to hash themselves|remembers already|another number of calls|does not answer"),
        (b"PK" + right, "no class file"),
        (right[:700], "no class file"),
        (b"\xca\xfe\xba\xbe" + struct.pack(">3H", 0, 52, 9) + b"\xff" * 90, "no class file"),
    ):
        with pytest.raises(ValueError, match=says):
            change(data)


def test_another_simulator_is_named(tmp_path):
    jar = tmp_path / "scienceworld.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("scienceworld/struct/Other.class", b"")
    with pytest.raises(EnvironmentFailure, match=r"not one that this package knows.*EnvObject"):
        jvm._write_changed_classes(jar, tmp_path)
