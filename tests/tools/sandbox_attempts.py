"""Programs that try to get out of the sandbox, or to use it up. One that succeeds prints ESCAPED.

`{secret}`, `{home}`, `{port}`, `{socket}`, `{abstract}` and `{victim}` stand for a file, the user's home, a TCP port, two
Unix sockets and a process outside. `tries(f)` calls something that must be refused; `syscall` is the system's own, below all libraries.
"""

# ruff: noqa: E501 - programs on one line are easier to compare

from __future__ import annotations

from dataclasses import dataclass

PRELUDE = """
import ctypes, errno, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"

def syscall(x86, arm, *arguments):
    result = libc.syscall(arm if ARM else x86, *arguments)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result

def tries(action, *arguments):
    try:
        result = action(*arguments)
    except BaseException as error:
        print("refused:", type(error).__name__, error)
    else:
        print("ESCAPED:", repr(result)[:200])
"""


@dataclass(frozen=True)
class Attempt:
    name: str
    code: str
    seconds: float = 10.0
    """Wall time it gets; those that only wait get little."""


def _one_call(name: str, call: str, imports: str = "os") -> Attempt:
    return Attempt(name, f"import {imports}\ntries(lambda: {call})")


NETWORK = [
    _one_call("tcp to a port outside", 'socket.create_connection(("127.0.0.1", {port}), 1)', "socket"),
    _one_call("udp", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))", "socket"),
    _one_call("ipv6", "socket.socket(socket.AF_INET6).connect(('::1', {port}))", "socket"),
    _one_call("raw packets", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "socket"),
    _one_call("link layer", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "socket"),
    _one_call("netlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", "socket"),
    _one_call("virtual machine sockets", "socket.socket(40, socket.SOCK_STREAM).connect((2, {port}))", "socket"),
    _one_call("kernel crypto", "socket.socket(38, socket.SOCK_SEQPACKET)", "socket"),
    _one_call("bluetooth", "socket.socket(31, socket.SOCK_RAW, 1)", "socket"),
    _one_call("http", "urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=1).read()", "urllib.request"),
    _one_call("name lookup", "socket.getaddrinfo('example.com', 80)", "socket"),
    _one_call("a server of its own", "http.server.HTTPServer(('0.0.0.0', 0), None)", "http.server"),
    _one_call("socket by system call", "syscall(41, 198, 2, 1, 0)"),
    _one_call("unix socket in a file outside", "socket.socket(socket.AF_UNIX).connect('{socket}')", "socket"),
    _one_call("abstract unix socket outside", "socket.socket(socket.AF_UNIX).connect('\\0{abstract}')", "socket"),
    Attempt(
        "interfaces",
        "lines = open('/proc/net/dev').read().split('\\n')[2:]\n"
        "print('ESCAPED' if any(l.strip() and not l.strip().startswith('lo') for l in lines) else 'only lo')",
    ),
    Attempt("connections outside", "print('ESCAPED' if '%04X' % {port} in open('/proc/net/tcp').read() else 'none')"),
    _one_call("async connection", "asyncio.run(asyncio.open_connection('127.0.0.1', {port}))", "asyncio"),
]

