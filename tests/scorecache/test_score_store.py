"""The store: every bit comes back, a key keeps its first answer, damage is a miss, several processes share it."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_episodes import make_episode

from agentdistill.errors import DataError
from agentdistill.records import ScoreRequest, TeacherScores
from agentdistill.scorecache import ScoreStore, score_key
from agentdistill.scorecache.arrays import pack_scores, unpack_scores
from agentdistill.scorecache.keys import narrowed, serves
from agentdistill.scorecache.pack import check_pack
from agentdistill.scorecache.upkeep import prune, stats, verify
from agentdistill.teachers.scoring import SparseStates

FULL = ScoreRequest(top_k=3, hidden=True, entropy=True, confidence=True)


def some_scores(length: int = 7, seed: int = 0, dtype: torch.dtype = torch.float32, k: int = 3) -> TeacherScores:
    rng = np.random.default_rng(seed)
    valid = rng.random(length) < 0.6
    valid[-1] = True
    numbers = lambda *shape: np.where(  # noqa: E731
        valid.reshape(-1, *[1] * len(shape)), -rng.random((length, *shape)), np.nan
    ).astype(np.float32)
    at = torch.from_numpy(np.flatnonzero(valid))
    return TeacherScores(
        numbers(),
        valid,
        topk_ids=np.where(valid[:, None], rng.integers(0, 99, (length, k)), -1).astype(np.int32),
        topk_logprobs=numbers(k),
        entropy=numbers(),
        hidden=SparseStates(length, at, torch.from_numpy(rng.standard_normal((len(at), 5))).to(dtype)),
        confidence=numbers(),
        source=np.where(valid, 1, -1).astype(np.int16),
    )


def same(a: TeacherScores, b: TeacherScores) -> bool:
    for field in fields(TeacherScores):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if (x is None) != (y is None):
            return False
        if x is None:
            continue
        if field.name == "hidden":
            alike = torch.equal(x.positions, y.positions) and x.states.dtype == y.states.dtype
            if not alike or x.length != y.length or not torch.equal(x.states, y.states):
                return False
        elif x.dtype != y.dtype or x.shape != y.shape or x.tobytes() != y.tobytes():
            return False
    return True


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_bit_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    rows = [some_scores(seed=1, dtype=dtype), some_scores(1, 2, dtype), some_scores(40, 3, dtype)]
    ScoreStore(tmp_path).add({"a": rows}, FULL)
    found = ScoreStore(tmp_path).find(["b", "a"], FULL)
    assert list(found) == ["a"] and all(same(x, y) for x, y in zip(found["a"], rows, strict=True))
    assert found["a"][0].sampled_logprob.flags.writeable


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 2**32), st.integers(0, 4))
def test_packing_is_exact_for_any_bits(length: int, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 2**32, length, dtype=np.uint32).view(np.float32)
    scores = TeacherScores(raw, rng.random(length) < 0.5, topk_ids=rng.integers(-5, 5, (length, k)).astype(np.int32))
    assert same(unpack_scores(pack_scores(scores)), scores)


def test_dense_hidden_states_come_back_and_unknown_ones_are_refused() -> None:
    base = some_scores(4)
    for hidden in (np.arange(8, dtype=np.float16).reshape(4, 2), torch.arange(8.0).reshape(4, 2)):
        again = unpack_scores(pack_scores(replace(base, hidden=hidden))).hidden
        assert type(again) is type(hidden) and bool((again == hidden).all())
    with pytest.raises(DataError, match="of the type list"):
        pack_scores(replace(base, hidden=[1, 2]))


def test_the_key_is_about_content_and_nothing_else() -> None:
    rows = make_episode(turns=[(5, 3), (2, 2)]).rows
    key = score_key("teacher", "", "", rows)
    other = replace(rows[0], old_logprob=rows[0].old_logprob + 1)
    assert score_key("teacher", "", "", [other]) == key
    flipped = replace(rows[0], mask=~rows[0].mask)
    ids = replace(rows[0], token_ids=rows[0].token_ids + 1)
    turns = replace(rows[0], step_of_token=rows[0].step_of_token + 1)
    keys = [score_key("teacher", "", "", [row]) for row in (flipped, ids, turns)]
    keys += [score_key(*who, rows) for who in (("other", "", ""), ("teacher", "v", ""), ("teacher", "", "v"))]
    keys += [score_key("teacher", "", "", [*rows, *rows]), score_key("", "teacher", "", rows)]
    assert len({key, *keys}) == len(keys) + 1


def test_a_smaller_question_is_served_by_a_larger_answer_and_only_where_that_is_exact() -> None:
    full = ScoreRequest(top_k=8, entropy=True, confidence=True)
    assert serves(full, full) and serves(full, ScoreRequest()) and serves(full, ScoreRequest(confidence=True))
    assert serves(full, ScoreRequest(top_k=8))
    assert not serves(full, ScoreRequest(top_k=4))  # equal probabilities may be cut otherwise
    assert not serves(full, ScoreRequest(entropy=True))  # a bound from eight tokens is not one from none
    assert serves(ScoreRequest(entropy=True, hidden=True), ScoreRequest(entropy=True))
    assert not serves(ScoreRequest(), full) and not serves(ScoreRequest(sampled=False, hidden=True), ScoreRequest())
    scores = some_scores()
    small = narrowed(scores, full, ScoreRequest())
    assert small.topk_ids is None and small.entropy is None and small.confidence is None and small.hidden is None
    assert narrowed(scores, full, full) is scores


def test_the_first_answer_stays_whoever_comes_second(tmp_path: Path) -> None:
    one, two = ScoreStore(tmp_path), ScoreStore(tmp_path)
    mine, theirs = [some_scores(seed=1)], [some_scores(seed=2)]
    assert one.add({"a": mine}, FULL)["a"] is mine
    kept = two.add({"a": theirs, "b": theirs}, FULL)
    assert same(kept["a"][0], mine[0]) and kept["b"] is theirs
    assert same(one.find(["b"], FULL)["b"][0], theirs[0])  # written by another after it looked first


def test_damage_is_a_miss_that_is_counted_named_and_mended(tmp_path: Path) -> None:
    home = tmp_path / "teacher"
    rows = [some_scores(seed=1)]
    ScoreStore(home).add({"a": rows}, FULL)
    (pack,) = home.glob("*.scores")
    data = bytearray(pack.read_bytes())
    data[-3] ^= 1
    pack.write_bytes(data)
    store = ScoreStore(home)
    assert store.find(["a"], FULL) == {} and store.take_corrupt() == 1 and len(store) == 0
    found = verify(tmp_path)
    assert [path for path, _ in found.damaged] == [pack] and "hidden.states" in found.damaged[0][1]
    store.add({"a": rows}, FULL)  # the same content has the same name
    assert not verify(tmp_path).damaged and same(ScoreStore(home).find(["a"], FULL)["a"][0], rows[0])
    for broken in (data[:10], b"", data[:30] + b"!" + data[31:], b"not a pack of scores at all"):
        pack.write_bytes(broken)
        store = ScoreStore(home)
        assert store.find(["a"], FULL) == {} and store.corrupt == 1
        assert len(verify(tmp_path).damaged) == 1
        assert stats(tmp_path)[0].unreadable == 1
    assert verify(tmp_path, delete=True).removed == 1 and not list(home.glob("*.scores"))


def test_a_pack_under_another_name_is_damaged(tmp_path: Path) -> None:
    ScoreStore(tmp_path).add({"a": [some_scores()]}, FULL)
    (pack,) = tmp_path.glob("*.scores")
    assert len(check_pack(pack)) == 1
    moved = pack.rename(pack.with_name("0" * 64 + ".scores"))
    with pytest.raises(DataError, match="not the one it is named by"):
        check_pack(moved)


def test_pruning_begins_with_what_nobody_needed_for_longest(tmp_path: Path) -> None:
    home = tmp_path / "teacher"
    store = ScoreStore(home)
    for number, key in enumerate("abc"):
        store.add({key: [some_scores(seed=number)]}, FULL)
        newest = max(home.glob("*.scores"), key=lambda p: p.stat().st_ctime_ns)
        os.utime(newest, (1000 + number, 1000 + number))
    running = ScoreStore(home)
    assert list(ScoreStore(home).find(["a"], FULL)) == ["a"]  # now in use
    (home / ".x.scores.partial-1").write_bytes(b"half")
    one = stats(tmp_path)[0].size // 3
    would = prune(tmp_path, max_bytes=2 * one + 9, dry_run=True)
    assert len(would.packs) == 1 and len(list(home.glob("*.scores"))) == 3
    assert prune(tmp_path, max_bytes=2 * one + 9).packs == would.packs
    assert not list(home.glob(".*"))
    assert sorted(ScoreStore(home).find("abc", FULL)) == ["a", "c"]
    assert sorted(running.find("abc", FULL)) == ["a", "c"]  # a run under way just misses what is gone
    assert running.corrupt == 0
    os.utime(next(home.glob("*.scores")), (1000, 1000))
    assert len(prune(tmp_path, unused_seconds=3600).packs) == 1
    assert len(prune(tmp_path, home=home).packs) == 1 and stats(tmp_path) == []


def _writer(folder: Path, number: int, done: multiprocessing.Queue) -> None:
    store = ScoreStore(folder)
    got = {}
    for step in range(12):
        keys = [f"{step}/{i}" for i in range(3)]
        found = store.find(keys, FULL)
        missing = {key: [some_scores(seed=1000 * number + step)] for key in keys if key not in found}
        found |= store.add(missing, FULL) if missing else {}
        got |= {key: rows[0].sampled_logprob.tobytes() for key, rows in found.items()}
    done.put(got)


def test_processes_share_a_store_and_agree_on_every_answer(tmp_path: Path) -> None:
    """Four writers with four opinions about the same keys: each key has one answer, and everybody used that one."""
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    workers = [context.Process(target=_writer, args=(tmp_path / "t", n, done)) for n in range(4)]
    for worker in workers:
        worker.start()
    answers = [done.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert all(answer == answers[0] for answer in answers) and len(answers[0]) == 36
    assert not verify(tmp_path).damaged and verify(tmp_path).episodes == 36


def test_a_killed_writer_leaves_all_of_a_call_or_nothing(tmp_path: Path) -> None:
    """SIGKILL at any moment of 40 calls: what is there is whole, and calls are kept whole."""
    context = multiprocessing.get_context("fork")

    def work() -> None:
        store = ScoreStore(tmp_path / "t")
        for call in range(40):
            store.add({f"{call}/{i}": [some_scores(200, seed=call)] for i in range(4)}, FULL)

    for delay in (0.005, 0.02, 0.05):
        worker = context.Process(target=work)
        worker.start()
        worker.join(delay)
        worker.kill()
        worker.join(30)
        store = ScoreStore(tmp_path / "t")
        found = store.find([f"{call}/{i}" for call in range(40) for i in range(4)], FULL)
        counts = [sum(key.startswith(f"{call}/") for key in found) for call in range(40)]
        assert set(counts) <= {0, 4} and store.corrupt == 0 and not verify(tmp_path).damaged
