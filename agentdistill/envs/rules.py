"""The rules of an environment that show in ordinary play: form, seeds, replays, actions, endings, the expert."""

from __future__ import annotations

import json
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

from agentdistill.envs.base import INFO_KEYS
from agentdistill.envs.probe import NONSENSE, Probe, State, answer_of_reset, require, shown
from agentdistill.envs.replay import record, restore

_TYPES: dict[str, type | tuple[type, ...]] = {
    "admissible_actions": list,
    "won": bool,
    "score": (int, float),
    "task": str,
    "valid": bool,
}
_TRIED_ACTIONS = 25
_LIMIT_STEPS = 120
_SHORTEST_LIMIT = 5
"""An episode that nonsense ends sooner was lost by the rules of the game, not by a step limit."""


def tasks(probe: Probe) -> str:
    """A split has tasks: the same ones whenever it is asked, each with its own key and the source's name."""
    keys = [task.key for task in probe.tasks]
    require(bool(keys), f"the split {probe.split} has no tasks")
    require(len(set(keys)) == len(keys), "two tasks have the same key")
    require(list(probe.source.tasks(probe.split)) == list(probe.tasks), "asked twice, the tasks differ")
    strangers = sorted({task.env for task in probe.tasks} - {probe.source.name})
    require(not strangers, f"tasks say env={strangers}, the source is named {probe.source.name!r}")
    return f"{len(keys)} tasks, {len({task.type for task in probe.tasks})} types"


def api(probe: Probe) -> str:
    """`make` gives a `gymnasium.Env`; `reset` and `step` return text and what else Gymnasium says, with its types."""
    import gymnasium

    count = 0
    with probe.env() as env:
        require(isinstance(env, gymnasium.Env), f"make() returned {shown(env)}, which is no gymnasium.Env")
        for task in probe.chosen:
            count += len(probe.walk(env, task))
    return f"{count} answers of the right form"


def gymnasium(probe: Probe) -> str:
    """Gymnasium's own checker passes, without warnings."""
    from gymnasium.utils.env_checker import check_env

    with probe.env() as env, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=True)
    messages = [str(warning.message) for warning in caught if "gymnasium" in str(warning.filename)]
    require(not messages, "; ".join(messages))
    return "gymnasium.utils.env_checker.check_env passes without warnings"


def info(probe: Probe) -> str:
    """Every info has the agreed keys with their types; the expert's action is there only when somebody asked."""
    with probe.env() as env:
        for task in probe.chosen:
            for state in probe.walk(env, task):
                for name, kind in _TYPES.items():
                    told = INFO_KEYS[name]
                    require(name in state.info, f"info lacks {name!r} after {state.action!r}: {told}")
                    require(isinstance(state.info[name], kind), f"info[{name!r}] is {shown(state.info[name])}: {told}")
                strangers = [action for action in state.offered if not isinstance(action, str)]
                require(not strangers, f"info['admissible_actions'] holds {shown(strangers[:1])}, which is no text")
                require("expert_action" not in state.info, "info has expert_action though nobody asked for it")
                fresh = state.info["valid"] and not state.info["won"]
                require(bool(state.action) or fresh, "after reset valid=True, won=False")
    return f"{len(_TYPES)} keys, with their types, in every state"


def spaces(probe: Probe) -> str:
    """Observations and offered actions lie in the declared spaces, also text beyond ASCII."""
    longest = 0
    with probe.env() as env:
        for task in probe.chosen:
            for state in probe.walk(env, task):
                told = f"observation outside its space: {shown(state.observation)}"
                require(state.observation in env.observation_space, told)
                outside = [a for a in [state.action, *state.offered] if a not in env.action_space]
                require(not outside, f"actions outside their space: {shown(outside[:3])}")
                longest = max(longest, len(state.observation))
    return f"longest observation {longest} characters"


def seeding(probe: Probe) -> str:
    """Without a task, the seed of `reset` decides everything, also what later resets without a seed draw."""
    with probe.env() as one, probe.env() as other:
        for seed in range(probe.seed, probe.seed + 3):
            first, second = (answer_of_reset(env.reset(seed=seed)) for env in (one, other))
            require(same(first, second), f"reset(seed={seed}) differs between two environments")
            require(same(one.reset(), other.reset()), f"the reset after reset(seed={seed}) differs")
    return "two environments, three seeds"


def steps(probe: Probe) -> str:
    """The same task, seed and actions give the same answers in another environment."""
    count = 0
    for task in probe.chosen:
        with probe.env() as one, probe.env() as other:
            first, second = probe.walk(one, task), probe.walk(other, task)
            for left, right in zip(first, second, strict=False):
                require(same(left, right), f"{task.key}: after {left.action!r} two environments differ")
                count += 1
            require(len(first) == len(second), f"{task.key}: two environments end at different steps")
    return f"{count} states, equal in two environments"


def replay(probe: Probe) -> str:
    """An episode can be restored by playing its actions again, in the same environment and in a fresh one."""
    for task in probe.chosen:
        with probe.env() as env, probe.env() as fresh:
            actions = [state.action for state in probe.walk(env, task)][1:]
            played = record(env, task, actions)
            state = restore(fresh, played)
            require(same(restore(env, played), state), f"{task.key}: two replays give two states")
    return f"{len(probe.chosen)} episodes restored in the same and in a fresh environment"


