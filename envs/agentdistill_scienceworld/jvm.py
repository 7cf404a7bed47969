"""One Java virtual machine a process, with as many simulators inside as the process has environments.

A simulator is an object of the same JVM, not a JVM of its own: the second costs megabytes, not hundreds. The JVM
starts with the first environment and ends with the last one, at exit, and when the process is killed (Java watches
its standard input, which then closes).
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import IO, Any

from agentdistill.errors import EnvironmentFailure, MissingExtraError, import_extra
from agentdistill_scienceworld.mended import CHANGES, NAMES, PARSER, WORDS
from agentdistill_scienceworld.statics import Statics, World

_STOP_SECONDS = 5.0

_GREETING_LINES = 50
"""Lines in which Java has to say where it listens."""

_MOST_WORDS = 30_000
"""Names whose words are remembered; all of thirty variations, one of each task, are 11,000."""


class Jvm:
    """A running JVM. Use `acquire` to get a simulator in the one of this process.

    Args:
        heap_mb: most megabytes of its heap.

    Attributes:
        lock: held during every conversation with the JVM; the simulators share static parts.
        alive: False once a call failed because the JVM is gone.
        join: Java's `String.join`, to be called with `call`.
        statics: the static parts of the simulator, which belong to one world at a time.

    Raises:
        MissingExtraError: Java or the extra is not installed.
        EnvironmentFailure: Java does not start.
    """

    def __init__(self, heap_mb: int) -> None:
        package = import_extra("scienceworld", "scienceworld", "The ScienceWorld environment")
        gateway = import_extra("py4j.java_gateway", "scienceworld", "The ScienceWorld environment")
        folder = Path(str(package.__file__)).parent
        self.lock = threading.RLock()
        self.alive = True
        self.heap_mb = heap_mb
        self._users = 0
        self._disowned = False
        self._idle: list[tuple[Any, World]] = []
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        with tempfile.TemporaryDirectory(prefix="agentdistill-scienceworld-") as changed:
            jar = folder / "scienceworld.jar"
            _write_changed_classes(jar, Path(changed))
            self._process, port, token = self._start((changed, str(gateway.find_jar_path()), str(jar)), folder)
            # Java may still say something there, and would stop for good on a full pipe.
            assert self._process.stdout is not None
            threading.Thread(target=_drain, args=(self._process.stdout,), daemon=True).start()
            parameters = gateway.GatewayParameters(port=port, auth_token=token)
            self._gateway = gateway.JavaGateway(gateway_parameters=parameters)
            names = self._gateway.jvm
            # The simulator talks all the time; nobody listens.
            self.call(names.java.lang.System.setOut, self.call(names.java.io.PrintStream, os.devnull))
            changed_classes = {name: self.call(names.java.lang.Class.forName, name) for name in CHANGES}
            # They have been read now, so that the folder may go.
        self._words = self.call(names.java.util.HashMap)
        for field, table in ((NAMES, self.call(names.java.util.IdentityHashMap)), (WORDS, self._words)):
            self.call(self.call(changed_classes[PARSER].getField, field).set, None, table)
        self.join: Any = names.java.lang.String.join
        self.statics: Statics = self.call(Statics, names)

    @property
    def pid(self) -> int:
        """The process id of Java."""
        return self._process.pid

    def _start(self, classes: tuple[str, ...], folder: Path) -> tuple[subprocess.Popen[bytes], int, str]:
        command = [
            java(),
            f"-Xmx{self.heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:+UnlockExperimentalVMOptions",
            "-XX:hashCode=2",
            "-classpath",
            os.pathsep.join(classes),
            "py4j.GatewayServer",
            "--die-on-broken-pipe",
            "--enable-auth",
            "0",  # any free port
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            process_group=0,  # Ctrl-C is for us: whoever handles it still needs the simulators
        )
        assert process.stdout is not None
        said = [process.stdout.readline().strip()]
        while said[-1] and not said[-1].isdigit() and len(said) < _GREETING_LINES:
            said.append(
                process.stdout.readline().strip()
            )  # a warning of Java's, which goes to its standard output, too
        port, token = said[-1], process.stdout.readline().strip()
        if not (port.isdigit() and token):
            process.kill()
            process.wait()
            raise EnvironmentFailure(
                "The Java virtual machine for ScienceWorld did not start.",
                f"`{command[0]}` said: {self._said() or b' '.join(said).decode(errors='replace').strip() or 'nothing'}",
                "Check that `java -version` works (8 or later), or lower --env.heap_mb.",
            )
        return process, int(port), token.decode()

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read(2000).decode(errors="replace").strip()

    def take(self) -> tuple[Any, World]:
        """A simulator nobody uses, one given back or a new one, and its static parts."""
        taken = self._idle.pop() if self._idle else self._new()
        self._users += 1
        return taken

    def give(self, simulator: Any, world: World) -> bool:
        """Takes a simulator back.

        Returns:
            Whether it was the last one in use.
        """
        self._users -= 1
        self._idle.append((simulator, world))
        return self._users <= 0

    def forget(self) -> None:
        """Forgets the words of names when they have become many; called now and then."""
        if self.call(self._words.size) > _MOST_WORDS:
            self.call(self._words.clear)

    def _new(self) -> tuple[Any, World]:
        """A new simulator. Making one numbers things and draws numbers, too: its own ones."""
        make = self._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface
        with self.lock:
            world: World = self.call(self.statics.world)
            self.call(self.statics.enter, world)
            return self.call(make), world

    def call(self, method: Any, *arguments: Any) -> Any:
        """Calls a method of a Java object.

        Raises:
            EnvironmentFailure: the JVM is gone, or the call failed there.
        """
        from py4j.protocol import Py4JError, Py4JJavaError

        try:
            with self.lock:
                return method(*arguments)
        except Py4JJavaError as error:
            why = str(error.java_exception).strip()
            do = (
                f"Give Java more than {self.heap_mb} MB: --env.heap_mb {2 * self.heap_mb}"
                if "OutOfMemory" in why
                else ""
            )
            raise EnvironmentFailure("The ScienceWorld simulator failed.", f"Java says: {why}.", do) from error
        except (Py4JError, OSError) as error:
            self.alive = False
            code = self._process.poll()
            why = f"Its JVM ended with code {code}." if code is not None else f"{type(error).__name__}: {error}."
            raise EnvironmentFailure(
                "The ScienceWorld simulator does not answer.", why, "Reset the environment: it starts another JVM."
            ) from error

    def stop(self) -> None:
        """Ends the JVM and waits until it is gone. Stopping twice, or what a forked child inherited, does nothing."""
        self.alive = False
        self._idle.clear()
        if self._disowned or self._process.returncode is not None:
            return
        self._disconnect()
        self._gateway.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def disown(self) -> None:
        """In a forked child: lets go of the parent's JVM without a word to it."""
        self.alive = False
        if self._process.returncode is not None:
            return
        self._disowned = True
        self._disconnect()
        connections = self._gateway._gateway_client.deque
        nothing = os.open(os.devnull, os.O_RDWR)
        # As long as a child holds a pipe, Java would not notice that the parent died. A connection that is dropped
        # shuts down its socket, which the parent still talks through.
        held = (self._process.stdin, self._process.stdout, *(connection.socket for connection in connections))
        for stream in held:
            if stream is not None:
                os.dup2(nothing, stream.fileno())
        os.close(nothing)
        connections.clear()

    def _disconnect(self) -> None:
        """Keeps the finalizers of Java objects, which run at any time, from talking to Java."""
        self._gateway._gateway_client.is_connected = False


