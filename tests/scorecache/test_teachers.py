"""Teachers before a cache: the very bits of the live ones, on the real starters, for everything that can be asked."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from made_episodes import make_episode
from test_score_store import same
from tiny import tiny_model, tiny_tokenizer
from tiny_runs import save_models

from agentdistill.errors import ConfigError, DataError, TokenizationError
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest, TeacherScores
from agentdistill.scorecache import store as store_module
from agentdistill.scorecache.cached import CachedTeacher
from agentdistill.scorecache.setup import with_cache
from agentdistill.scorecache.stored import StoredTeacher
from agentdistill.scorecache.upkeep import stats, verify
from agentdistill.teachers.nested import build_teacher
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.stored import StoredConfig, stored

REQUESTS = [
    ScoreRequest(),
    ScoreRequest(top_k=16),
    ScoreRequest(hidden=True),
    ScoreRequest(entropy=True),
    ScoreRequest(confidence=True),
    ScoreRequest(top_k=5, hidden=True, entropy=True, confidence=True),
]


def loaded(seed: int = 0, **more) -> LoadedModel:
    return LoadedModel(tiny_model(seed, hidden=32, **more), tiny_tokenizer(), f"tiny-{seed}", None, f"print-{seed}")


def local(seed: int = 0) -> LocalTeacher:
    return LocalTeacher(LocalConfig(model=f"tiny-{seed}"), loaded(seed))


def episodes(count: int = 3, seed: int = 0):
    return [make_episode(turns=[(5, 3), (4, 2), (2, 6)][: 1 + i % 3], seed=seed + i) for i in range(count)]


def alike(a, b) -> bool:
    return all(same(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True))


class Calls:
    """Wraps a teacher, passing everything on and counting what reaches it."""

    def __init__(self, inner, **extra):
        self.inner, self.asked = inner, []
        self.__dict__ |= extra

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def score(self, trajectories, request):
        self.asked.append(len(trajectories))
        return self.inner.score(trajectories, request)


def cached(teacher, folder: Path, mode: str | None = "on", student=None, **options):
    return with_cache(
        lambda: teacher, mode=mode, folder=str(folder), type_name="local", options=options, student=student or loaded(1)
    )


@pytest.fixture(scope="module")
def starters():
    registry = PluginRegistry.load()
    return load_model("starter", registry=registry), load_model("starter-teacher", registry=registry)


@pytest.mark.oracle
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_kept_scores_are_those_of_the_live_starter_to_the_bit(tmp_path, starters, request_) -> None:
    student, model = starters
    teacher = LocalTeacher(LocalConfig(model="starter-teacher"), model)
    vocabulary = len(model.tokenizer)
    played = [make_episode(turns=[(40, 9), (25, 12)], seed=i, vocab=vocabulary) for i in range(4)]
    live = teacher.score(played, request_)
    first = cached(Calls(teacher), tmp_path, student=student)
    assert alike(first.score(played, request_), live) and first.inner.asked == [4]
    again = cached(Calls(teacher), tmp_path, student=student)
    assert alike(again.score(played[::-1], request_), live[::-1]) and again.inner.asked == []
    only = cached(None, tmp_path, "only", student=student)
    assert isinstance(only, StoredTeacher) and alike(only.score(played, request_), live)
    if request_.hidden:
        weight = teacher.output_weight()
        first.output_weight()
        assert (cached(None, tmp_path, "only", student=student).output_weight() == weight).all()


def test_it_asks_only_for_what_is_not_kept_and_once_for_what_stands_twice(tmp_path) -> None:
    teacher = cached(Calls(local()), tmp_path)
    one, two, three = episodes()
    teacher.score([one, two, one], ScoreRequest())
    teacher.score([one, three, two], ScoreRequest())
    assert teacher.inner.asked == [2, 1]
    tokens = 2 * len(one.rows[0]) + len(two.rows[0])
    expected = {"cache_hits": 3, "cache_misses": 3, "cached_tokens": tokens, "calls": 2}
    assert teacher.metrics() == {**expected, "cache_unwritten": 0, "cache_corrupt": 0}
    assert not any(teacher.metrics().values())


def test_members_of_the_inner_teacher_show_through(tmp_path) -> None:
    class Rich(Calls):
        members = ("a", "b")

        def metrics(self):
            return {"own": 2.0}

        def state_dict(self):
            return {"x": 1}

    teacher = cached(Rich(local()), tmp_path)
    assert teacher.members == ("a", "b") and teacher.state_dict() == {"x": 1} and teacher.metrics()["own"] == 2.0
    assert not hasattr(teacher, "after_step") and not hasattr(teacher, "guide")
    assert teacher.capabilities == local().capabilities and teacher.policy().name == "tiny-0"


def test_what_else_scores_depend_on_is_part_of_the_key(tmp_path) -> None:
    teacher = cached(Calls(local(), cache_key=lambda t: t.meta.get("hint", "")), tmp_path)
    (episode,) = episodes(1)
    hinted = dataclasses.replace(episode, meta={"hint": "left"})
    teacher.score([episode, hinted], ScoreRequest())
    teacher.score([hinted], ScoreRequest())
    assert teacher.inner.asked == [2]
    only = cached(None, tmp_path, "only")
    only.score([episode], ScoreRequest())
    with pytest.raises(DataError, match="depend on more than tokens"):
        only.score([dataclasses.replace(episode, rows=episodes(2)[1].rows)], ScoreRequest())


def test_a_teacher_without_a_vocabulary_is_cached_by_the_students(tmp_path) -> None:
    teacher = Calls(local(), tokenizer=None)
    first = cached(teacher, tmp_path)
    first.score(episodes(), ScoreRequest())
    cached(teacher, tmp_path).score(episodes(), ScoreRequest())
    other = LoadedModel(None, tiny_tokenizer("{{ messages[0]['content'] }}"), "other", None, "")
    cached(teacher, tmp_path, student=other).score(episodes(), ScoreRequest())
    assert teacher.asked == [3, 3]


def test_a_row_nobody_answered_is_not_kept(tmp_path) -> None:
    """A teacher that was away for a moment must not be away for ever."""

    class Away(Calls):
        def score(self, trajectories, request):
            answers = super().score(trajectories, request)
            length = len(trajectories[0].rows[0])
            answers[0] = [TeacherScores(np.full(length, np.nan, dtype=np.float32), np.zeros(length, dtype=bool))]
            return answers

    first = cached(Away(local()), tmp_path)
    assert not first.score(episodes(), ScoreRequest())[0][0].valid.any()
    second = cached(Calls(local()), tmp_path)
    assert second.score(episodes(), ScoreRequest())[0][0].valid.any() and second.inner.asked == [1]


def test_who_decides_whether_scores_are_kept(tmp_path) -> None:
    assert isinstance(cached(local(), tmp_path, None), LocalTeacher)
    assert isinstance(cached(local(), tmp_path, "off"), LocalTeacher)
    assert isinstance(cached(Calls(local(), cache_default="on"), tmp_path, None), CachedTeacher)
    assert isinstance(cached(Calls(local(), cache_default="on"), tmp_path, "off"), Calls)
    moving = Calls(local(), cacheable=False, cache_default="on")
    assert cached(moving, tmp_path, None) is moving
    with pytest.raises(ConfigError, match="cannot be kept"):
        cached(moving, tmp_path, "on")
    with pytest.raises(ConfigError, match="not 'yes'"):
        cached(local(), tmp_path, "yes")


def test_a_teacher_whose_fingerprint_moves_is_another_one(tmp_path) -> None:
    inner = Calls(local(), fingerprint="before")
    teacher = cached(inner, tmp_path)
    teacher.score(episodes(), ScoreRequest())
    inner.fingerprint = "after"
    teacher.score(episodes(), ScoreRequest())
    inner.fingerprint = "before"
    teacher.score(episodes(), ScoreRequest())
    assert inner.asked == [3, 3] and len(stats(tmp_path)) == 2


def test_only_knows_the_teacher_by_its_section_and_says_what_is_missing(tmp_path) -> None:
    cached(local(), tmp_path, model="x").score(episodes(2), ScoreRequest(top_k=2))
    only = cached(None, tmp_path, "only", model="x")
    assert "act" not in only.capabilities and only.metrics()["calls"] == 0
    with pytest.raises(DataError, match=r"no scores of the teacher x \(local, .*for 1 of 3 episodes"):
        only.score(episodes(3), ScoreRequest(top_k=2))
    with pytest.raises(DataError, match=r"another request than ScoreRequest.*top_k=3"):
        only.score(episodes(2), ScoreRequest(top_k=3))
    with pytest.raises(DataError, match="no output layer"):
        only.output_weight()
    with pytest.raises(ConfigError, match=r"no kept scores of this \[teacher\] section.*has scores of: x \(local"):
        cached(None, tmp_path, "only", model="y")
    with pytest.raises(ConfigError, match="has scores of: nobody"):
        cached(None, tmp_path / "elsewhere", "only", model="x")
    other = LoadedModel(None, tiny_tokenizer("{{ messages[0]['content'] }}"), "other", None, "")
    with pytest.raises(TokenizationError, match="another tokenizer"):
        cached(None, tmp_path, "only", model="x", student=other)


def test_a_folder_of_scores_is_a_teacher_anywhere(tmp_path) -> None:
    teacher = cached(local(), tmp_path / "here", model="x")
    live = teacher.score(episodes(), ScoreRequest())
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    config = StoredConfig(scores=str(tmp_path / "there"))
    assert alike(stored(config, loaded(1)).score(episodes(), ScoreRequest()), live)
    cached(Calls(local(), fingerprint="other"), tmp_path / "there", model="y").score(episodes(), ScoreRequest())
    with pytest.raises(ConfigError, match="several teachers"):
        stored(config, loaded(1))
    prefix = teacher.fingerprint[:5]
    chosen = stored(StoredConfig(scores=str(tmp_path / "there"), fingerprint=prefix), loaded(1))
    assert chosen.fingerprint == teacher.fingerprint
    with pytest.raises(ConfigError, match="begins with 'zz'"):
        stored(StoredConfig(scores=str(tmp_path / "there"), fingerprint="zz"), loaded(1))


def test_a_teacher_inside_another_may_have_a_cache_of_its_own(tmp_path) -> None:
    save_models(tmp_path, teacher=2)
    options = {"type": "local", "model": str(tmp_path / "teacher")}
    registry = PluginRegistry.load()
    assert isinstance(build_teacher(options, "teacher.inner", registry=registry), LocalTeacher)
    options |= {"cache": "on", "cache_folder": str(tmp_path / "scores")}
    inner = build_teacher(options, "teacher.inner", registry=registry, student=loaded(1))
    live = inner.score(episodes(), ScoreRequest())
    shutil.rmtree(tmp_path / "teacher")
    again = build_teacher(options | {"cache": "only"}, "teacher.inner", registry=registry, student=loaded(1))
    assert alike(again.score(episodes(), ScoreRequest()), live)


def test_a_full_disk_costs_the_cache_and_not_the_run(tmp_path, monkeypatch, caplog) -> None:
    full = True

    def write(path, data):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    write_bytes = store_module.write_bytes
    monkeypatch.setattr(store_module, "write_bytes", write)
    teacher = cached(Calls(local()), tmp_path)
    live = local().score(episodes(), ScoreRequest())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert alike(teacher.score(episodes(), ScoreRequest()), live)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "cannot be kept" in warning and "No space left on device" in warning and "cache prune" in warning
    assert teacher.metrics()["cache_unwritten"] == 9 and teacher.inner.asked == [3, 3, 3]
    full = False
    teacher.score(episodes(), ScoreRequest())
    teacher.score(episodes(), ScoreRequest())
    assert teacher.inner.asked == [3, 3, 3, 3] and not verify(tmp_path).damaged


def test_a_write_that_the_system_cuts_short(tmp_path, caplog) -> None:
    """The system lets files grow to 20 kB: what does not fit is not kept, and nothing half-written stays."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        teacher = cached(Calls(local()), tmp_path)
        for step in range(6):
            batch = episodes(1 + step, seed=100 * step)
            wide = ScoreRequest(top_k=100, hidden=True)
            assert alike(teacher.score(batch, wide), local().score(batch, wide))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    metrics = teacher.metrics()
    assert 0 < metrics["cache_unwritten"] < metrics["cache_misses"] == 21
    assert sum("cannot be kept" in record.getMessage() for record in caplog.records) == 1
    assert not verify(tmp_path).damaged and not list(tmp_path.rglob(".*partial*"))


