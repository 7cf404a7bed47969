"""What a model behind an endpoint would say of the words: who said what was shown did well."""

from __future__ import annotations

import re
from typing import Any

_TURN = re.compile(r'<turn index="(\d+)">\n<observation>\n(.*?)\n</observation>.*?<action[^>]*>(.*?)</action>', re.S)


def right(transcript: str) -> dict[int, bool]:
    """Which turns of a transcript said the word, by index."""
    return {int(index): seen.endswith(f" {said}") for index, seen, said in _TURN.findall(transcript)}


def _good(prompt: str, name: str) -> int:
    """How many words one of two candidates said: an episode, or an action where something is shown."""
    candidate = prompt.partition(f"<{name}>")[2].partition(f"</{name}>")[0]
    if turns := right(candidate):
        return sum(turns.values())
    seen = re.findall(r"<observation>\n(.*?)\n</observation>", prompt.partition("<first>")[0], re.S)[-1]
    return int(seen.endswith(f" {candidate.partition('<action>')[2].partition('</action>')[0]}"))


def verdict(body: dict[str, Any]) -> str:
    """The answer to any question of the judges."""
    prompt = body["messages"][-1]["content"]
    turns = right(prompt)
    share = sum(turns.values()) / max(len(turns), 1)
    if "Where was the rubric gamed" in prompt:
        return "<rubric>Did it say every word it was shown?</rubric>"
    if "<better>" in prompt:
        first, second = (_good(prompt, name) for name in ("first", "second"))
        # Who may not call it a tie prefers a place, which is found out when the two change places.
        equal = "tie" if "<better>tie" in prompt else "first"
        return f"<better>{equal if first == second else 'first' if first > second else 'second'}</better>"
    if "<label" in prompt:
        return "".join(f'<label turn="{k}">{"skip" if good else "strong"}</label>' for k, good in turns.items())
    if "<episode>" in prompt:
        return (
            "".join(f'<turn index="{k}">{float(good)}</turn>' for k, good in turns.items())
            + f"<episode>{share}</episode>"
        )
    return f"<score>{10 * share:g}</score>"