def java() -> str:
    """The `java` command: of $JAVA_HOME, else on the path.

    Raises:
        MissingExtraError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise MissingExtraError(
            "ScienceWorld needs Java, and there is no `java` command on this machine:"
            " install it (on Debian: apt-get install default-jre-headless) or set JAVA_HOME."
        )
    return found


def _write_changed_classes(jar: Path, folder: Path) -> None:
    """Writes the changed classes of the simulator into a folder.

    Raises:
        EnvironmentFailure: the installed simulator is another than the one this package knows.
    """
    for name, change in CHANGES.items():
        file = name.replace(".", "/") + ".class"
        try:
            with zipfile.ZipFile(jar) as archive:
                changed = change(archive.read(file))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise EnvironmentFailure(
                "The installed ScienceWorld simulator is not one that this package knows.",
                f"{file} in {jar}: {error}.",
                "Install the version that `pip install 'agentdistill[scienceworld]'` brings.",
            ) from error
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(changed)


_shared: dict[int, Jvm] = {}
_lock = threading.RLock()


def acquire(heap_mb: int) -> tuple[Jvm, Any, World]:
    """A simulator in the JVM of this process with that heap, and its static parts; the JVM is started if need be.

    Raises:
        MissingExtraError: Java or the extra is not installed.
        EnvironmentFailure: Java does not start.
    """
    with _lock:
        found = _shared.get(heap_mb)
        if found is None or not found.alive:
            if found is not None:
                found.stop()
            found = _shared[heap_mb] = Jvm(heap_mb)
        return found, *found.take()


def release(jvm: Jvm, simulator: Any, world: World) -> None:
    """Gives a simulator back; the JVM ends with the last one."""
    with _lock:
        if jvm.give(simulator, world):
            jvm.stop()
            if _shared.get(jvm.heap_mb) is jvm:
                del _shared[jvm.heap_mb]


def _drain(stream: IO[bytes]) -> None:
    while os.read(stream.fileno(), 1 << 16):
        pass


def _stop_all() -> None:
    for jvm in list(_shared.values()):
        jvm.stop()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    for jvm in list(_shared.values()):
        jvm.disown()
    _shared.clear()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_after_fork)
