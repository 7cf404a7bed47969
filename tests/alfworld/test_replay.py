"""Restoring an episode by verified replay."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agentdistill.envs.replay import Record, admissible_hash, record, restore
from agentdistill.errors import EnvironmentFailure
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.source import AlfworldSource


@pytest.fixture
def env(real_data):
    made = AlfworldSource(AlfworldConfig(split="valid_seen", engine="fast")).make()
    yield made
    made.close()


def wander(env, task, steps: int = 12) -> Record:
    rng = random.Random(task.key)
    _, info = env.reset(seed=task.seed, options={"task": task})
    actions = []
    for _ in range(steps):
        actions.append(rng.choice(["xyzzy", rng.choice(info["admissible_actions"])]))
        *_, info = env.step(actions[-1])
    return record(env, task, actions)


def test_the_restored_state_is_the_state(env):
    task = env.source.tasks("valid_seen")[50]
    played = wander(env, task)
    assert len(played.observations) == len(played.admissible) == len(played.actions) + 1
    observation, info = restore(env, played)
    assert observation == played.observations[-1]
    assert admissible_hash(info["admissible_actions"]) == played.admissible[-1]
    ahead = [env.step(action) for action in ("look", "inventory")]
    restore(env, played)
    assert [env.step(action) for action in ("look", "inventory")] == ahead


def test_any_earlier_state_can_be_restored(env):
    played = wander(env, env.source.tasks("valid_seen")[50])
    for count in range(len(played.actions) + 1):
        assert restore(env, played.upto(count))[0] == played.observations[count]


def test_both_engines_restore_each_others_episodes(env, real_data):
    played = wander(env, env.source.tasks("valid_seen")[50])
    real = AlfworldSource(AlfworldConfig(split="valid_seen")).make()
    assert restore(real, played)[0] == played.observations[-1]


def test_the_expert_can_be_asked_after_a_restore(env):
    played = wander(env, env.source.tasks("valid_seen")[50])
    _, info = restore(env, played, expert=True)
    assert info["expert_action"] in info["admissible_actions"]


def test_the_first_divergence_is_named(env):
    played = wander(env, env.source.tasks("valid_seen")[50])
    seen = list(played.observations)
    seen[4] = seen[4][:3] + "#" + seen[4][4:]
    seen[7] = "something else"
    with pytest.raises(EnvironmentFailure) as caught:
        restore(env, replace(played, observations=tuple(seen)))
    assert f"diverged after action 4 ({played.actions[3]!r}): at character 3" in str(caught.value)
    with pytest.raises(EnvironmentFailure, match="diverged after reset: at character 0"):
        restore(env, replace(played, observations=("Hello", *seen[1:])))
    longer = (played.observations[0] + " And more.", *seen[1:])
    with pytest.raises(EnvironmentFailure, match=f"at character {len(played.observations[0])} it shows ''"):
        restore(env, replace(played, observations=longer))


def test_a_hidden_divergence_shows_in_the_admissible_actions(env):
    played = wander(env, env.source.tasks("valid_seen")[50])
    hashes = list(played.admissible)
    hashes[6] = "0" * 16
    with pytest.raises(EnvironmentFailure, match=r"diverged after action 6 .* the admissible actions are not"):
        restore(env, replace(played, admissible=tuple(hashes)))


def test_another_task_diverges_at_once(env):
    one, other = env.source.tasks("valid_seen")[50:52]
    with pytest.raises(EnvironmentFailure, match="diverged after reset"):
        restore(env, replace(wander(env, one), task=other))


def test_an_episode_that_ends_too_early_is_a_divergence(env, real_data):
    played = wander(env, env.source.tasks("valid_seen")[50])
    limited = AlfworldSource(AlfworldConfig(split="valid_seen", engine="fast", step_limit=5)).make()
    with pytest.raises(EnvironmentFailure, match="the episode ended after action 5 of 12"):
        restore(limited, played)
    assert restore(limited, played.upto(5))[0] == played.observations[5]
