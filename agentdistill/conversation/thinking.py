"""What is thinking in a response."""

from __future__ import annotations


def thought(response: str, opened: str, closed: str) -> bool:
    """Whether a response has thinking in it: more than white space between two marks.

    Args:
        response: what was written.
        opened: the mark where thinking begins. Templates may put it in the prompt: then only its end is there.
        closed: the mark where it ends.
    """
    before, end, _ = response.partition(closed)
    if not end:
        return opened in response
    return bool((before.partition(opened)[2] if opened in before else before).strip())