FILES = [
    _one_call("read a file outside", "open('{secret}').read()"),
    _one_call("read through proc root", "open('/proc/self/root{secret}').read()"),
    _one_call("read through the first process", "open('/proc/1/root{secret}').read()"),
    _one_call("read above the root", "open('/../../..{secret}').read()"),
    Attempt("symlink to a file outside", "os.symlink('{secret}', 'link')\ntries(lambda: open('link').read())"),
    Attempt("symlink to a folder outside", "os.symlink('{home}', 'r')\ntries(lambda: os.listdir('r/'))"),
    Attempt("symlink loop", "os.symlink('b', 'a'); os.symlink('a', 'b')\ntries(lambda: open('a').read())"),
    _one_call("hard link", "os.link('{secret}', 'hard')"),
    _one_call("home of root", "os.listdir('{home}')"),
    _one_call("accounts", "open('/etc/passwd').read()"),
    _one_call("shadow", "open('/etc/shadow').read()"),
    _one_call("variable data", "os.listdir('/var')"),
    _one_call("write to the system", "open('/usr/bin/x', 'w')"),
    _one_call("write to the root", "open('/x', 'w')"),
    _one_call("write to etc", "open('/etc/x', 'w')"),
    _one_call("write to the standard library", "open(os.__file__, 'a')"),
    _one_call("cache a module", "open(os.path.dirname(os.__file__) + '/__pycache__/x.pyc', 'wb')"),
    _one_call("remove a program", "os.remove('/usr/bin/env')"),
    _one_call("rename a folder", "os.rename('/usr', '/usr2')"),
    _one_call("change permissions", "os.chmod('/usr/bin/env', 0o777)"),
    _one_call("change owner", "os.chown('/usr/bin/env', os.getuid(), os.getgid())"),
    _one_call("device node", "os.mknod('disk', 0o60666, os.makedev(254, 0))"),
    _one_call("disk", "open('/dev/vda', 'rb').read(1)"),
    _one_call("kernel memory", "open('/dev/mem', 'rb').read(1)"),
    _one_call("kernel log", "open('/dev/kmsg').read(1)"),
    _one_call("write to dev", "open('/dev/x', 'w')"),
    _one_call("mount", "syscall(165, 40, b'none', b'/tmp', b'tmpfs', 0, None)"),
    _one_call("remount the system", "syscall(165, 40, None, b'/usr', None, 32, None)"),
    _one_call("unmount", "syscall(166, 39, b'/proc', 2)"),
    _one_call("chroot", "os.chroot('/tmp')"),
    _one_call("pivot root", "syscall(155, 41, b'.', b'.')"),
    _one_call("open by handle", "syscall(304, 265, -100, ctypes.create_string_buffer(64), 0)", "ctypes"),
    _one_call("new mount interface", "syscall(430, 430, b'tmpfs', 0)"),
    _one_call("fill the home folder", "open('big', 'wb').write(bytes(1 << 26))"),
    Attempt(
        "fill tmp with files",
        "def fill():\n    for i in range(40):\n        open(f'/tmp/{{i}}', 'wb').write(bytes(1 << 20))\ntries(fill)",
    ),
    Attempt(
        "fill shared memory",
        "def fill():\n    for i in range(40):\n"
        "        open(f'/dev/shm/{{i}}', 'wb').write(bytes(1 << 20))\ntries(fill)",
    ),
    _one_call("a sparse terabyte", "os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 1 << 40)"),
    Attempt("endless small files", "i = 0\nwhile True:\n    open(f'/tmp/{{i}}', 'w').close()\n    i += 1"),
    Attempt("deep folders", "def dig():\n    while True:\n        os.mkdir('d'); os.chdir('d')\ntries(dig)"),
    Attempt("open everything", "def hoard():\n    return [open('/dev/null') for _ in range(100000)]\ntries(hoard)"),
    Attempt(
        "a program that becomes root",
        "import shutil\nshutil.copy('/usr/bin/env', 'env'); os.chmod('env', 0o4755)\n"
        "import subprocess\nuid = subprocess.run(['./env', 'id', '-u'], capture_output=True, text=True).stdout.strip()\n"
        "print('ESCAPED' if uid == '0' else uid)",
    ),
]

