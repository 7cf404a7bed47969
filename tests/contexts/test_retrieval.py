"""Which teacher steps are shown, and where; against naive references."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts.corridor_store import REGISTRY, expert_episodes, task, write_store
from rollout.toy_world import CorridorSource, ScriptedEngine, renderer, requests, right
from tiny import tiny_tokenizer
from transformers import BertConfig, BertModel

from agentdistill.conversation.base import Situation
from agentdistill.errors import ConfigError, DataError
from agentdistill.records import LossRole, Step
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill_contexts.library import query_of
from agentdistill_contexts.nearest import WordIndex
from agentdistill_contexts.nearest_embedding import EmbeddingIndex
from agentdistill_contexts.retrieval import INTRODUCTION, OWN, RetrievalContext
from agentdistill_contexts.retrieval_options import RetrievalConfig
from agentdistill_contexts.teacher_steps import read_episodes

TEXTS = ["go to desk 1 go", "take mug 2 from desk 1", "open fridge 1", "", "desk desk desk lamp"]


def retrieval(store: str, **options: Any) -> RetrievalContext:
    return RetrievalContext(RetrievalConfig(store=store, **options), REGISTRY)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_store(tmp_path_factory.mktemp("store") / "train", expert_episodes())


def situation(turns: int = 0, length: int = 9, key: str = "new") -> Situation:
    """A corridor that no task has, after some turns."""
    seen = [f"A corridor of {length} steps.", *(f"You are at {place}." for place in range(1, turns + 1))]
    steps = [Step(turn, seen[turn], "ahead", "ahead") for turn in range(turns)]
    return Situation("open the door", seen[turns], ("ahead", "open"), steps, task(key))


def lucene_bm25(texts: list[str], query: str, k1: float = 1.5, b: float = 0.75) -> list[float]:
    """BM25 as Lucene computes it, word by word."""
    documents = [re.findall(r"[a-z0-9]+", text.lower()) for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        total = 0.0
        for word in dict.fromkeys(re.findall(r"[a-z0-9]+", query.lower())):
            having = sum(word in other for other in documents)
            times = words.count(word)
            if having:
                rarity = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
                total += rarity * times / (times + k1 * (1 - b + b * len(words) / mean))
        scores.append(total)
    return scores


@pytest.mark.oracle
@pytest.mark.parametrize("query", ["desk", "Take the mug-2, desk desk!", "lamp fridge 1", "nothing of it", ""])
def test_word_scores_are_bm25(query: str) -> None:
    assert np.allclose(WordIndex(TEXTS).scores(query), lucene_bm25(TEXTS, query), atol=1e-5)


def test_texts_without_any_word_are_never_near() -> None:
    assert WordIndex(["", "?!"]).scores("desk").tolist() == [0.0, 0.0]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = {"vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = BertModel(BertConfig(**settings, intermediate_size=64, max_position_embeddings=64, pad_token_id=0))
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.oracle
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@torch.no_grad()
def test_embedding_scores_are_the_cosines_of_unpadded_texts(encoder: str, pooling: str) -> None:
    texts = [text for text in TEXTS if text]
    index = EmbeddingIndex(texts, encoder, pooling, "query: ", "passage: ")  # type: ignore[arg-type]
    model, tokenizer = BertModel.from_pretrained(encoder).eval(), tiny_tokenizer()

    def embed(text: str) -> torch.Tensor:
        states = model(input_ids=torch.tensor([tokenizer.encode(text)])).last_hidden_state[0]
        return torch.nn.functional.normalize(states.mean(0) if pooling == "mean" else states[0], dim=-1)

    expected = [float(embed("passage: " + text) @ embed("query: mug")) for text in texts]
    assert np.allclose(index.scores("mug"), expected, atol=1e-5)
    assert not index.notes()


def test_texts_longer_than_the_encoder_reads_are_told(encoder: str) -> None:
    index = EmbeddingIndex(["short", "long " * 40], encoder, "mean", "", "")
    index.scores("longer " * 40)
    assert "reads 64 tokens: 1 of 2 texts and 1 queries" in index.notes()[0]


def test_an_encoder_is_used_when_it_is_named(store: str, encoder: str) -> None:
    by_meaning = retrieval(store, index="embedding", model=encoder)
    assert INTRODUCTION in by_meaning.messages(situation())[-1].content
    assert by_meaning.prompt_hash != retrieval(store).prompt_hash
    with pytest.raises(ConfigError, match="has no encoder"):
        retrieval(store, index="embedding")
    with pytest.raises(ConfigError, match="Cannot load the sentence encoder"):
        retrieval(store, index="embedding", model="no/such-encoder")


@pytest.mark.oracle
def test_the_nearest_steps_are_shown_nearest_last(store: str) -> None:
    """Over the very texts that are compared, with at most one step of an episode and ties in the store's order."""
    held = read_episodes(store)
    for turns in range(4):
        asked = situation(turns)
        scores = lucene_bm25([query_of(held.situation(i), 2) for i in range(len(held.steps))], query_of(asked, 2))
        best: dict[int, int] = {}
        for place in sorted(range(len(scores)), key=lambda i: (-round(scores[i], 4), i)):
            best.setdefault(held.steps[place].episode, place)
        expected = [held.step(place) for place in list(best.values())[:3]][::-1]
        prompt = retrieval(store).messages(asked)[-1].content
        found = re.findall(r"The expert saw: (.*)\nThe expert answered: (.*)", prompt)
        assert found == [(step.observation, step.action) for step in expected]


