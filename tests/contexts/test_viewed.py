"""A reviser's prompts: what they say about which attempt, and that nothing is said where the student is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contexts.corridor_store import REGISTRY, task, write_store
from rollout.toy_world import CorridorSource, ScriptedEngine, renderer, requests, right

from agentdistill.conversation.base import Situation
from agentdistill.errors import ConfigError, DataError
from agentdistill.records import LossRole, Trajectory
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.teachers.rerender import rerender
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.viewed import ViewedConfig, ViewedContext
from agentdistill_views.sd_zero import REPEAT, REVISE, SdZero, SdZeroConfig

PLAIN = AppendContext(AppendConfig())


def stumble(session: str, turn: int, prompt: str) -> str:
    """Ends its episode in the second turn, without winning it."""
    return "jump" if turn else "ahead"


def played(tasks: list[Any], answer: Any, context: Any = PLAIN) -> list[Trajectory]:
    settings = RolloutSettings(max_steps=20)
    engine, source = ScriptedEngine(answer), CorridorSource()
    return play(tasks, source=source, engine=engine, renderer=renderer(), context=context, settings=settings)


@pytest.fixture(scope="module")
def tried() -> list[Trajectory]:
    """The student's attempts at corridors 0 to 3: the first and the third are won."""
    one, two, three, four = requests(4)
    return [*played([one, three], right), *played([two, four], stumble)]


@pytest.fixture(scope="module")
def store(tried: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(tmp_path_factory.mktemp("tried") / "attempts", tried)


def first(context: Any, key: str, split: str = "train") -> str:
    return context.messages(Situation("open the door", "A corridor.", about=task(key, split)))[0].content


def viewed(store: str, **options: Any) -> ViewedContext:
    return ViewedContext(ViewedConfig(attempts=store, **options), REGISTRY)


def test_a_lost_attempt_is_shown_and_a_won_one_is_not(store: str) -> None:
    context = viewed(store)
    plain = first(PLAIN, "0")
    assert first(context, "1") == f"{plain}\n\nYour first attempt at this task:\n1. ahead\n2. jump\n\n{REVISE}"
    assert first(context, "0") == first(context, "2") == plain  # won
    assert first(context, "4") == plain  # not tried
    assert first(context, "1", "valid") == plain  # another split's task of that key
    assert context.messages(Situation("open the door", "A corridor.")) == PLAIN.messages(
        Situation("open the door", "A corridor.")
    )


def test_the_view_says_whether_won_attempts_are_shown_and_where_the_words_stand(store: str) -> None:
    context = viewed(store, view={"type": "sd-zero"}, place="before")
    assert REPEAT in first(context, "0") and first(context, "0").endswith(first(PLAIN, "0"))


def test_a_reviser_is_trained_on_what_the_second_phases_teacher_is_shown(store: str, tried: list[Trajectory]) -> None:
    """Token by token: the prompt of a revision, and that in which the teacher scores the attempt."""
    attempt = next(t for t in tried if t.task.key == "1")
    view = SdZero(SdZeroConfig(good=False))
    (privileged,) = view.show([attempt])
    assert privileged is not None
    scored = rerender(attempt, privileged, renderer=renderer(), context=PLAIN).trajectory
    (revision,) = played(requests(2)[1:], right, viewed(store))
    assert revision.success and len(revision.rows) == 1
    mine, theirs = revision.steps[0].start, scored.steps[0].start
    assert revision.rows[0].token_ids[:mine].tolist() == scored.rows[0].token_ids[:theirs].tolist()


def test_what_was_played_is_imitated_in_the_same_prompts(store: str) -> None:
    for revision in played(requests(2), right, viewed(store)):
        for step in revision.steps:
            step.loss_role = LossRole.IMITATE
        again = tokenize_demonstration(revision, renderer(), viewed(store))
        assert [row.token_ids.tolist() for row in again.rows] == [row.token_ids.tolist() for row in revision.rows]


def test_nothing_is_shown_about_tasks_that_are_evaluated(store: str) -> None:
    context = viewed(store)
    before = context.prompt_hash
    context.hold_out([task("1", "train"), task("0", "train")])
    assert first(context, "1") == first(PLAIN, "1") and REVISE in first(context, "3")
    assert context.prompt_hash != before
    assert context.notes() == ["attempts at 1 tasks shown by the view sd-zero; those at 1 held out"]


def test_a_store_without_lost_attempts_and_views_of_single_turns_are_refused(store: str, tmp_path: Path) -> None:
    won = write_store(tmp_path / "won", played(requests(2), right))
    with pytest.raises(DataError, match=r"nothing to say about any attempt .* attempts at 2 tasks\. .*--failures"):
        viewed(won)
    with pytest.raises(ConfigError, match=r"`hindsight` tells of single turns"):
        viewed(store, view={"type": "hindsight"})
