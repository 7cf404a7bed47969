"""Every answer is the one that the authors' program gave."""

from __future__ import annotations

import pytest

from agentdistill_webshop.config import WebshopConfig
from agentdistill_webshop.source import WebshopSource


@pytest.mark.parametrize("observation", ["text", "text_rich"])
@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_the_answers_are_those_of_the_authors_program(transcripts, transcript_files, goals, observation):
    config = WebshopConfig(
        data=str(transcript_files), goals=goals, observation=observation, protocol="all", nouns="lexicon"
    )
    source = WebshopSource(config)
    env, tasks = source.make(), source.tasks("train")
    steps = purchases = 0
    for episode in transcripts["episodes"]:
        if (episode["goals"], episode["observation"]) != (goals, observation):
            continue
        first, _ = env.reset(options={"task": tasks[episode["goal"]]})
        assert first == episode["first"]
        for action, seen, reward, done, clickable in episode["steps"]:
            assert list(env.visit.clicks) == clickable
            answer = env.step(action)
            assert answer[:3] == (seen, reward, done), action
            steps += 1
            purchases += done
    assert steps > 10 and purchases >= 1


def test_goals_stand_in_the_authors_order(transcripts, transcript_files):
    """Python's shuffle with the seed 233 over the goals in catalogue order."""
    source = WebshopSource(WebshopConfig(data=str(transcript_files), protocol="all"))
    for episode in transcripts["episodes"]:
        if episode["goals"] == "human":
            assert source.book.goal(episode["goal"]).instruction.strip() in episode["first"]
