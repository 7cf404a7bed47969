"""Compares ULD and GOLD's hybrid over two vocabularies with TRL's: values and gradients, on the same texts and states.

Usage: python scripts/check_uld_against_trl.py            (needs `trl`, which this package does not depend on)

Texts are cut into tokens in two ways at random. TRL gets byte offsets, full logits and its own alignment; ours gets
bytes, `agentdistill.alignment` and hidden states through the learner's kernel. TRL reads the distribution of a token at
the token's own position (one late, for a causal model), so it is given logits that stand there. Both run in float64,
where they must agree to 1e-6 under TRL's floor for logarithms, and in float32.
"""

from __future__ import annotations

import itertools
import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from against_trl import Result, agrees, find, heading, result
from torch import Tensor

from agentdistill.alignment.sharing import places_in_spans, span_sums
from agentdistill.alignment.spans import Spans, align
from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import Objective, TeacherHead
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.vocabularies import SpanDistance, VocabularyDistance
from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.gold import Hybrid, measure_jsd
from agentdistill_losses.uld import UldConfig, UldLoss

TEXTS, BYTES, STUDENT, TEACHER, SHARED = 6, 60, 1024, 1536, 700
FLOOR = math.log(1e-8)
"""TRL takes no logarithm of less than 1e-8; products over spans are often less."""
WIDTHS = (48, 64)
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


def floored(hybrid: Hybrid, weight: float) -> VocabularyDistance:
    """The hybrid with TRL's floor under the logarithms of matched tokens, which count `weight`."""

    def value(student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
        theirs = ids >= 0
        mine, other = student[:, ids[theirs]], teacher[:, theirs]
        lifted = measure_jsd(mine.clamp(min=FLOOR), other.clamp(min=FLOOR), hybrid.beta)
        return hybrid(student, teacher, ids) + weight * (lifted - measure_jsd(mine, other, hybrid.beta))

    return value


class Side:
    """One model's view of the texts: how they are cut, which tokens, which states and which output layer."""

    def __init__(self, rng: np.random.Generator, texts: list[bytes], vocabulary: int, width: int, dtype: torch.dtype):
        self.pieces = []
        for text in texts:
            places = np.flatnonzero(rng.random(len(text) - 1) < 0.4) + 1
            edges = [0, *places.tolist(), len(text)]
            self.pieces.append([text[a:b] for a, b in itertools.pairwise(edges)])
        self.ids = [torch.from_numpy(rng.integers(0, vocabulary, len(p))) for p in self.pieces]
        self.hidden = [torch.from_numpy(rng.standard_normal((len(p), width))).to(dtype) for p in self.pieces]
        self.weight = torch.from_numpy(0.15 * rng.standard_normal((vocabulary, width))).to(dtype)

    def padded(self, parts: list[Tensor], fill: float) -> Tensor:
        """[texts, most tokens, ...]."""
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)

    def offsets(self) -> list[Tensor]:
        """Begin and end of each token in bytes, [tokens, 2] for each text."""
        ends = [torch.tensor(np.cumsum([len(p) for p in pieces])) for pieces in self.pieces]
        return [torch.stack([torch.cat([end.new_zeros(1), end[:-1]]), end], dim=1) for end in ends]

    def logprobs(self, text: int) -> Tensor:
        """Of the tokens that are there, [tokens]."""
        whole = (self.hidden[text] @ self.weight.T).log_softmax(-1)
        return whole.gather(1, self.ids[text][:, None]).squeeze(1).detach()


