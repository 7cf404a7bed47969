"""One game in the genuine interpreter, with TextWorld's own state tracking where somebody asks for it.

TextWorld's wrapper derives everything at every step. The text, the score and the verdict need only the interpreter;
the list of commands and the expert need the tracked state, and are computed when they are asked for.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from agentdistill.errors import import_extra

LONGEST_COMMAND = 160
"""Characters. The interpreter's buffer holds 198 and cuts what is longer without a word."""

NOT_UNDERSTOOD = "That's not a verb I recognise."
"""The game's own answer, also to what must not reach it."""

ONE_AT_A_TIME = "One command at a time, please."

WON, LOST = "*** The End ***", "*** You lost! ***"

_TAG = re.compile(r"\[[^]]+\]\n?")
_EXTRA = re.compile(r"<(score|moves)>\n(.*?)</\1>", re.DOTALL)
_STATUS_LINE = re.compile(r"\n*> *-=[^\n]*=-\d+/\d+\s*\Z|  +-=[^\n]*=-\d+/\d+\s*\Z")
_SEVERAL = re.compile(r"[.;,]|\bthen\b")
_META = frozenset(
    {
        *("save", "restore", "restart", "quit", "q", "undo", "oops", "o", "script", "unscript", "transcript", "verify"),
        *("version", "verbose", "brief", "superbrief", "normal", "short", "long", "notify", "pronouns", "nouns"),
        *("score", "full", "places", "objects", "actions", "rules", "showme", "test", "tw", "trace", "purloin"),
        *("gonear", "abstract"),
    }
)
"""First words of commands to the interpreter, not to the world: some write files, some end or rewind the game."""


class Adventure:
    """A game being played.

    Args:
        folder: where `game.z8` and `game.json` are.

    Attributes:
        won: the game said so.
        lost: the game said so.
        score: points so far.
        valid: the last command was carried out.

    Raises:
        MissingExtraError: TextWorld is not installed.
    """

    def __init__(self, folder: Path) -> None:
        jericho = import_extra("jericho", "textworld", "The TextWorld environment")
        generator = import_extra("textworld.generator.game", "textworld", "The TextWorld environment")
        inform = import_extra("textworld.generator.inform7", "textworld", "The TextWorld environment")
        self._data: Any = generator.Game.load(str(folder / "game.json"))
        self._progression_class: Any = generator.GameProgression
        self._inform: Any = inform.Inform7Game(self._data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jericho knows commercial games by name, and no others
            self._machine: Any = jericho.FrotzEnv(str(folder / "game.z8"), 0)
        self.won = self.lost = False
        self.valid = True
        self.score = 0
        self._events: list[str] = []
        self._progression: Any = None
        self._followed = 0

    @property
    def objective(self) -> str:
        """The task in words; empty for games that do not tell."""
        return str(self._data.objective).strip()

    @property
    def max_score(self) -> int:
        """Points of a whole success."""
        return int(self._data.max_score)

    def reset(self) -> str:
        """Starts over.

        Returns:
            The opening without its banner: the task and the first room.
        """
        opening, _ = self._machine.reset()
        self._machine.step("tw-trace-actions")
        self._machine.step("tw-extra-infos score")
        self.won = self.lost = False
        self.valid = True
        self.score = 0
        self._events = []
        self._progression = None
        self._followed = 0
        return _opening(opening, self.objective)

    def step(self, command: str) -> str:
        """Sends a command and returns what the game says. See `valid`, `won`, `lost` and `score` then."""
        sent = " ".join(command.split())
        refused = refusal(sent)
        if refused is not None:
            self.valid = False
            return refused
        text, *_ = self._machine.step(sent)
        for name, value in _EXTRA.findall(text):
            if name == "score" and value.strip():
                self.score = int(value.split()[0])
        text = _EXTRA.sub("", text)
        tags = [tag.strip()[1:-1] for tag in _TAG.findall(text)]
        done = [tag.partition(" - succeeded")[0] for tag in tags if " - succeeded" in tag and "(" not in tag]
        self.valid = bool(done)
        self._events += done
        self.won, self.lost = WON in text, LOST in text
        return _STATUS_LINE.sub("", _TAG.sub("", text)).strip()

    def admissible(self) -> list[str]:
        """The commands that do something now, sorted; none after the end."""
        if self.won or self.lost:
            return []
        tracked = self._tracked()
        return sorted(set(self._inform.gen_commands_from_actions(tracked.valid_actions)))

    def expert_action(self) -> str | None:
        """First command of the shortest way to the end that TextWorld sees from here; None when there is none."""
        if self.won or self.lost:
            return None
        policy = self._tracked(quests=True).winning_policy
        return str(self._inform.gen_commands_from_actions(policy)[0]) if policy else None

    def close(self) -> None:
        """Ends the interpreter. Closing twice is allowed."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def _tracked(self, quests: bool = False) -> Any:
        """TextWorld's model of the world, brought up to now. Quests are followed from when somebody asks for them."""
        if self._progression is None or (quests and not self._progression.tracking_quests):
            self._progression = self._progression_class(self._data, track_quests=quests)
            self._followed = 0
        for event in self._events[self._followed :]:
            action = self._inform.detect_action(event, self._progression.valid_actions)
            if action is not None:
                self._progression.update(action)
        self._followed = len(self._events)
        return self._progression


def refusal(command: str) -> str | None:
    """What is answered to a command that must not reach the interpreter, None for all others.

    Args:
        command: the command, its spaces normalised.
    """
    if len(command) > LONGEST_COMMAND or not command.isascii() or not command.isprintable():
        return NOT_UNDERSTOOD
    lower = command.lower()
    if not lower or re.split(r"[^a-z]", lower, maxsplit=1)[0] in _META:
        return NOT_UNDERSTOOD
    return ONE_AT_A_TIME if _SEVERAL.search(lower) else None


def _opening(text: str, objective: str) -> str:
    """The opening from the task on; the banner before it is a picture made of dollar signs."""
    start = text.find(objective) if objective else -1
    if start < 0:
        start = text.find("-=")
    return _STATUS_LINE.sub("", text[max(start, 0) :]).strip()
