"""A text environment that knows nothing of agentdistill: Gymnasium's API and nothing else. Source of a module."""

GAME = '''
import string
import gymnasium
from gymnasium.spaces import Text

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \\n"

class Guess(gymnasium.Env):
    """Guess a number from 0 to 7 by bisection."""

    def __init__(self, top=7, verdict=None, lists=False):
        self.observation_space = Text(200, charset=CHARACTERS)
        self.action_space = Text(20, charset=string.digits)
        self.top, self.verdict, self.lists = top, verdict, lists

    def info(self, done=False):
        info = {"best": str((self.low + self.high) // 2)}
        if self.verdict:
            info[self.verdict] = done
        if self.lists:
            info["commands"] = [str(n) for n in range(self.low, self.high + 1)]
        return info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.secret = int(self.np_random.integers(self.top + 1))
        self.low, self.high = 0, self.top
        return f"I think of a number from 0 to {self.top}. Guess it.", self.info()

    def step(self, action):
        guess = int(action or 0)
        if guess == self.secret:
            return "Right!", 1.0, True, False, self.info(True)
        if guess > self.top:
            return "Lost: that is no such number.", -1.0, True, False, self.info()
        if guess < self.secret:
            self.low = max(self.low, guess + 1)
        else:
            self.high = min(self.high, guess - 1)
        return ("Higher." if guess < self.secret else "Lower."), 0.0, False, False, self.info()

class Broken(Guess):
    def step(self, action):
        return super().step(action)[:4]

gymnasium.register("Guess-v0", entry_point=Guess, max_episode_steps=20)
gymnasium.register("foreign/Guess-v0", entry_point=Guess)
gymnasium.register("GuessBroken-v0", entry_point=Broken)
'''
