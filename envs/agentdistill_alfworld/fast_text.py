"""The words of ALFWorld's text rules (`alfred.twl2` of alfworld 0.4.2), as plain functions."""

from __future__ import annotations

from collections.abc import Sequence

WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
NOTHING_HAPPENS = "Nothing happens."
HELP = (
    "Available commands:\n"
    "  look:                             look around your current location\n"
    "  inventory:                        check your current inventory\n"
    "  go to (receptacle):               move to a receptacle\n"
    "  open (receptacle):                open a receptacle\n"
    "  close (receptacle):               close a receptacle\n"
    "  take (object) from (receptacle):  take an object from a receptacle\n"
    "  move (object) to (receptacle):  place an object in or on a receptacle\n"
    "  examine (something):              examine a receptacle or an object\n"
    "  use (object):                     use an object\n"
    "  heat (object) with (receptacle):  heat an object using a receptacle\n"
    "  clean (object) with (receptacle): clean an object using a receptacle\n"
    "  cool (object) with (receptacle):  cool an object using a receptacle\n"
    "  slice (object) with (object):     slice an object using a sharp object\n"
)


def enumerate_names(names: Sequence[str]) -> str:
    """Joins names as the engine does: "nothing", "x", "x, and y", "x, y, and z"."""
    if len(names) > 1:
        return f"{', '.join(names[:-1])}, and {names[-1]}"
    return names[0] if names else "nothing"


def surroundings(seen: Sequence[str]) -> str:
    """What the agent reads where no receptacle is within reach; `seen` are names with their article."""
    return f"You are in the middle of a room. Looking quickly around you, you see {enumerate_names(seen)}."


def facing(receptacles: Sequence[str], on_floor: Sequence[str]) -> str:
    """What `look` says in front of receptacles; `receptacles` without, `on_floor` with their article."""
    return f"You are facing the {enumerate_names(receptacles)}. Next to it, you see {enumerate_names(on_floor)}."


def receptacle_view(name: str, contents: Sequence[str], openable: bool, is_open: bool) -> str:
    """What examining a receptacle shows; `contents` are names with their article."""
    if not openable:
        return f"On the {name}, you see {enumerate_names(contents)}."
    if is_open:
        return f"The {name} is open. In it, you see {enumerate_names(contents)}."
    return f"The {name} is closed."


def object_view(name: str, *, clean: bool, hot: bool, cool: bool, sliced: bool, toggled: bool) -> str:
    """What examining an object that holds nothing shows.

    Args:
        name: the object's name.
        clean: it was cleaned.
        hot: it is hot; the rules ask for hot before cool.
        cool: it is cool.
        sliced: it is sliced.
        toggled: it can be switched on, and was.

    Returns:
        One sentence. The engine's rule for "is off" never fires: it asks for a negative fact that no command adds.
        A sliced object of a kind that cannot be sliced would not say so, and none exists.
    """
    if clean and (hot or cool):
        return f"This is a {'hot' if hot else 'cool'} and clean {'sliced ' if sliced else ''}{name}."
    if sliced and (clean or hot or cool):
        return f"This is a {'clean' if clean else 'hot' if hot else 'cool'} sliced {name}."
    if hot or clean or cool:
        return f"This is a {'hot' if hot else 'clean' if clean else 'cold'} {name}."
    if toggled:
        return f"This {name} is on."
    if sliced:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."
