"""Nothing of a task that is evaluated or played is ever shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from contexts.corridor_store import REGISTRY, expert_episodes, task, write_store
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout.toy_world import CorridorSource
from tiny import tiny_model, tiny_tokenizer

from agentdistill.conversation.base import Situation
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import DataError
from agentdistill.evaluate.panel import resolve_panel
from agentdistill.evaluate.run import evaluate
from agentdistill.models import LoadedModel
from agentdistill.records import Trajectory
from agentdistill.rollout.play import RolloutSettings
from agentdistill_contexts.library import Library
from agentdistill_contexts.nearest import WordIndex
from agentdistill_contexts.retrieval import RetrievalContext
from agentdistill_contexts.retrieval_options import RetrievalConfig
from agentdistill_contexts.teacher_steps import TeacherEpisode, TeacherEpisodes, TeacherStep, read_episodes
from agentdistill_engines.hf import HfConfig, HfEngine


def retrieval(store: str, **options: Any) -> RetrievalContext:
    return RetrievalContext(RetrievalConfig(store=store, **options), REGISTRY)


def marked(split: str, word: str) -> list[Trajectory]:
    """Expert episodes whose answers carry a word that says where they come from."""
    episodes = expert_episodes(split)
    for episode in episodes:
        for step in episode.steps:
            step.response = step.action = f"{step.action} {word}-{episode.task.key}"
    return episodes


def here(key: str, split: str = "valid", observation: str = "A corridor of 9 steps.") -> Situation:
    return Situation("open the door", observation, (), (), task(key, split))


def shown(context: RetrievalContext, situation: Situation) -> str:
    return context.messages(situation)[-1].content


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """A store with episodes of the evaluated split beside those of the training split."""
    return write_store(tmp_path / "mixed", [*marked("train", "taught"), *marked("valid", "secret")])


def evaluated(context: RetrievalContext, seen: list[str], limit: int | None = None):
    model = LoadedModel(tiny_model(), tiny_tokenizer(), "tiny", None, "f00d")
    inner = context.messages

    def watched(situation):
        messages = inner(situation)
        seen.extend(message.content for message in messages)
        return messages

    context.messages = watched  # type: ignore[method-assign]
    source = CorridorSource()
    return evaluate(
        resolve_panel("corridor/valid", source=source, limit=limit),
        source=source,
        engine=HfEngine(HfConfig(max_context=3500), model=model),
        renderer=ChatRenderer(model.tokenizer),
        context=context,
        settings=RolloutSettings(max_steps=3, max_new_tokens=4),
        provenance={},
    )


@pytest.mark.parametrize(("limit", "held"), [(None, 5), (2, 5)])
def test_an_evaluation_shows_nothing_of_the_evaluated_split(mixed: str, limit: int | None, held: int) -> None:
    seen: list[str] = []
    context = retrieval(mixed, twins="keep", k=10)
    assert "secret" in shown(context, here("other", "test")), "before it is told"
    result = evaluated(context, seen, limit)
    assert seen and any("taught" in text for text in seen) and not any("secret" in text for text in seen)
    assert f"{held} episodes held out" in result.provenance["notes"][0]


def test_only_the_evaluated_tasks_may_be_held_out(mixed: str) -> None:
    seen: list[str] = []
    context = retrieval(mixed, held_out="tasks", twins="keep", k=9)
    result = evaluated(context, seen, limit=2)
    keys = [outcome.task.key for outcome in result.outcomes]
    text = "\n".join(seen)
    assert "2 episodes held out" in result.provenance["notes"][0]
    assert all(f"secret-{key}" not in text for key in keys)
    assert all(f"secret-{key}" in text for key in "01234" if key not in keys)


def test_an_evaluation_can_be_refused_instead(mixed: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 5 episodes of tasks that are evaluated, such as `0`"):
        evaluated(retrieval(mixed, held_out="refuse"), [])
    clean = write_store(tmp_path / "clean", marked("train", "taught"))
    assert evaluated(retrieval(clean, held_out="refuse"), []).provenance["notes"][0].endswith("0 episodes held out")


def test_a_store_of_nothing_else_cannot_be_used(tmp_path: Path) -> None:
    only = write_store(tmp_path / "only", marked("valid", "secret"))
    with pytest.raises(DataError, match="No demonstration is left"):
        evaluated(retrieval(only), [])


def test_the_task_that_is_played_never_demonstrates_itself(mixed: str) -> None:
    """In training and when nobody said what is evaluated, too."""
    context = retrieval(mixed, twins="keep", k=9)
    for key in "01234":
        text = shown(context, here(key, "train"))
        assert f"taught-{key}" not in text and text.count("taught-") == 4
        assert f"secret-{key}" not in text, "the same key and goal in another split is the same game"
    elsewhere = dataclasses.replace(here("0", "train"), task="another goal altogether in a corridor")
    assert "secret-0" in shown(context, elsewhere), "the same key may name another game in another split"


def test_an_episode_that_began_alike_is_dropped(mixed: str) -> None:
    """A game copied under another key: nothing but its beginning tells."""
    began = here("copied", "test", "A corridor of 5 steps.")
    assert "-1" not in shown(retrieval(mixed, k=9), began)
    assert "taught-1" in shown(retrieval(mixed, k=9, twins="keep"), began)


def test_what_is_shown_is_checked_again(mixed: str) -> None:
    held = read_episodes(mixed)
    library = Library(held, WordIndex, 2, True)
    place = next(i for i, step in enumerate(held.steps) if held.episodes[step.episode].task.split == "valid")
    library.require_clean([place], here("other", "test"))
    with pytest.raises(DataError, match="held out"):
        library.require_clean([place], here(held.episodes[held.steps[place].episode].task.key))
    library.hold_out([task("3")], whole_splits=True)
    with pytest.raises(DataError, match="held out"):
        library.require_clean([place], here("other", "test"))


def test_what_was_held_out_once_stays_so(mixed: str) -> None:
    context = retrieval(mixed, held_out="tasks", twins="keep", k=9)
    context.hold_out([task("0")])
    context.hold_out([task("1")])
    text = shown(context, here("other", "test"))
    assert "secret-0" not in text and "secret-1" not in text and "secret-2" in text


EPISODES = expert_episodes()


@settings(max_examples=60, deadline=None)
@given(
    splits=st.lists(st.sampled_from(["train", "valid", "test"]), min_size=5, max_size=5),
    panel=st.lists(st.tuples(st.sampled_from("01234"), st.sampled_from(["valid", "test"])), min_size=1, max_size=4),
    whole=st.booleans(),
    turn=st.integers(0, 3),
)
def test_no_panel_and_no_store_leaks(splits: list[str], panel: list[tuple[str, str]], whole: bool, turn: int) -> None:
    episodes = [
        dataclasses.replace(episode, task=dataclasses.replace(episode.task, split=split))
        for episode, split in zip(EPISODES, splits, strict=True)
    ]
    held = _held(episodes)
    library = Library(held, WordIndex, 2, drop_twins=False)
    tasks = [task(key, split) for key, split in panel]
    try:
        library.hold_out(tasks, whole)
    except DataError:
        return
    for about in tasks:
        situation = Situation("open the door", f"You are at {turn}.", (), (), about)
        for place in library.nearest(situation, 9, 9):
            found = held.episodes[held.steps[place].episode].task
            assert (found.split, found.key) not in panel and (found.key != about.key)
            assert not whole or found.split not in {split for _, split in panel}


def _held(episodes: list[Trajectory]) -> TeacherEpisodes:
    kept = tuple(TeacherEpisode(e.task, str(e.meta["goal"]), tuple(e.steps)) for e in episodes)
    steps = tuple(TeacherStep(i, turn) for i, e in enumerate(episodes) for turn in range(len(e.steps)))
    return TeacherEpisodes(kept, steps, "")
