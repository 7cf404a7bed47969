"""A good toy environment, and one that breaks each rule: walk along a corridor to the treasure."""

from __future__ import annotations

import random
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from agentdistill.envs.spaces import Utf8Text
from agentdistill.records import Task

LIMIT = 40


class Walker(gymnasium.Env[str, str]):
    """`east` and `west` in a corridor of five rooms; the treasure is in the last one."""

    LENGTH = 5

    def __init__(self) -> None:
        self.observation_space, self.action_space = Utf8Text(), Utf8Text()
        self.at, self.moves, self.expert, self.lamp = 0, 0, False, 0

    def look(self) -> str:
        return f"You are in room {self.at}. The lamp shines {self.lamp}."

    def info(self, valid: bool = True) -> dict[str, Any]:
        info: dict[str, Any] = {
            "admissible_actions": ["east"] + (["west"] if self.at else []),
            "won": self.at == self.LENGTH,
            "score": float(self.at),
            "task": "find the treasure",
            "valid": valid,
        }
        if self.expert:
            info["expert_action"] = "east"
        return info

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        given = dict(options or {})
        task = given.get("task") or Task("walker", "train", f"lamp-{self.np_random.integers(6)}")
        self.at, self.moves, self.expert = 0, 0, bool(given.get("expert"))
        self.lamp = int(task.key.rpartition("-")[2])
        return self.look(), self.info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        valid = action in self.info()["admissible_actions"]
        self.moves += 1
        if valid:
            self.at += 1 if action == "east" else -1
        won = self.at == self.LENGTH
        observation = self.look() if valid else f"You cannot {action!r}."
        return observation, float(won), won, self.moves >= LIMIT, self.info(valid)


class WalkerSource:
    """Six tasks."""

    name = "walker"

    def __init__(self, make: type[Walker] = Walker) -> None:
        self.environment = make

    def tasks(self, split: str) -> Sequence[Task]:
        return [Task("walker", split, f"lamp-{n}", seed=n) for n in range(6)]

    def make(self) -> Walker:
        return self.environment()

    def provenance(self) -> Mapping[str, Any]:
        return {"rules": 1}


# ---- one broken environment for each rule -------------------------------------------------------------------------


class ClashingTasks(WalkerSource):
    def tasks(self, split: str) -> Sequence[Task]:
        return [Task("walker", split, "lamp-1"), Task("walker", split, "lamp-1", seed=1)]


class FourValues(Walker):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, info


class NoDefaultSeed(Walker):
    def reset(self, *, seed=None, options=None):
        # `super().reset(seed=seed)` is forgotten: Gymnasium's checker finds that.
        options = {"task": Task("walker", "train", "lamp-1"), **dict(options or {})}
        return Walker.reset(self, options=options)


class NoScore(Walker):
    def info(self, valid=True):
        info = super().info(valid)
        del info["score"]
        return info


class SmallSpace(Walker):
    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Text(10_000, charset="abcdefghijklmnopqrstuvwxyz")


class Unseeded(Walker):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        given = dict(options or {})
        given.setdefault("task", Task("walker", "train", f"lamp-{np.random.default_rng().integers(10**9)}"))
        return super().reset(seed=seed, options=given)


class OwnMood(Walker):
    def step(self, action):
        observation, *rest = super().step(action)
        return f"{observation} {np.random.default_rng().integers(10**9)}", *rest


class GlobalDice(Walker):
    def step(self, action):
        random.random()
        return super().step(action)


class GlobalNumpyDice(Walker):
    def step(self, action):
        np.random.rand()
        return super().step(action)


class SharedLamp(Walker):
    """The lamp is kept on the class: an environment beside this one changes it."""

    shared = 0

    @property
    def lamp(self):
        return type(self).shared

    @lamp.setter
    def lamp(self, value):
        type(self).shared = value


class Forgetful(Walker):
    """An environment that remembers how often it was reset goes another way when an episode is replayed in it."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        observation, *rest = super().step(action)
        return observation + "!" * (self.resets > 2), *rest


class EmptyOffer(Walker):
    def info(self, valid=True):
        info = super().info(valid)
        return {**info, "admissible_actions": [*info["admissible_actions"], "fly"]}

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "valid": info["valid"] and action != "fly"}


class LimitAsEnd(Walker):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, False, info


class WonAndOn(Walker):
    LENGTH = 2

    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, False, truncated, info


class BadExpert(Walker):
    def info(self, valid=True):
        info = super().info(valid)
        return {**info, "expert_action": "west"} if self.expert else info


class OnlyAscii(Walker):
    def step(self, action):
        action.encode("ascii")
        return super().step(action)


class FrailLength(Walker):
    def step(self, action):
        if len(action) > 10_000:
            raise MemoryError("too long")
        return super().step(action)


class HomeSource(WalkerSource):
    def provenance(self):
        from pathlib import Path

        return {"data": str(Path.home() / "games")}


class LambdaSource(WalkerSource):
    def __init__(self):
        super().__init__()
        self.helper = lambda: None


class LeaksProcess(Walker):
    def __init__(self):
        super().__init__()
        self.server = subprocess.Popen(["sleep", "60"])
        CHILDREN.append(self.server)


class LeaksOrphan(Walker):
    """The process leaves the family: only its mark tells."""

    def __init__(self):
        super().__init__()
        command = ["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"]
        ORPHANS.append(int(subprocess.run(command, capture_output=True, check=True).stdout))


class LeaksFile(Walker):
    def __init__(self):
        super().__init__()
        with tempfile.NamedTemporaryFile(delete=False, suffix=".z8") as file:
            file.write(b"a game")


class LeaksDescriptor(Walker):
    def __init__(self):
        super().__init__()
        OPEN.append(open("/dev/null"))  # noqa: SIM115, PTH123 - left open on purpose


class LeaksThread(Walker):
    def __init__(self):
        super().__init__()
        threading.Thread(target=STOP.wait, daemon=True).start()


CHILDREN: list[subprocess.Popen[bytes]] = []
ORPHANS: list[int] = []
OPEN: list[Any] = []
STOP = threading.Event()