class Problem:
    """Texts as both sides see them."""

    def __init__(self, dtype: torch.dtype) -> None:
        rng = np.random.default_rng(0)
        texts = [rng.integers(0, 256, BYTES, dtype=np.uint8).tobytes() for _ in range(TEXTS)]
        self.student = Side(rng, texts, STUDENT, WIDTHS[0], dtype)
        self.teacher = Side(rng, texts, TEACHER, WIDTHS[1], dtype)
        # The vocabularies share some spellings, at other ids.
        self.student_ids = torch.full((TEACHER,), -1)
        theirs = torch.from_numpy(rng.permutation(TEACHER)[:SHARED])
        self.student_ids[theirs] = torch.from_numpy(rng.permutation(STUDENT)[:SHARED])

    def vocabularies(self) -> tuple[Any, Any]:
        """Tokenizers, as much of them as TRL looks at."""
        mine = {f"s{i}": i for i in range(STUDENT)}
        found = self.student_ids.tolist()
        theirs = {f"s{found[i]}" if found[i] >= 0 else f"t{i}": i for i in range(TEACHER)}
        return SimpleNamespace(get_vocab=lambda: mine), SimpleNamespace(get_vocab=lambda: theirs)

    def spans(self) -> list[Spans]:
        """Our alignment of each text."""
        return [align(a, b) for a, b in zip(self.student.pieces, self.teacher.pieces, strict=True)]

    def ours(self, objective: Objective) -> Result:
        """The mean over texts of the mean over their spans, through the kernel."""
        places, rests, states, coefficients = [], [], [], []
        for text, spans in enumerate(self.spans()):
            known = self.teacher.logprobs(text).double().numpy()
            begins = spans.second[:-1]
            rest = np.zeros(int(spans.first[-1]))
            rest[spans.first[:-1]] = span_sums(known, spans.second) - known[begins]
            where = np.repeat(begins, np.diff(spans.first))  # of later tokens the state is not looked at
            places.append(torch.from_numpy(places_in_spans(spans)).long())
            rests.append(torch.from_numpy(rest))
            states.append(self.teacher.hidden[text][torch.from_numpy(where)])
            coefficients.append(torch.full((len(rest),), 1.0 / (TEXTS * len(spans)), dtype=torch.float64))
        token, span = torch.cat(self.student.ids), torch.cat(places)
        old = torch.cat([self.student.logprobs(text) for text in range(TEXTS)])
        zero = torch.zeros_like(token)
        tokens = TokenStatistics(zero, zero, zero, zero, token, old, old, old, span=span, teacher_rest=torch.cat(rests))
        hidden = torch.cat(self.student.hidden).requires_grad_()
        weight = self.student.weight.clone().requires_grad_()
        head = TeacherHead(torch.cat(states), self.teacher.weight, self.student_ids)
        loss = objective.chunk_loss(tokens, head)
        return result(fused_head(hidden, weight, None, loss, torch.cat(coefficients))[0], hidden, weight)

    def trl(self, reference: Any, *, hybrid: bool, beta: float = 0.5, matched: float | None = None) -> Result:
        """The same through TRL."""
        config = SimpleNamespace(
            uld_crossentropy_weight=0.0,
            uld_distillation_weight=1.0,
            uld_student_temperature=1.0,
            uld_teacher_temperature=1.0,
            uld_skip_student_eos=False,
            uld_skip_teacher_eos=False,
            use_extended_uld=True,
            uld_token_merge_strategy="observed",
            uld_use_hybrid_loss=hybrid,
            uld_hybrid_matched_weight=matched,
            uld_hybrid_unmatched_weight=None if matched is None else 1.0 - matched,
            beta=beta,
        )
        uld = reference(config, *self.vocabularies())
        hidden = [part.clone().requires_grad_() for part in self.student.hidden]
        weight = self.student.weight.clone().requires_grad_()
        sides = (self.student, self.teacher)
        loss = uld(
            self.student.padded(hidden, 0.0) @ weight.T,
            self.teacher.padded(self.teacher.hidden, 0.0) @ self.teacher.weight.T,
            *(side.padded(side.ids, -100) for side in sides),
            *(side.padded(side.ids, 0) for side in sides),
            *(side.padded(side.offsets(), 0) for side in sides),
        )
        return result(loss, hidden, weight)

    def same_alignment(self, reference: Any) -> bool:
        """Whether TRL groups tokens as we do."""
        for text, spans in enumerate(self.spans()):
            offsets = [side.offsets()[text].tolist() for side in (self.student, self.teacher)]
            groups = reference._align_by_byte_offsets(*offsets)
            for edges, found in ((spans.first, groups[0]), (spans.second, groups[1])):
                if [[*range(a, b)] for a, b in itertools.pairwise(edges)] != found:
                    return False
        return True


def main() -> int:
    """Prints the differences; the exit status is 1 when one exceeds its tolerance, 2 without TRL."""
    trl = find(uld="gold.gold_trainer:ULDLoss")
    both = double, _ = Problem(torch.float64), Problem(torch.float32)
    aligned = double.same_alignment(trl.uld)
    tokens = sum(len(ids) for ids in double.student.ids)
    count = sum(len(spans) for spans in double.spans())
    print(
        f"trl {trl.__version__}, torch {torch.__version__}, {tokens} tokens in {count} spans, {STUDENT} and {TEACHER}"
    )
    print(f"ids of which {SHARED} are shared; alignment {'the same' if aligned else 'DIFFERENT'}")
    heading()
    cases: dict[str, tuple[Objective, dict[str, Any]]] = {"ULD": (UldLoss(UldConfig()).objective, {"hybrid": False})}
    for beta, matched in ((0.5, None), (0.1, None), (0.5, 0.7)):
        weight = SHARED / TEACHER if matched is None else matched
        compared = SpanDistance(floored(Hybrid(beta, matched), weight), generalised_jsd(beta))
        name = f"GOLD, beta {beta}, weight {matched or 'by overlap'}"
        cases[name] = (compared, {"hybrid": True, "beta": beta, "matched": matched})
    right = aligned
    for name, (objective, options) in cases.items():
        theirs, mine = [p.trl(trl.uld, **options) for p in both], [p.ours(objective) for p in both]
        right &= agrees(name, theirs, mine, TOLERANCE)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