def test_a_demonstration_tells_goal_past_observation_and_answer(store: str) -> None:
    prompt = retrieval(store, k=1).messages(situation(2))[-1].content
    assert prompt.startswith(INTRODUCTION) and prompt.endswith(f"{OWN}\n\nYou are at 2.")
    example = "[Example 1] The task was to: open the door. Before, the expert did: ahead; ahead.\n"
    assert example + "The expert saw: You are at 2.\nThe expert answered: open" in prompt


def test_answers_are_in_the_format_that_is_asked_for(store: str) -> None:
    inner = {"type": "window", "think": True}
    prompt = retrieval(store, context=inner).messages(situation())[-1].content
    assert "The expert answered: <think>\n\n</think>\n<action>ahead</action>" in prompt


def test_the_teachers_own_words_are_kept(tmp_path: Path) -> None:
    words = "<think>\nIt is far.\n</think>\n<action>ahead</action>"
    episodes = expert_episodes(context=REGISTRY.build("context", {"type": "window"}, "env.context"))
    for episode in episodes:
        episode.steps[0].response = words
    own = retrieval(write_store(tmp_path / "s", episodes), context={"type": "window"})
    assert words in own.messages(situation())[-1].content


def test_only_good_steps_are_shown(tmp_path: Path) -> None:
    first, second = expert_episodes()[:2]
    first.steps[0].loss_role, first.steps[1].valid = LossRole.NONE, False
    second.success = False
    store = write_store(tmp_path / "s", [first, second])
    held = read_episodes(store)
    assert len(held.episodes) == 1 and [step.turn for step in held.steps] == [2]
    assert len(read_episodes(store, failures=True).episodes) == 2


def test_what_cannot_be_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trajectory store"):
        read_episodes(str(tmp_path / "nothing"))
    first = expert_episodes()[0]
    first.success = False
    with pytest.raises(DataError, match="no turn to show"):
        read_episodes(write_store(tmp_path / "lost", [first]))
    second = expert_episodes()[1]
    del second.meta["goal"]
    with pytest.raises(DataError, match="cannot be a demonstration"):
        read_episodes(write_store(tmp_path / "goal", [second]))


def test_turns_show_the_conversation_the_policy_would_have_had(store: str) -> None:
    context = retrieval(store, form="turns", k=2)
    messages = context.messages(situation(1))
    assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
    assert all(message.step is None for message in messages[:-3]), "the teacher's tokens are not the student's"
    assert messages[-3:] == context.inner.messages(situation(1))
    assert messages[0].content.endswith("Your task is to: open the door.")