PROCESSES = [
    Attempt("fork bomb", "while True:\n    os.fork()"),
    Attempt("patient fork bomb", "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass"),
    Attempt("shell fork bomb", "os.system('f() { f | f & }; f; sleep 5')"),
    Attempt(
        "thread bomb",
        "import threading, time\ndef more():\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(9,)).start()\ntries(more)",
        seconds=2.0,
    ),
    Attempt(
        "process pool",
        "import subprocess\ndef many():\n    return [subprocess.Popen(['sleep', '9']) for _ in range(50)]\ntries(many)",
    ),
    Attempt(
        "a daemon that stays",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        import time\n        time.sleep(600)\nprint('left one behind')",
    ),
    Attempt(
        "a daemon that holds no output",
        "if os.fork() == 0:\n    os.setsid()\n    os.closerange(0, 64)\n"
        "    import time\n    time.sleep(600)\nprint('left one behind')",
    ),
    Attempt(
        "a daemon that ignores signals",
        "import signal, time\nif os.fork() == 0:\n    os.setsid()\n"
        "    for s in (1, 2, 3, 13, 15, 17): signal.signal(s, signal.SIG_IGN)\n    time.sleep(600)\nprint('left one')",
    ),
    Attempt(
        "kill the parent",
        "try:\n    os.kill(os.getppid(), 9)\nexcept OSError as e:\n    print('refused', e)\nprint('on')",
    ),
    Attempt("kill everybody", "try:\n    os.kill(-1, 9)\nexcept OSError as e:\n    print('refused', e)\nprint('on')"),
    Attempt("kill the group", "print('now', flush=True)\nos.killpg(0, 9)"),
    Attempt(
        "stop the first process", "try:\n    os.kill(1, 19)\nexcept OSError as e:\n    print('refused', e)\nprint('on')"
    ),
    _one_call("kill a process outside", "os.kill({victim}, 9)"),
    Attempt(
        "kill every number",
        "def hunt():\n    for pid in range(3, 70000):\n        try:\n            if pid != os.getpid(): os.kill(pid, 9)\n"
        "        except ProcessLookupError: continue\n        return pid\n    raise OSError('nobody there')\ntries(hunt)",
    ),
    _one_call("trace the first process", "syscall(101, 117, 16, 1, 0, 0)"),
    _one_call("read another's memory", "syscall(310, 270, 1, None, 0, None, 0, 0)"),
    _one_call("priority", "os.nice(-20)"),
    _one_call("real-time", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))"),
    _one_call("more processes", "resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))", "resource"),
    _one_call("more memory", "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "resource"),
    _one_call("more time", "resource.setrlimit(resource.RLIMIT_CPU, (9999, 9999))", "resource"),
    _one_call(
        "limits of the first process",
        "resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1)) and 1 / (os.getuid() != 65534)",
        "resource, os",
    ),
    _one_call("become root", "os.setuid(0)"),
    _one_call("become the root group", "os.setgid(0)"),
    _one_call("join groups", "os.setgroups([0])"),
    _one_call("a user namespace", "syscall(272, 97, 0x10000000)"),
    _one_call("a user namespace by clone", "syscall(56, 220, 0x10000000 | 17, None, None, None, None)"),
    _one_call("a user namespace by clone3", "syscall(435, 435, ctypes.create_string_buffer(64), 64)", "ctypes"),
    _one_call("another's namespace", "syscall(308, 268, os.open('/proc/1/ns/mnt', 0), 0)"),
    Attempt(
        "sudo and friends",
        "import subprocess\nfor p in ('su', 'mount', 'newgrp', 'passwd', 'chsh'):\n"
        "    r = subprocess.run([p, '-c', 'id -u'], capture_output=True, text=True, input='')\n"
        "    print('ESCAPED' if r.stdout.strip() == '0' else 'refused')",
    ),
]

MEMORY = [
    _one_call("one large object", "bytearray(1 << 40)"),
    Attempt(
        "a growing list", "def grow():\n    x = []\n    while True:\n        x.append(bytes(1 << 20))\ntries(grow)"
    ),
    _one_call("a large mapping", "mmap.mmap(-1, 1 << 34)", "mmap"),
    Attempt("endless recursion", "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f()\ntries(f)"),
    Attempt("nested data", "x = []\nfor _ in range(10 ** 6): x = [x]\ntries(lambda: repr(x))"),
    _one_call("system v shared memory", "syscall(29, 194, 0, 1 << 30, 0o1600)"),
    _one_call("memory files", "os.memfd_create('x')"),
    _one_call("secret memory", "syscall(447, 447, 0)"),
    _one_call("message queues", "syscall(68, 186, 0, 0o1600)"),
    _one_call(
        "locked memory", "[None for _ in range(1) if libc.mlockall(3)][0] and 1 or (_ for _ in ()).throw(OSError('no'))"
    ),
    Attempt(
        "children that eat",
        "def eat():\n    kids = [os.fork() for _ in range(2)]\n    x = []\n    while True:\n"
        "        x.append(bytes(1 << 20))\ntries(eat)",
    ),
    Attempt(
        "a bomb in a small file",
        "import zlib\nsmall = zlib.compress(bytes(1 << 28), 9)\n"
        "tries(lambda: [zlib.decompress(small) for _ in range(9)])",
    ),
]

OUTPUT = [
    Attempt("endless lines", "while True:\n    print('y' * 100)"),
    Attempt("endless without lines", "while True:\n    os.write(1, b'y' * 65536)"),
    Attempt("endless errors", "while True:\n    sys.stderr.write('y' * 100)"),
    Attempt("ten megabytes", "print('y' * 10_000_000)"),
    Attempt("a child that talks", "if os.fork() == 0:\n    while True: os.write(1, b'y' * 4096)\nos.wait()"),
    Attempt("noise", "os.write(1, bytes(range(256)) * 4)\nprint(chr(0xD800), '\\x1b[2J\\x00')"),
    Attempt("closed output", "os.closerange(0, 64)\nwhile True: pass"),
    Attempt("no error output", "sys.stderr = None\nsys.stdout = None\nraise SystemError('quiet')"),
]

