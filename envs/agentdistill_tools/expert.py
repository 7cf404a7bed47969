"""A scripted expert for the arithmetic families: reads the question, computes with a tool, answers with its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_EXPRESSION = re.compile(r"[-(\d][\d\s+\-*/().]*")
_BASES = {"binary": 2, "octal": 8, "decimal": 10, "hexadecimal": 16}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute.

    Attributes:
        tool: "calculator" or "python".
        arguments: the call's arguments. The answer is what the tool returns.
    """

    tool: str
    arguments: dict[str, str]


def plan(family: str, question: str, tools: Sequence[str]) -> Plan | None:
    """How to answer a question.

    Args:
        family: its family.
        question: its text; the plan is made from nothing else.
        tools: names of the tools at hand.

    Returns:
        A plan; None when the expert does not know the family or lacks the tool.
    """
    if family in _SUMS:
        expression = _arithmetic(question)
        if "calculator" in tools:
            return Plan("calculator", {"expression": expression})
        code: str | None = _sum(expression)
    else:
        code = _PROGRAMS[family](question) if family in _PROGRAMS else None
    return Plan("python", {"code": code}) if code is not None and "python" in tools else None


def _arithmetic(question: str) -> str:
    """The longest run of digits and operators."""
    return max(_EXPRESSION.findall(question), key=len).strip().rstrip(".").strip()


def _sum(expression: str) -> str:
    if "." in expression:  # decimals, to be added exactly
        exact = re.sub(r"\d+(?:\.\d+)?", lambda number: f'D("{number[0]}")', expression)
        return f"from decimal import Decimal as D\nprint({exact})"
    return f"print({expression.replace('/', '//')})"


def _numbers(question: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", question)]


def _base(name: str) -> int:
    return _BASES[name] if name in _BASES else int(name.removeprefix("base-"))


def _base_conversion(question: str) -> str:
    word = r"(base-\d+|binary|octal|decimal|hexadecimal)"
    found = re.search(rf"convert the {word} number (\w+) to {word}", question)
    assert found is not None
    return f"""n = int("{found[2]}", {_base(found[1])})
digits = ""
while n:
    n, d = divmod(n, {_base(found[3])})
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"[d] + digits
print(digits or "0")"""


def _bitwise(question: str) -> str:
    return f"print(hex({question.strip().splitlines()[-1]}))"


def _count_primes(question: str) -> str:
    low, high = _numbers(question)[:2]
    return f"""def prime(n):
    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))

print(sum(prime(n) for n in range({low}, {high} + 1)))"""


def _decimals(question: str) -> str:
    precision = _numbers(question)[0]
    expression = question.strip().splitlines()[-1].partition("=")[0].strip()
    exact = re.sub(r"\d+(?:\.\d+)?", lambda number: f'D("{number[0]}")', expression)
    return f"from decimal import Decimal as D, getcontext\ngetcontext().prec = {precision}\nprint({exact})"


def _dice(question: str) -> str:
    sides = [int(side) for side in re.findall(r"\d+d(\d+)", question.partition("What")[0])]
    found = re.search(r"rolling (\d+) or higher", question)
    assert found is not None
    return f"""from fractions import Fraction
ways = {{0: 1}}
for sides in {sides}:
    rolled = {{}}
    for total, count in ways.items():
        for face in range(1, sides + 1):
            rolled[total + face] = rolled.get(total + face, 0) + count
    ways = rolled
print(Fraction(sum(c for t, c in ways.items() if t >= {found[1]}), sum(ways.values())))"""


def _fraction(question: str) -> str:
    above, below = _numbers(question)[:2]
    found = re.search(r"the fraction (\S+)", question)
    shape = re.sub(r"\d+", "{}", found[1].replace("{", "{{").replace("}", "}}")) if found else "{}/{}"
    return f"from math import gcd\ng = gcd({above}, {below})\nprint({shape!r}.format({above} // g, {below} // g))"


def _power(question: str) -> str:
    found = re.search(r"Compute (-?[\d.]+)\^(-?\d+)", question)
    assert found is not None
    return f'print(f"{{({found[1]}) ** ({found[2]}):.2e}}")'


def _factors(question: str) -> str:
    return f"""n, d, found = {_numbers(question)[0]}, 2, []
while n > 1:
    while n % d == 0:
        found.append(str(d))
        n //= d
    d += 1
print(" × ".join(found))"""


def _equation(question: str) -> str:
    found = re.search(r"([-\w\s*+]*\b[a-z]\b[-\w\s*+]*)=\s*(-?\d+)", question.rpartition(":")[2])
    assert found is not None
    left = found[1].strip()
    name = re.findall(r"\b[a-z]\b", left)[0]
    return f"""def f({name}):
    return {left} - ({found[2]})

print(f(0) // (f(0) - f(1)))"""


_SUMS = frozenset({"basic_arithmetic", "chain_sum", "decimal_chain_sum", "products"})

_PROGRAMS: dict[str, Callable[[str], str]] = {
    "base_conversion": _base_conversion,
    "bitwise_arithmetic": _bitwise,
    "count_bits": lambda question: f'print(bin({_numbers(question)[-1]}).count("1"))',
    "count_primes": _count_primes,
    "decimal_arithmetic": _decimals,
    "dice": _dice,
    "fraction_simplification": _fraction,
    "gcd": lambda question: f"from math import gcd\nprint(gcd({', '.join(map(str, _numbers(question)))}))",
    "lcm": lambda question: f"from math import lcm\nprint(lcm({', '.join(map(str, _numbers(question)))}))",
    "power_function": _power,
    "prime_factorization": _factors,
    "simple_equations": _equation,
}
