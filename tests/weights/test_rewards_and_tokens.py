"""The outcome reward and the uniform token weight."""

from __future__ import annotations

from made_episodes import make_episode, random_scores

from agentdistill.learner.batch import assemble
from agentdistill.plugins import PluginConfig
from agentdistill_rewards.outcome import OutcomeConfig, outcome
from agentdistill_token_weights.uniform import uniform


def test_outcome_pays_a_won_episode_at_its_last_step():
    episode = make_episode(turns=[(3, 1), (2, 1), (2, 1)])
    assert outcome(episode, OutcomeConfig()).tolist() == [0, 0, 0]
    episode.success = True
    assert outcome(episode, OutcomeConfig()).tolist() == [0, 0, 1]
    episode.steps.clear()
    assert outcome(episode, OutcomeConfig()).tolist() == []


def test_uniform_token_weight():
    episode = make_episode()
    tokens = assemble([episode], random_scores([episode])).tokens
    assert uniform(tokens, PluginConfig()).tolist() == [1.0] * 5
