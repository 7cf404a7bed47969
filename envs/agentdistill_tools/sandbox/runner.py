"""The program inside the sandbox: puts on the limits, gives up the last privileges, runs the code.

It is passed to the interpreter as text (`python -c`), sees only the standard library, gets its limits as arguments
(`agentdistill_tools.sandbox.run.arguments` writes them) and the code on its standard input. The value of a last
expression is printed. Modules that take long to import are imported when they are needed.
"""

import builtins
import io
import os
import resource
import sys

FILE = "<python>"
ONLY_AST = 0x400  # ast.PyCF_ONLY_AST; importing `ast` costs more than everything else here


def confine(spec):
    """Changes to a user of our own when the sandbox was built by root, then sets every limit, hard and soft.

    Otherwise the sandbox's first process (bubblewrap's) has the same user as the code, which can then write to its
    memory and make it do anything, so that one gets the same limits.
    """
    uid = spec["uid"]
    first = 0 if uid or not spec["processes"] else 1
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    limits = {
        "CORE": 0,
        "AS": spec["memory"],
        "FSIZE": spec["file"],
        "NOFILE": spec["open_files"],
        "NPROC": spec["processes"],
        "MSGQUEUE": 0,
        "MEMLOCK": 0,
        "SIGPENDING": 256,
    }
    for name, value in limits.items():
        if value or name in ("CORE", "MSGQUEUE", "MEMLOCK"):
            limit(getattr(resource, "RLIMIT_" + name), value, value, first)
    limit(resource.RLIMIT_CPU, spec["cpu"], spec["cpu"] + 1, first)


def limit(kind, soft, hard, other):
    """Sets a limit of this process, and of another one if there is one."""
    if other:
        resource.prlimit(other, kind, (soft, hard))
    resource.setrlimit(kind, (soft, hard))


def show_error(error, source):
    """Prints a traceback of the code's own frames."""
    import linecache
    import traceback

    linecache.cache[FILE] = (len(source), None, source.splitlines(True), FILE)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != FILE:
        trace = trace.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error.with_traceback(trace), trace)


def run(source):
    """Runs the code as `__main__`; the exit status is 1 after an exception."""
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    try:
        tree = compile(source, FILE, "exec", ONLY_AST)
        last = None
        if tree.body and type(tree.body[-1]).__name__ == "Expr":
            import _ast

            last = compile(_ast.Expression(body=tree.body.pop().value), FILE, "eval")
        exec(compile(tree, FILE, "exec"), module.__dict__)
        value = None if last is None else eval(last, module.__dict__)
        if value is not None:
            print(value)
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException as error:
        show_error(error, source)
        return 1
    return 0


def main():
    """Reads, confines, says that it is ready, and runs."""
    numbers, packages = sys.argv[1:8], sys.argv[8:]
    names = ("ready", "uid", "cpu", "memory", "file", "open_files", "processes")
    spec = dict(zip(names, map(int, numbers), strict=True))
    sys.argv[:] = [FILE]
    with os.fdopen(0, "rb", closefd=False) as source:
        code = source.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    confine(spec)
    sys.path[:] = [place for place in sys.path if place] + packages
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    os.write(spec["ready"], b"R")
    os.close(spec["ready"])
    status = run(code.decode("utf-8", "replace"))
    try:
        sys.stdout.flush()
    except OSError:
        status = 1
    sys.exit(status)


main()
