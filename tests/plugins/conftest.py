"""Fixtures of this folder."""

from __future__ import annotations

from tests.fake_distributions import install, registering

__all__ = ["install", "registering"]
