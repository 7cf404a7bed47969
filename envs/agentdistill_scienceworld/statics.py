"""What the simulator keeps once per JVM, given to each of its worlds: random numbers, numbers of things, options.

The simulator was written for one world per JVM. Three things are static in it: the source of random numbers (by which
animals wander and plants inherit), the counter that numbers new things, and the list of simplifications. Loading a
world resets all three; with several worlds in one JVM, each would change the others. So before one world is spoken to,
its own three are put in place, unless they are already.
"""

from __future__ import annotations

from typing import Any

from agentdistill_scienceworld.mended import INTERFACE

_RANDOM = ("scala.util.Random$", "scala.util.Random", "self")
_OPTIONS = (
    "main.scala.scienceworld.runtime.SimplifierProcessor$",
    "main.scala.scienceworld.runtime.SimplifierProcessor$",
    "simplifications",
)


class World:
    """The static parts of one simulator.

    Args:
        java: the names of Java, as py4j gives them.
    """

    def __init__(self, java: Any) -> None:
        self.random = java.java.util.Random(0)
        self.options = java.scala.collection.mutable.ArrayBuffer()
        self.count = 0


class Statics:
    """The static places of a JVM, and whose parts are in them.

    Args:
        java: the names of Java, as py4j gives them.
    """

    def __init__(self, java: Any) -> None:
        self._java = java
        self._random = _place(java, *_RANDOM)
        self._options = _place(java, *_OPTIONS)
        interface = java
        for name in INTERFACE.split("."):
            interface = getattr(interface, name)
        self._enter = interface.enter  # see `mended`
        self._current: World | None = None

    def world(self) -> World:
        """Parts for a new simulator."""
        return World(self._java)

    def enter(self, world: World) -> None:
        """Puts a simulator's parts in place. The caller holds the lock of the JVM until it has spoken to it."""
        before, self._current = self._current, None
        if before is not world:
            count = self._enter(*self._random, world.random, *self._options, world.options, world.count)
            if before is not None:
                before.count = count
        self._current = world


def _place(java: Any, module: str, owner: str, name: str) -> tuple[Any, Any]:
    """A field of a Scala object, and the object.

    Args:
        java: the names of Java.
        module: class of the object.
        owner: class that declares the field.
        name: name of the field.
    """
    field = java.java.lang.Class.forName(owner).getDeclaredField(name)
    field.setAccessible(True)
    return field, _module(java, module)


def _module(java: Any, name: str) -> Any:
    """The one instance of a Scala object."""
    return java.java.lang.Class.forName(name).getField("MODULE$").get(None)
