from __future__ import annotations

from random import Random

from agentdistill.records import Actor, LossRole, StopReason, Task, Trajectory
from agentdistill.store import trajectory_from_dict, trajectory_to_dict
from agentdistill_alfworld.demonstrations import Mistakes, demonstrate, demonstrations
from agentdistill_alfworld.experts.text import TextExpert
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.generate import generate

GAMES = list(generate("train", 300, seed=21))


def told(episodes: list[Trajectory]) -> list[list[tuple[str, str, LossRole]]]:
    return [[(step.observation, step.action, step.loss_role) for step in episode.steps] for episode in episodes]


def test_episodes_reach_the_goal_and_name_their_task() -> None:
    episodes = list(demonstrations(GAMES, split="train", seed=0))
    assert len(episodes) >= 0.97 * len(GAMES)
    known = {game.key: game for game in GAMES}
    for episode in episodes:
        assert episode.success
        assert episode.stop is StopReason.SUCCESS
        assert episode.score == episode.steps[-1].reward == 1.0
        assert episode.task.type == known[episode.task.key].task_type
        assert episode.rows == []
        assert [step.index for step in episode.steps] == list(range(len(episode.steps)))


def test_mistakes_are_never_trained_on_and_everything_else_is() -> None:
    steps = [step for episode in demonstrations(GAMES, split="train", seed=0) for step in episode.steps]
    mistaken = [step for step in steps if "mistake" in step.info]
    assert all(step.loss_role is LossRole.NONE for step in mistaken)
    assert all(step.loss_role is LossRole.IMITATE for step in steps if "mistake" not in step.info)
    assert all(step.actor is Actor.EXPERT for step in steps)
    assert 0.08 < len(mistaken) / len(steps) < 0.2
    assert len({step.info["mistake"] for step in mistaken}) >= 12
    assert 0.4 < sum(not step.valid for step in mistaken) / len(mistaken) < 0.9
    assert sum(not step.valid for step in steps if "mistake" not in step.info) < 0.01 * len(steps)


def test_what_is_trained_on_is_the_advice_for_the_state() -> None:
    episode = max(demonstrations(GAMES, split="train", seed=0), key=lambda e: sum("mistake" in s.info for s in e.steps))
    game = next(game for game in GAMES if game.key == episode.task.key)
    world, expert = FastGame(game), TextExpert()
    observation = world.reset()
    expert.reset(observation)
    for step in episode.steps:
        assert step.observation == observation
        assert (step.action == expert.action()) == (step.loss_role is LossRole.IMITATE)
        observation = world.step(step.action)
        expert.record(step.action, observation)
    assert world.won


def test_an_episode_depends_on_seed_and_game_only() -> None:
    whole = told(list(demonstrations(GAMES[:40], split="train", seed=0, keep_failures=True)))
    assert told(list(demonstrations(GAMES[20:40], split="train", seed=0, keep_failures=True))) == whole[20:]
    assert told(list(demonstrations(GAMES[:40], split="train", seed=1, keep_failures=True))) != whole


def test_flawless_play_on_request() -> None:
    episodes = list(demonstrations(GAMES, split="train", seed=0, mistakes=Mistakes(rate=0.0)))
    assert all(step.loss_role is LossRole.IMITATE for episode in episodes for step in episode.steps)


def test_running_out_of_turns_is_not_success() -> None:
    game = GAMES[0]
    task = Task("alfworld", "train", game.key)
    episode = demonstrate(task, FastGame(game), TextExpert(), Random(0), Mistakes(limit=1))
    assert not episode.success
    assert episode.stop is StopReason.ENV_LIMIT
    assert list(demonstrations([game], split="train", seed=0, mistakes=Mistakes(limit=1))) == []


def test_episodes_survive_the_store() -> None:
    for episode in demonstrations(GAMES[:20], split="train", seed=0):
        again = trajectory_from_dict(trajectory_to_dict(episode))
        assert told([again]) == told([episode])
        assert again.task == episode.task
