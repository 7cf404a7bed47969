"""Whose words a student learned is kept beside its weights, and a teacher that is somebody else draws a warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_episodes import make_episode
from tiny import tiny_model, tiny_tokenizer

from agentdistill.cli.group import cli
from agentdistill.models import LoadedModel
from agentdistill.records import Actor
from agentdistill.store import TrajectoryStore
from agentdistill.training.lineage import AUTHOR, FILE, authors, lineage_lines, model_author, write_lineage
from agentdistill_teachers.local import LocalConfig, LocalTeacher


def loaded(name: str, path: Path | None = None) -> LoadedModel:
    return LoadedModel(tiny_model(0, hidden=32), tiny_tokenizer(), name, path, f"print-of-{name}")


def by(author: str):
    episode = make_episode()
    episode.meta[AUTHOR] = model_author(loaded(author))
    return episode


def experts():
    episode = make_episode()
    for step in episode.steps:
        step.actor = Actor.EXPERT
    return episode


def teacher(name: str) -> LocalTeacher:
    return LocalTeacher(LocalConfig(model=name), loaded(name))


def test_another_teacher_is_named_and_the_same_one_is_not(tmp_path) -> None:
    write_lineage(tmp_path, loaded("base"), [by("big"), by("big"), make_episode()])
    student = loaded("student", tmp_path)
    assert lineage_lines(student, teacher("big"), "local", offline=True) == []
    (line,) = lineage_lines(student, teacher("other"), "local", offline=False)
    assert line.startswith("warning  other-teacher: 2 episodes") and "big (print-of-big)" in line
    assert lineage_lines(loaded("unknown"), teacher("other"), "local", offline=True) == []
    assert lineage_lines(student, None, "", offline=True) == []

    class Served(LocalTeacher):
        capabilities = frozenset({"sampled"})

    served = Served(LocalConfig(model="x"), loaded("x"))
    assert lineage_lines(student, served, "vllm", offline=True) == []  # it cannot say which model it is


def test_an_expert_is_somebody_else_only_where_nothing_is_played(tmp_path) -> None:
    write_lineage(tmp_path, loaded("base"), [experts()])
    student = loaded("student", tmp_path)
    assert lineage_lines(student, teacher("big"), "local", offline=False) == []
    assert "the expert of made" in lineage_lines(student, teacher("big"), "local", offline=True)[0]
    assert lineage_lines(student, teacher("big"), "expert", offline=True) == []


def test_lineage_grows_from_run_to_run(tmp_path) -> None:
    write_lineage(tmp_path, loaded("base"), [by("big")])
    (tmp_path / "next").mkdir()
    write_lineage(tmp_path / "next", loaded("student", tmp_path), [experts(), by("big")])
    entries = json.loads((tmp_path / "next" / FILE).read_text())["imitated"]
    assert [(e["kind"], e["episodes"]) for e in entries] == [("model", 2), ("expert", 1)]
    (tmp_path / "none").mkdir()
    write_lineage(tmp_path / "none", loaded("base"))
    assert not list((tmp_path / "none").iterdir())


@pytest.mark.slow
def test_from_collect_over_sft_to_train(recipe, tiny_models, tmp_path) -> None:
    """The other model plays, the student imitates it, and its teacher is somebody else."""
    runner = CliRunner(catch_exceptions=False)
    played = ["collect", str(recipe), "--output", str(tmp_path / "data"), "--agent", "student", "--failures"]
    done = runner.invoke(cli, [*played, "--student.model", str(tiny_models / "third"), "--episodes", "4"])
    assert done.exit_code == 0, done.output
    episodes = list(TrajectoryStore(tmp_path / "data").read())
    assert [author.name for author in authors(episodes)] == ["…/third"]
    with TrajectoryStore(tmp_path / "won") as store:
        for episode in episodes:
            episode.success = True
            store.append(episode)
    sft = ["sft", str(recipe), "--data", str(tmp_path / "won"), "--output", str(tmp_path / "sft"), "--optim.steps", "1"]
    done = runner.invoke(cli, sft)
    assert done.exit_code == 0, done.output
    train = ["train", str(recipe), "--student.model", str(tmp_path / "sft" / "student"), "--optim.steps", "1"]
    done = runner.invoke(cli, [*train, "--output", str(tmp_path / "out"), "--no-self-test"])
    assert done.exit_code == 0 and "warning  other-teacher: 4 episodes" in done.output
    third = ["--teacher.model", str(tiny_models / "third"), "--output", str(tmp_path / "same"), "--no-self-test"]
    done = runner.invoke(cli, [*train, *third])
    assert done.exit_code == 0 and "other-teacher" not in done.output
