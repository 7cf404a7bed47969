"""Run inside a sandbox before it is trusted: prints what does not hold, one line each, or nothing."""

import os
import socket
from pathlib import Path


def refused(action):
    """Whether the system refuses to do something."""
    try:
        action()
    except OSError:
        return True
    return False


def forks(limit):
    """How many processes can be had at once, counted up to a limit."""
    here, there = os.pipe()
    children: list[int] = []
    while len(children) < limit:
        try:
            child = os.fork()
        except OSError:
            break
        if child == 0:
            os.close(there)
            os.read(here, 1)  # until the parent closes its end
            os._exit(0)
        children.append(child)
    os.close(there)
    for child in children:
        os.waitpid(child, 0)
    return len(children)


def same_limits():
    """Whether the first process, if its memory can be written to, is limited as this one is."""
    if refused(lambda: os.close(os.open("/proc/1/mem", os.O_RDWR))):
        return True
    return Path("/proc/1/limits").read_text() == Path("/proc/self/limits").read_text()


def main():
    """Tries everything."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    interfaces = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    system = [Path(place, "probe") for place in ("/", "/usr", "/dev", "/etc")]
    holds = {
        "it has capabilities": int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0,
        "it can gain privileges": status["NoNewPrivs"] == "1",
        "system calls are not filtered": status["Seccomp"] == "2",
        "it is root": os.getuid() != 0,
        "it has a network": interfaces <= {"lo"} and refused(lambda: socket.socket().close()),
        "it sees other processes": len(processes) <= 3,
        "it can write to the system": all(refused(path.touch) for path in system),
        "its home is not empty": not list(Path.cwd().iterdir()),
        "its home is not its own": not refused(Path("probe").touch),
        "the number of its processes is not limited": forks(64) <= 8,
        "it can use a process without limits": same_limits(),
    }
    for problem, held in holds.items():
        if not held:
            print(problem)


main()
