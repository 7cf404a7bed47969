"""Experts for ALFWorld: text-only and full-information."""
