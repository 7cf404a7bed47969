"""What a piece of model-written code may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentdistill.plugins import PluginConfig


class PythonConfig(PluginConfig):
    """The built-in `python` tool: limits of one call, each a fresh interpreter.

    Memory is limited by process, so the most that a call can hold is about `memory_mb` times `processes`, and
    `files_mb` three times (home, /tmp, /dev/shm).

    Attributes:
        seconds: wall time. It is there for programs that wait; one that computes meets `cpu_seconds` first, which does
            not depend on how busy the machine is.
        cpu_seconds: CPU time of each process.
        memory_mb: address space of each process.
        processes: processes and threads at once, the interpreter itself included.
        files_mb: size of the home folder, of /tmp and of any one file.
        open_files: file descriptors of each process.
        output_bytes: what may be written to stdout and stderr together; a program that writes more is stopped.
        packages: let the code import what is installed beside agentdistill, not only the standard library.
        unsafe: run without a sandbox, with nothing but these limits, as this user. Code that a model wrote can then
            read and change whatever you can.
    """

    seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    cpu_seconds: Annotated[int, Field(ge=1)] = 5
    memory_mb: Annotated[int, Field(ge=64)] = 512
    processes: Annotated[int, Field(ge=1, le=1024)] = 4
    files_mb: Annotated[int, Field(ge=1)] = 16
    open_files: Annotated[int, Field(ge=16, le=1024)] = 64
    output_bytes: Annotated[int, Field(ge=256)] = 16_384
    packages: bool = False
    unsafe: bool = False
