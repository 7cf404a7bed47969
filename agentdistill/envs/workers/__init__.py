"""Environments in supervised processes: deadlines, signs of life, kill, respawn, and the same episode tried again.

`source.SupervisedSource` wraps any environment source. See docs/workers.md.
"""