TIME = [
    Attempt("a loop", "while True: pass"),
    Attempt("a sleep", "import time\ntime.sleep(600)", seconds=1.0),
    Attempt(
        "a loop that ignores signals",
        "import signal\nfor s in range(1, 64):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
    ),
    Attempt("a lock", "import threading\nlock = threading.Lock()\nlock.acquire(); lock.acquire()", seconds=1.0),
    Attempt("a pipe nobody writes to", "os.read(os.pipe()[0], 1)", seconds=1.0),
    Attempt("one long operation", "x = 9 ** 9 ** 9"),
    Attempt("a bad pattern", "import re\nre.match('(a*)*b', 'a' * 40)"),
    _one_call("a question to the user", "input()"),
]

PROC = [
    _one_call("environment of the first process", "open('/proc/1/environ').read() and 1 / (os.getuid() != 65534)"),
    Attempt(
        "take over the first process",
        "try:\n    os.close(os.open('/proc/1/mem', os.O_RDWR))\nexcept OSError as e:\n    print('refused', e)\nelse:\n"
        "    same = open('/proc/1/limits').read() == open('/proc/self/limits').read()\n"
        "    print('it is limited as we are' if same else 'ESCAPED')",
    ),
    _one_call("magic keys", "os.write(os.open('/proc/sysrq-trigger', os.O_WRONLY), b'c')"),
    _one_call("core dump program", "os.write(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY), b'|/bin/sh')"),
    _one_call("host name", "os.write(os.open('/proc/sys/kernel/hostname', os.O_WRONLY), b'x')"),
    _one_call("drop caches", "os.write(os.open('/proc/sys/vm/drop_caches', os.O_WRONLY), b'3')"),
    _one_call("core of the kernel", "open('/proc/kcore', 'rb').read(1)"),
    _one_call("first to be spared", "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')"),
    _one_call("user map", "os.write(os.open('/proc/self/uid_map', os.O_WRONLY), b'0 0 1')"),
    _one_call("control groups", "os.listdir('/sys/fs/cgroup')"),
    Attempt(
        "other processes",
        "pids = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "print('ESCAPED' if len(pids) > 3 or '{victim}' in pids else pids)",
    ),
]

KERNEL = [
    _one_call("load a kernel program", "syscall(321, 280, 5, None, 0)"),
    _one_call("load a kernel module", "syscall(175, 105, None, 0, b'')"),
    _one_call("keys", "syscall(248, 217, b'user', b'x', b'y', 1, -2)"),
    _one_call("key rings", "syscall(250, 219, 0, -3, 0)"),
    _one_call("asynchronous calls", "syscall(425, 425, 8, ctypes.create_string_buffer(120))", "ctypes"),
    _one_call("page faults", "syscall(323, 282, 1)"),
    _one_call("performance counters", "syscall(298, 241, ctypes.create_string_buffer(128), 0, -1, -1, 0)", "ctypes"),
    _one_call("reboot", "syscall(169, 142, 0xfee1dead, 672274793, 0x01234567, None)"),
    _one_call("the clock", "time.clock_settime(time.CLOCK_REALTIME, 0)", "time"),
    _one_call("the host name by call", "socket.sethostname('x')", "socket"),
    _one_call("typing on the terminal", "fcntl.ioctl(os.open('/dev/tty', 2), 0x5412, b'x')", "fcntl, os"),
    _one_call("calls of another kind", "syscall(41 | 0x40000000, 9999, 2, 1, 0)"),
]

INHERITED = [
    Attempt(
        "descriptors left open",
        "open_ones = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "print('ESCAPED' if [n for n in open_ones[:-1] if n > 2] else open_ones)",
    ),
    Attempt(
        "environment variables", "print('ESCAPED' if any('SECRET' in k for k in os.environ) else sorted(os.environ))"
    ),
    Attempt("who started us", "print('ESCAPED' if os.getppid() == {parent} else os.getppid())"),
    Attempt(
        "privileges",
        "bad = [l for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapPrm') and int(l.split()[1], 16)]\n"
        "print('ESCAPED' if bad or os.getuid() == 0 else 'none')",
    ),
]

ATTEMPTS = [*NETWORK, *FILES, *PROCESSES, *MEMORY, *OUTPUT, *TIME, *PROC, *KERNEL, *INHERITED]
