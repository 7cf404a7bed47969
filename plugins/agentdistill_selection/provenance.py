"""Selection by provenance (arXiv 2512.20908): episodes with sentences that only the teacher would have written.

For every sentence and every model, g = exp(mean log-probability of its tokens), the geometric mean. With the teacher's
g_T, the student's g_S and, where it is given, that of the student after distillation g_D, a sentence is, in this order,

    shared    |g_X - g_Y| <= alpha for every two of the models       everybody would write it
    teacher   g_T - g_S > beta                                        only the teacher would
    student   g_S - g_T > beta                                        the student would do so by itself
    boosted   g_D - max(g_T, g_S) > beta                              distillation made it likely, neither source did
    other     anything else                                           differences between alpha and beta

and the score of an episode is the number of its teacher sentences. The paper trains on the responses with the most of
them: what the student could have said itself teaches it nothing. A sentence that no token begins in is left out.

Defaults: beta 0.1 is the paper's; alpha 0.1 is ours, and with two models leaves no sentence for `other`. The paper's
last class takes what is left over; here `boosted` has a condition, so that the classes mean what they are called.
`share = true` scores by the share of sentences, which does not prefer long episodes; the paper counts.
Proofs: tests/selection/test_methods.py (exactly one class each, no matter in which order the sentences stand; equal
models share everything; exchanging teacher and student exchanges their classes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.training.selection import Candidate, ScoredResponse, Worth
from agentdistill_selection.sentences import sentences

CLASSES = ("shared", "teacher", "student", "boosted", "other")


class ProvenanceConfig(PluginConfig):
    """When a sentence is whose.

    Attributes:
        alpha: largest difference of probabilities between models that share a sentence.
        beta: difference above which a sentence belongs to one of them.
        share: score by the share of teacher sentences instead of their number.
    """

    alpha: float = Field(default=0.1, ge=0.0, le=1.0)
    beta: float = Field(default=0.1, ge=0.0, le=1.0)
    share: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> ProvenanceConfig:
        if self.alpha > self.beta:
            raise ValueError(
                f"alpha = {self.alpha:g} is above beta = {self.beta:g}: a sentence of the teacher alone would be shared"
            )
        return self


def provenance(candidates: Sequence[Candidate], config: ProvenanceConfig) -> list[Worth]:
    """Worth of each episode; notes hold the number of its sentences by class."""
    found = []
    for candidate in candidates:
        classes = [label for response in candidate.responses for label in classify(response, config)]
        notes = {name: float(classes.count(name)) for name in CLASSES}
        score = notes["teacher"] / len(classes) if config.share and classes else notes["teacher"]
        found.append(Worth(score, notes))
    return found


provenance.needs = frozenset({"student", "teacher"})  # type: ignore[attr-defined]
provenance.uses = frozenset({"distilled"})  # type: ignore[attr-defined]


def classify(response: ScoredResponse, config: ProvenanceConfig) -> list[str]:
    """The class of each sentence of a response, in order; sentences no token begins in are left out."""
    found = []
    for start, end in sentences(response.text):
        means = {part: view.mean(start, end) for part, view in response.views.items()}
        if not any(math.isnan(mean) for mean in means.values()):
            found.append(class_of({part: math.exp(mean) for part, mean in means.items()}, config))
    return found


def class_of(probability: dict[str, float], config: ProvenanceConfig) -> str:
    """The class of a sentence from its geometric mean probability under each model."""
    teacher, student = probability["teacher"], probability["student"]
    if max(probability.values()) - min(probability.values()) <= config.alpha:
        return "shared"
    if teacher - student > config.beta:
        return "teacher"
    if student - teacher > config.beta:
        return "student"
    if probability.get("distilled", -math.inf) - max(teacher, student) > config.beta:
        return "boosted"
    return "other"
