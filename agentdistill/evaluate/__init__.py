"""Evaluation: always over a panel, the student alone, at full depth, with intervals.

The package can be called: `agentdistill.evaluate(student, panel="...")` is `agentdistill.training.evaluation.evaluate`.
A function of that name in `agentdistill` would be hidden as soon as somebody imports this package.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentdistill.evaluate.result import EvalResult


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> EvalResult:
        """See `agentdistill.training.evaluation.evaluate`."""
        from agentdistill.training.evaluation import evaluate

        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
