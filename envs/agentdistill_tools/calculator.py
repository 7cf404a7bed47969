"""The built-in tool `calculator`: exact arithmetic on one expression, bounded in time and size."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from agentdistill_tools.tool import ToolError

_LONGEST = 2000
_BITS = 14_000
"""Numbers may have as many bits: no expression of `_LONGEST` characters then takes longer than milliseconds."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_WHOLE: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "min": min, "max": max, "round": round, "gcd": math.gcd, "lcm": math.lcm, "sqrt": math.sqrt,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "log": math.log, "exp": math.exp, "floor": math.floor,
    "ceil": math.ceil, "factorial": lambda n: math.factorial(n) if n <= 1000 else _refuse("the number is too large"),
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e}


def calculator(expression: str) -> str:
    """Computes an arithmetic expression exactly, e.g. "(3 + 4.5) * 2**10 / 7".

    Args:
        expression: numbers, + - * / // % **, parentheses, and the functions abs, min, max, round, gcd, lcm, sqrt, sin,
            cos, tan, log, exp, floor, ceil and factorial.
    """
    if len(expression) > _LONGEST:
        raise ToolError(f"the expression is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
        return _show(_value(tree.body))
    except SyntaxError as error:
        raise ToolError(f"this is no expression: {error.msg}") from error
    except (ArithmeticError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ToolError(f"{error or type(error).__name__}") from error


def _refuse(why: str) -> Any:
    raise ToolError(why)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        text = ast.unparse(node)
        return _bounded(Fraction(text) if type(node.value) is float and math.isfinite(node.value) else node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        return _bounded(_binary(node.op, _value(node.left), _value(node.right)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise ToolError(f"there is no function `{node.func.id}`; there are {', '.join(_FUNCTIONS)}")
        return _bounded(_FUNCTIONS[node.func.id](*[_as_int(_value(argument)) for argument in node.args]))
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    raise ToolError(f"`{ast.unparse(node)[:80]}` is not arithmetic")


def _binary(kind: ast.operator, left: Any, right: Any) -> Any:
    if type(kind) in _BINARY:
        return _BINARY[type(kind)](left, right)
    if isinstance(kind, ast.Div):
        return Fraction(left) / right if isinstance(left, int) else left / right
    if isinstance(kind, ast.Pow):
        size = max(1, (abs(left.numerator) | left.denominator).bit_length()) if not isinstance(left, float) else 1
        if not isinstance(left, float) and size * abs(right) > _BITS:
            raise ToolError("the power is too large")
        return Fraction(left) ** right if isinstance(left, int) and right < 0 else left**right
    left, right = _as_int(left), _as_int(right)
    if not (isinstance(left, int) and isinstance(right, int)):
        raise ToolError("this operation needs whole numbers")
    if type(kind) in _WHOLE:
        return _WHOLE[type(kind)](left, right)
    if isinstance(kind, ast.LShift | ast.RShift) and 0 <= right <= _BITS:
        return left << right if isinstance(kind, ast.LShift) else left >> right
    raise ToolError("this operation is not arithmetic")


def _as_int(value: Any) -> Any:
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


def _bounded(value: Any) -> Any:
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ToolError("the result is not a finite real number")
    if isinstance(value, int | Fraction) and max(abs(value.numerator), value.denominator).bit_length() > _BITS:
        raise ToolError("a number is too large")
    return value


def _show(value: Any) -> str:
    """Whole numbers and finite decimals as they are, other fractions as a quotient and as a decimal."""
    if not isinstance(value, Fraction):
        return str(value)
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest == 1 and places <= 50:
        digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return f"{value.numerator}/{value.denominator} (about {float(value)!r})"
