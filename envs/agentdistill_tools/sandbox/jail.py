"""The bubblewrap command lines that a sandbox can be built with, and the interpreter inside."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from agentdistill_tools.sandbox.limits import PythonConfig

HOME = "/home/agent"
_PYTHON = "/py"
_PACKAGES = "/packages"
_UIDS = 0x70000000
_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class Jail:
    """A way to build the sandbox.

    There are two, because the kernel does not count the processes of the real root: a sandbox that root builds in a
    user namespace belongs to root outside, and a fork bomb in it knows no limit. So for root the namespaces are made
    without a user namespace, and the program inside becomes a user that nobody else is before it reads any code.

    Attributes:
        name: "user-namespace" or "own-user"; goes into the provenance.
        bwrap: the program.
        own_user: whether the program inside changes its user.
    """

    name: str
    bwrap: str
    own_user: bool

    @property
    def reserved_processes(self) -> int:
        """Processes beside the program's that count: bubblewrap's own first process has the same user."""
        return 0 if self.own_user else 1

    def uid(self) -> int | None:
        """The user to become: another one for each call, so that calls at the same time have limits of their own."""
        if not self.own_user:
            return None
        return _UIDS + (os.getpid() * 4096 + next(_counter) % 4096) % 0x0FFFFFFF

    def command(self, limits: PythonConfig, seccomp: int, info: int) -> list[str]:
        """The command line up to the interpreter's own arguments.

        Args:
            limits: what the code may use.
            seccomp: file descriptor of the system call filter.
            info: file descriptor that bubblewrap tells the number of the sandbox's first process.
        """
        size = str(limits.files_mb << 20)
        command = [self.bwrap, *_system(), "--proc", "/proc", "--dev", "/dev"]
        for folder in (HOME, "/tmp", "/dev/shm"):
            command += ["--perms", "1777", "--size", size, "--tmpfs", folder]
        prefix, python = _interpreter()
        if python.startswith(_PYTHON):
            command += ["--ro-bind", prefix, _PYTHON]
        for outside, inside in zip(package_folders(limits, False), package_folders(limits, True), strict=True):
            command += ["--ro-bind", outside, inside]
        command += ["--remount-ro", "/dev", "--remount-ro", "/"]
        if self.own_user:
            command += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
            command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            command += ["--unshare-user", "--unshare-all", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
        command += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--seccomp", str(seccomp)]
        command += ["--info-fd", str(info)]
        command += ["--clearenv", "--chdir", HOME]
        for name, value in environment(HOME).items():
            command += ["--setenv", name, value]
        library = f"{_PYTHON if python.startswith(_PYTHON) else prefix}/lib"
        return [*command, "--setenv", "LD_LIBRARY_PATH", library, python]


def environment(home: str) -> dict[str, str]:
    """Environment variables of the code: the same everywhere, and none of ours."""
    return {
        "HOME": home,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def candidates() -> list[Jail]:
    """The ways to try on this machine, best first; none without bubblewrap."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return []
    user = Jail("user-namespace", bwrap, False)
    return [Jail("own-user", bwrap, True), user] if os.geteuid() == 0 else [user]


def _interpreter() -> tuple[str, str]:
    """Prefix of this Python outside, and the path of its interpreter inside.

    An installation outside /usr appears as /py, so that nothing shows whose home it lies in.
    """
    prefix = str(Path(sys.base_prefix).resolve())
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    inside = prefix if prefix == "/usr" or prefix.startswith("/usr/") else _PYTHON
    return prefix, f"{inside}/bin/{name}"


def _system() -> list[str]:
    """Read-only views of the system's programs and libraries; nothing of /etc but the linker's cache."""
    options: list[str] = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()).lstrip("/"), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    return [*options, "--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]


def package_folders(limits: PythonConfig, inside: bool) -> list[str]:
    """Folders that packages can be imported from, by their paths inside the sandbox or outside."""
    if not limits.packages:
        return []
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    return [f"{_PACKAGES}-{index}" for index in range(len(folders))] if inside else folders
