"""Evaluation: always over a panel, the student alone, at full depth, with intervals."""
