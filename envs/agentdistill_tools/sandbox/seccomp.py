"""A system call filter for the sandbox: a denial list, assembled as classic BPF.

Namespaces do not cover everything. Shared memory of System V and of `memfd_create` is no process's memory, so no
limit counts it; virtual machine sockets ignore network namespaces; a user namespace made inside would give new
powers over a large part of the kernel. Programs in the sandbox get "operation not permitted" instead.
"""

from __future__ import annotations

import functools
import platform
import struct

# name: (x86_64, aarch64); 0 where the architecture has none.
_DENIED = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, 0), "iopl": (172, 0),
    "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "mbind": (237, 235), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "modify_ldt": (154, 0), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "move_pages": (279, 239), "mq_open": (240, 180), "msgget": (68, 186),
    "name_to_handle_at": (303, 264), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "reboot": (169, 142), "request_key": (249, 218), "semget": (64, 190), "set_mempolicy": (238, 237),
    "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268), "settimeofday": (164, 170),
    "shmat": (30, 196), "shmget": (29, 194), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, 0), "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_NEW_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag
_X32 = 0x40000000  # the x32 calls of x86_64 are this bit and another number
_AF_UNIX = 1
_EPERM, _ENOSYS = 1, 38

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets into struct seccomp_data, little endian


@functools.cache
def program() -> bytes | None:
    """The filter for this machine's processor, or None when there is no table of its system calls."""
    if platform.machine() not in _ARCHITECTURES:
        return None
    column, architecture = _ARCHITECTURES[platform.machine()]
    denied = [numbers[column] for numbers in _DENIED.values() if numbers[column]]
    deny = len(denied) + 13  # index of the instruction that denies; jumps are relative to the next instruction
    code: list[tuple[int, int, int, int]] = []

    def put(kind: int, value: int, yes: int | None = None, no: int | None = None) -> None:
        after = len(code) + 1
        code.append((kind, 0 if yes is None else yes - after, 0 if no is None else no - after, value))

    put(_LOAD, _ARCHITECTURE)
    put(_EQUAL, architecture, None, deny)
    put(_LOAD, _NUMBER)
    put(_AT_LEAST, _X32, deny)
    for number in denied:
        put(_EQUAL, number, deny)
    here = len(code)
    put(_EQUAL, _CLONE3[column], deny + 1)  # its flags are behind a pointer; C libraries then use clone
    put(_EQUAL, _CLONE[column], here + 4)
    put(_EQUAL, _SOCKET[column], here + 6)
    put(_RETURN, _ALLOW)
    put(_LOAD, _FIRST_ARGUMENT)
    put(_ANY_BIT, _NEW_NAMESPACES, deny, here + 8)
    put(_LOAD, _FIRST_ARGUMENT)
    put(_EQUAL, _AF_UNIX, here + 8, deny)
    put(_RETURN, _ALLOW)
    assert len(code) == deny
    put(_RETURN, _ERRNO | _EPERM)
    put(_RETURN, _ERRNO | _ENOSYS)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
