"""Environments of plugins under their Gymnasium ids, whichever of the two packages is imported first.

A plugin's module may say `GYMNASIUM_IDS = {"namespace/Name-v0": "package.module:Class"}`, above its imports (a
program may import the plugin before it imports us). Gymnasium loads no entry points, so we register these ids: at
`import agentdistill` when gymnasium is there already, otherwise as soon as somebody imports gymnasium. Until then
nothing is loaded, so the command line stays fast.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ATTRIBUTE = "GYMNASIUM_IDS"
"""Name of the module attribute: Gymnasium id -> lazy entry point of a `gymnasium.Env` class."""

_HOST = "gymnasium"


def register_environments() -> list[str]:
    """Registers the ids of every installed plugin with Gymnasium. Calling it again registers what is new.

    Returns:
        The ids that Gymnasium knows now because of our plugins, sorted.
    """
    import gymnasium

    from agentdistill.plugins.loader import discover, third_party_enabled

    known = []
    others = third_party_enabled(None)
    for plugin, entry in discover():
        if not (others or plugin.first_party):
            continue
        try:
            ids = dict(getattr(entry.load(), ATTRIBUTE, {}))
        # One broken plugin must not make gymnasium unusable; `agentdistill plugins list` shows the whole error.
        except (Exception, SystemExit) as error:
            warnings.warn(f"{plugin} registers no Gymnasium ids: {type(error).__name__}: {error}", stacklevel=2)
            continue
        for name, target in ids.items():
            if name not in gymnasium.registry:
                gymnasium.register(id=name, entry_point=target)
            known.append(name)
    return sorted(known)


def follow_gymnasium() -> None:
    """Registers now if gymnasium is imported, else when it will be."""
    host = sys.modules.get(_HOST)
    if host is not None and hasattr(host, "register"):
        register_environments()
    elif not any(isinstance(finder, _Follower) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Follower())


class _Follower:
    """A meta path finder: waits for the import of gymnasium, and lets the other finders find it.

    Somebody may only ask whether gymnasium could be imported, so it stays until the import really happens.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _HOST:
            return None
        for finder in sys.meta_path:
            spec = None if isinstance(finder, _Follower) else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _RegisteringLoader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _RegisteringLoader:
    """Loads as the original loader does, puts it back in its place, then registers."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._original.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Follower)]
        if module.__spec__ is not None:
            module.__spec__.loader = self._original
        module.__loader__ = self._original
        self._original.exec_module(module)
        register_environments()
