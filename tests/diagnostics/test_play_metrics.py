"""Numbers about play, on episodes whose numbers are known."""

from __future__ import annotations

import dataclasses

import pytest
from made_episodes import make_episode

from agentdistill.diagnostics.play import no_progress, play_metrics, repeats, trigram_repetition
from agentdistill.records import Actor


def test_what_repeats_itself_is_noticed_at_the_length_of_a_turn():
    assert repeats("go to the table. " * 30)
    assert repeats("I should look at the fridge first. It may be open already. " + "wait " * 80)
    assert not repeats("go to countertop 1")
    assert not repeats("")
    text = (
        "The apple must be cooled before it goes to the table, and the fridge is in the corner by the sink. I have "
        "seen two countertops so far; neither had a knife. Opening the third drawer is the next thing to try, for "
        "knives are kept there in most of these kitchens."
    )
    assert not repeats(text)


def test_trigrams_are_counted_in_words():
    assert trigram_repetition("go to table 1") is None
    assert trigram_repetition("a b c d e f g h") == 0.0
    assert trigram_repetition("a b c a b c a b c") == pytest.approx(4 / 7)


def test_doing_the_same_in_the_same_place_is_no_progress():
    episode = make_episode(turns=[(3, 1), (2, 1), (2, 1), (2, 1)])
    assert no_progress(episode) == 3  # every turn of it sees "o" and does "a"
    episode.steps[1].observation = "elsewhere"
    assert no_progress(episode) == 1
    episode.steps[3].actor = Actor.EXPERT
    assert no_progress(episode) == 0


def test_rates_are_over_the_students_turns():
    episode = make_episode(turns=[(3, 2), (2, 4)])
    episode.steps[0].info["finish"] = "length"
    episode.steps[1].response = "wait " * 100
    assert play_metrics([episode]) == {
        "rollout/repetition_rate": 0.5,
        "rollout/truncated_rate": 0.5,
        "rollout/no_progress_rate": 0.5,
        "rollout/turn_tokens": 3.0,
        "rollout/turn_tokens_max": 4.0,
        "rollout/trigram_repetition": pytest.approx(97 / 98),
    }


def test_without_a_turn_there_is_nothing_to_say():
    assert play_metrics([]) == {}
    episode = make_episode()
    guided = [dataclasses.replace(step, actor=Actor.TEACHER) for step in episode.steps]
    assert play_metrics([dataclasses.replace(episode, steps=guided)]) == {}
