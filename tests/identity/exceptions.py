"""Methods that do not learn to say the words, and why. Their pages in docs/methods quote this."""

from __future__ import annotations

_REWARDS = (
    "it learns from rewards alone, and fifty steps of them are too few here (0.41 to {} with 128 episodes a step)"
)

UNABLE: dict[str, str] = {
    "loss/future-kl": "sums over later tokens are noisy: 0.41 to 0.38 with its gamma of 0.9, to 0.89 with 0.5",
    "loss/qcrd": "it learns from the contrast of the student's own episodes, without the teacher's scores",
    "loss/redi": "it learns from the student's own wins and losses (0.41 to 0.48), without the teacher's scores",
    "loss/tsd-kd": "its weights and rankings are made for long responses: 0.41 to 0.50 with responses of three tokens",
    "fusion/rlsd": _REWARDS.format("0.88"),
    "fusion/agentopsd": _REWARDS.format("0.67"),
    "fusion/trial": _REWARDS.format("0.42"),
}
"""By "kind/name"; success is that of seed 0."""
