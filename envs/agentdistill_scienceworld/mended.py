r"""What is changed in the simulator's code: how things are hashed, how often names are worked out, what a call answers.

All changes are made in memory, in the class files of the installed simulator; nothing of it is distributed here.

**Hashes.** The simulator keeps the things of a room in hash sets, and describes the room in their order. `EnvObject`
compares by its number (`uuid`, counted from the beginning of a world) but hashes as Java does, by a random number that
differs from object to object and from run to run: the same variation is then described in another order in the next
simulator. Letting Java give all objects the same hash (`-XX:hashCode=2`) makes that order fixed and every set a list. A
`hashCode()` that returns the number makes it fixed and fast, and is what `equals` asks for anyway.

**Names.** To understand a command, the parser holds it against every form of command, and in each against all names of
all things in reach; each time it puts these names together and splits them into words anew, with regular expressions.
That was two thirds of all time. Nothing in the world changes while a command is being understood, so here the parser
remembers the names of each thing until the next command; and what a name is with its words one space apart and without
articles depends on nothing but the name, so the words of names are remembered for longer. The parser asks three new
methods where it asked others before:

    static Map names, words;                       // put there when the JVM starts; `names` goes by identity
    static String[] afresh(InputParser$ parser, String command) {                // parser.tokenize(command)
        names.clear();
        return parser.tokenize(command);
    }
    static String[] namesOf(InputParser$ parser, EnvObject thing, EnvObject from) {   // parser.getObjectReferents(...)
        String[] found = (String[]) names.get(thing);
        if (found == null) {
            found = parser.getObjectReferents(thing, from);
            names.put(thing, found);
        }
        return found;
    }
    static String[] wordsOf(InputParser$ parser, String name);        // parser.tokenize(name), likewise

**Calls.** Every call over the bridge costs two wake-ups, and a step was eight calls: the world's static parts (see
`statics`), the command, and what came of it. Two new methods of the simulator's interface do what these did:

    String outcome(String command) {
        String text = this.step(command);
        return this.getScore() + "\n" + this.getCompleted() + "\n" + this.getNumMoves() + "\n" + text;
    }
    static long enter(Field one, Object its, Object value, Field other, Object its2, Object value2, long count) {
        long before = UniqueIdentifier$.MODULE$.count();
        one.set(its, value);
        other.set(its2, value2);
        UniqueIdentifier$.MODULE$.count_$eq(count);
        return before;
    }
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from agentdistill_scienceworld.classfile import ClassFile, packed

THINGS = "scienceworld.struct.EnvObject"
"""The class of everything in a world."""

PARSER = "scienceworld.input.InputParser"
"""The class that understands commands. Its Scala object, another class, has a dollar sign behind the name."""

INTERFACE = "scienceworld.runtime.pythonapi.PythonInterface"
"""The class of simulators, as they are spoken to from here."""

NAMES, WORDS = "names", "words"
"""The new static fields of the parser: maps, by identity and by equality, that are null until somebody sets them."""

_THING, _PARSER, _OBJECT = (name.replace(".", "/") for name in (THINGS, PARSER, PARSER + "$"))
_MAP, _TEXTS = "Ljava/util/Map;", "[Ljava/lang/String;"

_FACE, _COUNTER, _BUILDER = INTERFACE.replace(".", "/"), "util/UniqueIdentifier$", "java/lang/StringBuilder"

_SPLIT = (_OBJECT, "tokenize", f"(Ljava/lang/String;){_TEXTS}")
_REFER = (_OBJECT, "getObjectReferents", f"(L{_THING};L{_THING};){_TEXTS}")
"""The methods that are asked less often."""


def hash_by_number(data: bytes) -> bytes:
    """A class file with `public int hashCode() { return (int) this.uuid; }` added.

    Args:
        data: class file of a class with a field `long uuid` and no `hashCode()` of its own.

    Raises:
        ValueError: it is not that.
    """
    found = ClassFile(data)
    if ("uuid", "J") not in found.fields or ("hashCode", "()I") in found.methods:
        raise ValueError("its objects have no number, or know how to hash themselves")
    code = b"\x2a\xb4" + packed(found.field(_THING, "uuid", "J")) + b"\x88\xac"
    found.add_method("hashCode", "()I", code, stack=2, places=1)  # aload_0, getfield uuid, l2i, ireturn
    return found.written()


def remember_names(data: bytes) -> bytes:
    """The class file of the parser with the new fields and methods, and names remembered within a command.

    Raises:
        ValueError: it is not the parser that this package knows.
    """
    found = ClassFile(data)
    if (NAMES, _MAP) in found.fields:
        raise ValueError("its parser remembers already")
    for field in (NAMES, WORDS):
        found.add_static_field(field, _MAP)
    split = found.method(*_SPLIT)
    clear = found.interface_method("java/util/Map", "clear", "()V")
    code = b"\xb2" + packed(found.field(_PARSER, NAMES, _MAP)) + b"\xb9" + packed(clear) + b"\x01\x00"  # names.clear()
    code += b"\x2a\x2b\xb6" + packed(split) + b"\xb0"  # aload_0, aload_1, invokevirtual, areturn
    kind = _with_object(_SPLIT)
    found.add_method("afresh", kind, code, stack=2, places=2, static=True)
    found.redirect("parse", split, found.method(_PARSER, "afresh", kind))
    _remember(found, "namesOf", NAMES, _REFER, arguments=2)
    _remember(found, "wordsOf", WORDS, _SPLIT, arguments=1)
    found.redirect("$anonfun$matchObj$1", found.method(*_REFER), found.method(_PARSER, "namesOf", _with_object(_REFER)))
    return found.written()


def remember_words(data: bytes) -> bytes:
    """The class file of the parser's object with the words of names remembered.

    Raises:
        ValueError: it is not the one that this package knows.
    """
    found = ClassFile(data)
    new = found.method(_PARSER, "wordsOf", _with_object(_SPLIT))
    found.redirect("$anonfun$getObjectReferents$2", found.method(*_SPLIT), new)
    return found.written()


def answer_at_once(data: bytes) -> bytes:
    """The class file of the simulator's interface with the two methods that save calls.

    Raises:
        ValueError: it is not the one that this package knows.
    """
    found = ClassFile(data)
    kinds = {"step": "(Ljava/lang/String;)Ljava/lang/String;", "getScore": "()D", "getCompleted": "()Z"}
    kinds["getNumMoves"] = "()Ljava/lang/Integer;"
    if not {*kinds.items()} <= {*found.methods} or ("outcome", kinds["step"]) in found.methods:
        raise ValueError("it does not answer as it did")

    def own(name: str) -> bytes:
        return b"\x2a\xb6" + packed(found.method(_FACE, name, kinds[name]))  # aload_0, invokevirtual

    def append(kind: str) -> bytes:
        return b"\xb6" + packed(found.method(_BUILDER, "append", f"({kind})L{_BUILDER};"))

    line = b"\x10\x0a" + append("C")  # bipush 10
    code = b"\x2a\x2b" + own("step")[1:] + b"\x4d"  # aload_0, aload_1, ..., astore_2
    code += b"\xbb" + packed(found.class_(_BUILDER)) + b"\x59\xb7" + packed(found.method(_BUILDER, "<init>", "()V"))
    code += own("getScore") + append("D") + line + own("getCompleted") + append("Z") + line
    code += own("getNumMoves") + append("Ljava/lang/Object;") + line + b"\x2c" + append("Ljava/lang/String;")  # aload_2
    code += b"\xb6" + packed(found.method(_BUILDER, "toString", "()Ljava/lang/String;")) + b"\xb0"
    found.add_method("outcome", kinds["step"], code, stack=3, places=3)

    field, both = "Ljava/lang/reflect/Field;", "Ljava/lang/Object;Ljava/lang/Object;"
    put = b"\xb6" + packed(found.method("java/lang/reflect/Field", "set", f"({both})V"))
    counter = b"\xb2" + packed(found.field(_COUNTER, "MODULE$", f"L{_COUNTER};"))
    code = counter + b"\xb6" + packed(found.method(_COUNTER, "count", "()J")) + b"\x37\x08"  # lstore 8
    code += b"\x2a\x2b\x2c" + put + b"\x2d\x19\x04\x19\x05" + put  # aload 0 to 2, aload 3 to 5
    code += counter + b"\x16\x06\xb6" + packed(found.method(_COUNTER, "count_$eq", "(J)V"))  # lload 6
    kind = f"({field}{both}{field}{both}J)J"
    found.add_method("enter", kind, code + b"\x16\x08\xad", stack=3, places=10, static=True)  # lload 8, lreturn
    return found.written()


def _remember(found: ClassFile, name: str, table: str, method: tuple[str, str, str], arguments: int) -> None:
    """Adds a static method that calls another one only when a table has nothing for the first argument."""
    field, array = packed(found.field(_PARSER, table, _MAP)), packed(found.class_(_TEXTS))
    get = found.interface_method("java/util/Map", "get", "(Ljava/lang/Object;)Ljava/lang/Object;")
    put = found.interface_method("java/util/Map", "put", "(Ljava/lang/Object;Ljava/lang/Object;)Ljava/lang/Object;")
    place = bytes((arguments + 1,))  # the first local variable behind the parser and the arguments
    store, load = b"\x3a" + place, b"\x19" + place  # astore, aload
    code = b"\xb2" + field + b"\x2b\xb9" + packed(get) + b"\x02\x00\xc0" + array + store  # found = table.get(argument)
    work = bytes(range(0x2A, 0x2B + arguments)) + b"\xb6" + packed(found.method(*method)) + store  # found = method(...)
    work += b"\xb2" + field + b"\x2b" + load + b"\xb9" + packed(put) + b"\x03\x00\x57"  # table.put(argument, found)
    code += load + b"\xc7" + packed(3 + len(work)) + work  # if (found == null) ...; ifnonnull
    end = b"\xfc" + packed(len(code)) + b"\x07" + array  # there, one more place is filled: with an array of texts
    kind = _with_object(method)
    found.add_method(name, kind, code + load + b"\xb0", stack=3, places=arguments + 2, static=True, frames=end)


def _with_object(method: tuple[str, str, str]) -> str:
    """The type of a static method that gets the object of another method first."""
    return f"(L{method[0]};{method[2][1:]}"


CHANGES: MappingProxyType[str, Callable[[bytes], bytes]] = MappingProxyType(
    {THINGS: hash_by_number, PARSER: remember_names, PARSER + "$": remember_words, INTERFACE: answer_at_once}
)
"""What is done to which class."""
