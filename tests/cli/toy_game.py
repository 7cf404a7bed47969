"""Source of a distribution with one toy environment that people and its expert can play."""

GAME = '''
import gymnasium
from agentdistill import hookimpl
from agentdistill.envs.spaces import Utf8Text
from agentdistill.errors import DataError
from agentdistill.plugins import PluginConfig
from agentdistill.records import Task

class GameConfig(PluginConfig):
    """A game.

    Attributes:
        goal: the number to reach.
    """
    goal: int = 2

class Game(gymnasium.Env):
    def __init__(self, goal):
        self.goal, self.observation_space, self.action_space = goal, Utf8Text(), Utf8Text()
    def _info(self, valid=True):
        info = {"admissible_actions": ["up", "wait"], "won": self.at >= self.goal, "score": float(self.at),
                "task": f"reach {self.goal}", "valid": valid}
        if self.expert:
            info["expert_action"] = "up" if self.at < 5 else None
        return info
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.expert = 0, (options or {}).get("expert", False)
        return "You are at 0.", self._info()
    def step(self, action):
        valid = action in ("up", "wait")
        self.at += action == "up"
        return (f"You are at {self.at}." if valid else "What?"), 0.0, self.at >= self.goal, False, self._info(valid)

class Source:
    name = "toy-game"
    def __init__(self, config): self.config = config
    def tasks(self, split):
        if split == "none":
            return []
        if split != "train":
            raise DataError(f"There is no split {split}.")
        return [Task("toy-game", split, f"game-{n}", "count", n) for n in range(3)]
    def make(self): return Game(self.config.goal)
    def provenance(self): return {"rules": 1}

@hookimpl
def agentdistill_register_environments(register):
    register("toy-game", "toy_game_plugin:Source", config="toy_game_plugin:GameConfig", summary="count up")

@hookimpl
def agentdistill_register_benchmarks(register):
    register("toy-game/all", "toy_game_plugin:Source", summary="every game")
'''

COMMAND = """
import click
from agentdistill import hookimpl

@click.command()
def hello():
    click.echo("hello from a plugin")

@hookimpl
def agentdistill_register_commands(register):
    register("hello", "hello_plugin:hello", summary="Say hello.")
"""
