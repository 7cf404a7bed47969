"""Cleans up when the supervisor itself is killed and can do nothing any more.

A shell waits at the end of a pipe that only the supervisor holds. When the supervisor is gone, however it went, the
pipe ends, and the shell kills the process groups it was told about and removes their folder.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

# "+ PID" and "- PID" keep the list of groups; the end of the input is the end of the supervisor (or of its need).
_SCRIPT = """
live=
while read -r sign pid; do
  rest=
  for known in $live; do [ "$known" = "$pid" ] || rest="$rest $known"; done
  live=$rest
  [ "$sign" = + ] && live="$live $pid"
done
for pid in $live; do kill -9 "-$pid" 2>/dev/null; done
tries=0
while [ -e "$1" ] && [ $tries -lt 50 ]; do
  rm -rf -- "$1" 2>/dev/null
  tries=$((tries + 1))
  [ -e "$1" ] && sleep 0.1
done
"""


class Janitor:
    """A folder for worker processes, and the process that cleans up after them.

    Attributes:
        directory: the folder.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="agentdistill-workers-"))
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "janitor", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is not for it
        )

    def watch(self, pid: int) -> None:
        """Adds a process group."""
        self._say(f"+ {pid}\n")

    def forget(self, pid: int) -> None:
        """Takes a process group off the list; to be called before its number can be used again."""
        self._say(f"- {pid}\n")

    def _say(self, line: str) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(OSError):  # if somebody killed it, the workers still notice that we are gone
            self._shell.stdin.write(line.encode())
            self._shell.stdin.flush()

    def close(self) -> None:
        """Removes the folder and lets the shell end."""
        shutil.rmtree(self.directory, ignore_errors=True)
        assert self._shell.stdin is not None
        with contextlib.suppress(OSError):
            self._shell.stdin.close()
        self._shell.wait()