def test_turns_need_the_commands_that_the_wrapped_policy_lists(store: str, tmp_path: Path) -> None:
    inner = {"type": "window"}
    with pytest.raises(DataError, match="were not recorded"):
        retrieval(store, form="turns", context=inner)
    listing = expert_episodes(context=REGISTRY.build("context", inner, "env.context"))
    context = retrieval(write_store(tmp_path / "s", listing), form="turns", context=inner, k=1)
    user, answer, own = context.messages(situation())
    assert "- jump" in user.content and "<action>" in answer.content and own.role == "user"


PLAYED = RolloutSettings(max_steps=9, max_new_tokens=20, concurrency=3)


def played(context: RetrievalContext):
    source = CorridorSource()
    return play(
        requests(5), source=source, engine=ScriptedEngine(right), renderer=renderer(), context=context, settings=PLAYED
    )


@pytest.mark.parametrize(
    ("when", "form", "rows"), [("turn", "text", 1), ("episode", "text", 1), ("episode", "turns", 1)]
)
def test_a_growing_conversation_stays_one_row(store: str, when: str, form: str, rows: int) -> None:
    """What was shown in earlier turns is shown again word for word, so that the conversation only grows."""
    trajectories = played(retrieval(store, when=when, form=form))
    assert all(len(trajectory.rows) == rows and len(trajectory.steps) > 2 for trajectory in trajectories)
    text = renderer().tokenizer.decode(trajectories[0].rows[0].token_ids)
    assert text.count(INTRODUCTION) == (
        0 if form == "turns" else 1 if when == "episode" else len(trajectories[0].steps)
    )
    assert all(int(row.mask.sum()) == sum(s.end - s.start for s in t.steps) for t in trajectories for row in t.rows)


def test_one_prompt_a_turn_has_its_demonstrations(store: str) -> None:
    context = retrieval(store, context={"type": "window", "think": False})
    assert context.fresh_rows and context.needs == {"admissible_actions"}
    (message,) = context.messages(situation(2))
    assert message.content.count(INTRODUCTION) == 1 and "Your task is to: open the door." in message.content
    once = retrieval(store, context={"type": "window", "think": False}, when="episode")
    shown = [once.messages(situation(turns))[0].content.split(OWN)[0] for turns in range(3)]
    assert len(set(shown)) == 1 and INTRODUCTION in shown[0]


def test_it_reads_and_writes_as_the_wrapped_policy(store: str) -> None:
    context = retrieval(store, context={"type": "append", "think": True})
    assert context.parse(context.render_action("open")).action == "open"
    assert context.parse(context.render_action("open")).well_formed and not context.parse("").well_formed


def test_nothing_is_shown_where_nothing_is_near(store: str) -> None:
    strange = Situation("zzz", "qqq", (), (), task("new"))
    assert retrieval(store).messages(strange) == retrieval(store).inner.messages(strange)


def test_the_hash_follows_options_store_and_wrapped_policy(store: str, tmp_path: Path) -> None:
    base = retrieval(store).prompt_hash
    elsewhere = write_store(tmp_path / "same", expert_episodes())
    assert retrieval(elsewhere).prompt_hash == base, "not where the store lies"
    fewer = write_store(tmp_path / "fewer", expert_episodes()[:4])
    others = [retrieval(fewer), retrieval(store, k=2), retrieval(store, context={"type": "append", "think": True})]
    assert len({base, *(context.prompt_hash for context in others)}) == 4


def test_demonstrations_become_rows_without_their_own_solution(store: str) -> None:
    """The same prompts a student is shown: an episode never demonstrates itself."""
    context = retrieval(store)
    for episode in expert_episodes():
        rows = tokenize_demonstration(episode, renderer(), context).rows
        text = renderer().tokenizer.decode(rows[0].token_ids)
        shown = re.findall(r"The expert saw: A corridor of (\d+) steps", text)
        assert shown and str(len(episode.steps) - 1) not in shown


def test_equal_steps_are_taken_in_the_order_of_the_store(tmp_path: Path) -> None:
    episodes = expert_episodes()
    twice = [*episodes, *expert_episodes("second")]
    found = Counter()
    for _ in range(2):
        context = retrieval(write_store(tmp_path / f"s{len(found)}", twice), k=2, per_episode=2)
        found[context.messages(situation(2))[-1].content] += 1
    assert list(found.values()) == [2]