def test_a_folder_that_cannot_be_written_is_read(tmp_path, caplog) -> None:
    cached(local(), tmp_path / "scores").score(episodes(), ScoreRequest())
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made below a file")
    teacher = cached(Calls(local()), blocked)
    teacher.score(episodes(), ScoreRequest())
    teacher.score(episodes(), ScoreRequest())
    assert teacher.metrics()["cache_unwritten"] == 6
    assert sum("cannot be kept" in record.getMessage() for record in caplog.records) == 1


def test_damage_is_asked_for_again_and_counted(tmp_path) -> None:
    first = cached(Calls(local()), tmp_path)
    live = first.score(episodes(), ScoreRequest())
    (pack,) = tmp_path.rglob("*.scores")
    data = bytearray(pack.read_bytes())
    data[-1] ^= 255
    pack.write_bytes(data)
    second = cached(Calls(local()), tmp_path)
    assert np.array_equal(second.score(episodes(), ScoreRequest())[2][0].valid, live[2][0].valid)
    metrics = second.metrics()
    assert second.inner.asked == [1] and metrics["cache_corrupt"] == 1 and metrics["cache_hits"] == 2


def test_its_checks_wait_for_the_first_question_where_it_has_answered_before(tmp_path) -> None:
    checked = []

    class Checked(Calls):
        def check(self, trajectories):
            checked.append(len(trajectories))
            return ["is well"]

    first = cached(Checked(local()), tmp_path)
    assert first.check(episodes(2))[1] == "is well" and checked == [2]
    first.score(episodes(), ScoreRequest())
    second = cached(Checked(local()), tmp_path)
    assert "3 episodes" in second.check(episodes(2))[0] and checked == [2]
    second.score(episodes(), ScoreRequest())
    assert checked == [2]
    second.score(episodes(5), ScoreRequest())
    second.score(episodes(6), ScoreRequest())
    assert checked == [2, 2]