def admissible(probe: Probe) -> str:
    """What is offered is accepted: info["valid"] is True after an admissible action."""
    tried = 0
    with probe.env() as env:
        for task in probe.chosen:
            actions = [state.action for state in probe.walk(env, task)[1:]]
            played = record(env, task, actions[: len(actions) // 2])
            _, info = restore(env, played)
            for action in info["admissible_actions"][:_TRIED_ACTIONS]:
                restore(env, played)
                after = probe.step(env, action)
                require(after.info["valid"], f"{task.key}: {action!r} was offered and then refused")
                tried += 1
    return f"{tried} offered actions, all accepted" if tried else "the environment offers none"


def endings(probe: Probe) -> str:
    """`terminated` is the task's own end, `truncated` a limit's; a won episode ends; after the end, reset works."""
    with probe.env() as env:
        for task in probe.chosen:
            walked = probe.walk(env, task)
            for state in walked:
                _won_ends(state, task.key)
            again = probe.reset(env, task)
            require(again.observation == walked[0].observation, f"{task.key}: reset after play starts elsewhere")
        ends: list[tuple[int, State]] = []
        for task, word in ((probe.chosen[0], NONSENSE), (probe.chosen[-1], "plugh")):
            state = probe.reset(env, task)
            length = 0
            while not state.over and length < _LIMIT_STEPS:
                state = probe.step(env, word)
                _won_ends(state, task.key)
                length += 1
            ends.append((length, state))
            if not state.over:
                break
    lengths = {length for length, _ in ends}
    limited = len(ends) == 2 and len(lengths) == 1 and min(lengths) >= _SHORTEST_LIMIT
    terminated = all(state.terminated and not state.truncated and not state.info.get("won") for _, state in ends)
    told = f"nonsense ends every episode after {ends[0][0]} steps with terminated=True; a step limit is `truncated`"
    require(not (limited and terminated), told)
    if not ends[-1][1].over:
        return f"nonsense ends nothing within {_LIMIT_STEPS} steps"
    return f"nonsense ends episodes after {' and '.join(str(length) for length, _ in ends)} steps"


def _won_ends(state: State, key: str) -> None:
    told = f"{key}: after {state.action!r} info['won'] is True and the episode goes on; it must be terminated"
    require(state.over or not state.info.get("won"), told)


def expert(probe: Probe) -> str:
    """The expert, where there is one, succeeds."""
    lengths = []
    with probe.env() as env:
        for task in probe.chosen:
            state = probe.reset(env, task, expert=True)
            told = "asked for, info has no expert_action (None when there is no expert)"
            require("expert_action" in state.info, told)
            length = 0
            while state.info["expert_action"] is not None and not state.info["won"] and length < probe.expert_steps:
                state = probe.step(env, state.info["expert_action"])
                length += 1
                require(not state.terminated or state.info["won"], f"{task.key}: terminated without success")
                if state.over:
                    break
                require("expert_action" in state.info, f"info lost its expert_action after {length} steps")
            if not length:
                return "the environment has no expert"
            require(state.info["won"], f"{task.key}: the expert did not succeed within {length} steps")
            lengths.append(length)
    return f"succeeds in {', '.join(map(str, lengths))} steps"


def provenance(probe: Probe) -> str:
    """Provenance is plain JSON and names no folder of this machine."""
    text = json.dumps(dict(probe.source.provenance()), sort_keys=True)
    require(str(Path.home()) not in text, "provenance names a folder of this machine")
    return f"{len(text)} bytes"


def pickling(probe: Probe) -> str:
    """A pickled source has the same tasks and starts them the same way: workers get a pickled one."""
    copy = pickle.loads(pickle.dumps(probe.source))
    require(list(copy.tasks(probe.split)) == list(probe.tasks), "a pickled copy has other tasks")
    task = probe.chosen[0]
    env = copy.make()
    try:
        there = probe.reset(env, task)
    finally:
        env.close()
    with probe.env() as env:
        require(there.observation == probe.reset(env, task).observation, f"{task.key}: a pickled copy starts elsewhere")
    return "a pickled source has the same tasks and starts them the same way"


def randomness(probe: Probe) -> str:
    """Play draws from the environment's own generator: Python's and NumPy's global ones are left alone."""
    import numpy as np

    task = probe.chosen[0]
    with probe.env() as env:
        probe.walk(env, task)  # what is imported or filled on first use may draw
        before = random.getstate(), _numpy_state(np)
        try:
            probe.walk(env, task)
            after = random.getstate(), _numpy_state(np)
        finally:
            random.setstate(before[0])
    require(before[0] == after[0], "reset or step draws from Python's global `random`; use self.np_random")
    require(before[1] == after[1], "reset or step draws from `numpy.random`; use self.np_random")
    return "the global generators are as they were"


def _numpy_state(np: Any) -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return name, keys.tobytes(), *rest


def same(left: Any, right: Any) -> bool:
    """Whether two answers are equal, arrays included."""
    from gymnasium.utils.env_checker import data_equivalence

    if isinstance(left, State) and isinstance(right, State):
        left, right = tuple(left), tuple(right)
    return bool(data_equivalence(left, right))
