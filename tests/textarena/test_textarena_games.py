"""TextArena's own games through the adapter."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

from agentdistill.envs.check import RULES, check_environment
from agentdistill.errors import ConfigError, DataError
from agentdistill_textarena.env import TextArenaEnv
from agentdistill_textarena.moves import MOVES
from agentdistill_textarena.source import TextArenaConfig, TextArenaSource

SOLVED = [
    "GuessTheNumber-v0",
    "GuessTheNumber-v0-hardcore",
    "FrozenLake-v0",
    "FrozenLake-v0-random",
    "FrozenLake-v0-hardcore",
    "Mastermind-v0",
    "TowerOfHanoi-v0",
    "TowerOfHanoi-v0-hard",
]
OTHERS = ["LightsOut-v0", "Minesweeper-v0-small", "Sudoku-v0-easy", "Sokoban-v0", "Countdown-v0", "PegJump-v0"]


def source(*games: str, **options) -> TextArenaSource:
    return TextArenaSource(TextArenaConfig(games=games, **options) if games else TextArenaConfig(**options))


def follow_the_expert(made: TextArenaSource, index: int) -> tuple[bool, int]:
    env = made.make()
    _, info = env.reset(options={"task": made.tasks("test")[index], "expert": True})
    steps, over = 0, False
    while not over:
        action = info["expert_action"]
        offered = info["admissible_actions"]
        assert action in offered or not offered
        *_, terminated, truncated, info = env.step(action)
        assert info["valid"]
        steps, over = steps + 1, terminated or truncated
    return info["won"], steps


def test_it_keeps_every_rule():
    results = check_environment(source(), "train", episodes=3, steps=8)
    assert [result.name for result in results] == list(RULES)
    assert not [result for result in results if not result.passed]


@pytest.mark.parametrize("game", SOLVED)
def test_the_expert_wins_by_the_rules(game: str):
    made = source(game)
    assert all(follow_the_expert(made, index)[0] for index in range(8))


@pytest.mark.parametrize("game", OTHERS)
def test_games_without_an_expert_can_be_played_too(game: str):
    made = source(game)
    env, again = made.make(), made.make()
    task = made.tasks("train")[3]
    first, info = env.reset(options={"task": task, "expert": True})
    assert (first, info) == again.reset(options={"task": task, "expert": True})
    assert first and info["task"] in first and info["admissible_actions"] == [] and info["expert_action"] is None
    refused = env.step("I would rather not")
    assert refused[:4] == again.step("I would rather not")[:4] and not refused[4]["valid"]
    *_, terminated, truncated, info = env.step("xyzzy")
    assert (terminated, truncated, info["won"]) == (True, False, False), "the second invalid move in a row ends a game"


def test_hanoi_takes_the_shortest_way_also_from_elsewhere():
    assert [follow_the_expert(source(f"TowerOfHanoi-v0{level}"), 0)[1] for level in ("", "-medium", "-hard")] == [
        7, 15, 31,
    ]  # fmt: skip
    made = source("TowerOfHanoi-v0")
    env = made.make()
    env.reset(options={"task": made.tasks("train")[0], "expert": True})
    *_, info = env.step("[A B]")
    for _ in range(8):
        *_, terminated, _, info = env.step(info["expert_action"])
        if terminated:
            break
    assert info["won"]


def test_a_game_that_runs_out_of_turns_is_truncated():
    env = source("GuessTheNumber-v0-hardcore").make()
    env.reset(seed=0)
    secret = env._game.original.game_number
    wrong = [number for number in range(1, 51) if number != secret]
    states = [env.step(f"[{wrong[0]}]")]
    while not (states[-1][2] or states[-1][3]):
        states.append(env.step(f"[{wrong[len(states)]}]"))
    # TextArena looks at its limit of ten before it counts the turn, so that an eleventh is played.
    assert len(states) == 11 and states[-1][2:4] == (False, True)
    assert not states[-1][4]["won"] and "turn limit" in states[-1][0]


def test_falling_into_a_hole_is_a_lost_game():
    env = source("FrozenLake-v0").make()
    for seed in range(20):
        env.reset(seed=seed)
        grid = env._game.original.state.game_state["grid"]
        if grid[0][1] == "H":
            text, reward, terminated, truncated, info = env.step("[right]")
            assert (terminated, truncated, info["won"]) == (True, False, False) and "fell into a hole" in text
            assert 0 < reward < 1 and info["valid"]
            return
    pytest.fail("no lake with a hole beside the start")


def test_nobody_elses_dice_are_touched():
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tobytes()
    env = source("Sokoban-v0").make()
    env.reset(seed=4)
    env.step("[up]")
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_tasks_take_turns_and_splits_never_meet():
    made = source(train=7, valid=3, test=3, seed=5)
    train = made.tasks("train")
    assert [task.type for task in train[:4]] == [*made.config.games, made.config.games[0]]
    assert train[0].key == "GuessTheNumber-v0/5"
    assert not {task.seed for task in train} & {task.seed for task in made.tasks("test")}
    with pytest.raises(DataError, match="no split `dev`"):
        made.tasks("dev")


@pytest.mark.parametrize(
    ("game", "error", "message"),
    [
        ("Mastermnd-v0", ConfigError, r"no game `Mastermnd-v0`\. Did you mean `Mastermind-v0"),
        ("TicTacToe-v0", ConfigError, "is not for one player"),
        ("Klondike-v0", DataError, "written for a newer Python"),
        ("Wordle-v0", DataError, "needs data or a service that does not come with TextArena"),
        ("TwentyQuestions-v0", DataError, "needs data or a service"),
    ],
)
def test_games_that_cannot_be_played_are_told(game: str, error: type, message: str, capfd):
    with pytest.raises(error, match=message):
        source(game).make().reset(seed=0)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_wrong_arguments_are_told():
    with pytest.raises(ConfigError, match="unexpected keyword argument 'numdisks'"):
        source("TowerOfHanoi-v0", arguments={"numdisks": 4}).make().reset(seed=0)
    with pytest.raises(ConfigError, match="games: "):
        TextArenaEnv(games=[])
    with pytest.raises(ConfigError, match="no option `tsak`"):
        source().make().reset(options={"tsak": 1})


def test_digits_without_end_are_a_refused_move():
    env = source("GuessTheNumber-v0").make()
    env.reset(seed=0)
    *_, info = env.step(f"[{'9' * 100_000}]")
    assert not info["valid"] and not info["won"]


def test_every_family_with_moves_is_tested():
    assert {game.partition("-")[0] for game in SOLVED} == set(MOVES)


def test_without_the_package_there_is_one_sentence():
    code = (
        "import sys; sys.modules['textarena'] = None\n"
        "from agentdistill_textarena.source import TextArenaSource\n"
        "source = TextArenaSource(); source.tasks('train'); source.provenance()\n"
        "try: source.make().reset(seed=0)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("MissingExtraError") and "pip install 'agentdistill[textarena]'" in done.stdout
