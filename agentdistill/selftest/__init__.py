"""Checks with a run's own parts, in seconds and on a CPU, before anything is paid for."""

from __future__ import annotations

from agentdistill.selftest.run import CHECKS, Outcome, SelfTest, self_test

__all__ = ["CHECKS", "Outcome", "SelfTest", "self_test"]
