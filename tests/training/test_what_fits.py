"""What cannot work together is refused by `train --dry-run`, before anything is loaded, with the reason."""

from __future__ import annotations

import pytest

from agentdistill.cli import main

ATOD, TCOD = "atod-alfworld", "tcod-alfworld"

REFUSED: list[tuple[str, dict[str, str], str]] = [
    (TCOD, {"loss.support": "teacher-topk", "loss.tail": "none"}, "has a wrong gradient"),
    (TCOD, {"loss.support": "student-topk", "loss.tail": "none"}, "has a wrong gradient"),
    (TCOD, {"loss.support": "student-topk", "loss.tail": "renormalise", "loss.k": "1"}, "compares 1 with 1"),
    (TCOD, {"loss.gradient": "direct"}, "expectation zero"),
    (TCOD, {"loss.gradient": "direct", "loss.estimator": "k1"}, "expectation zero"),
    (TCOD, {"loss.gradient": "direct", "loss.estimator": "k3"}, "gradient of the forward KL"),
    (TCOD, {"loss.divergence": "total-variation"}, "cannot be had from sampled tokens"),
    (TCOD, {"loss.type": "eopd", "loss.tail": "renormalise", "loss.k": "1"}, "compares 1 with 1"),
    (TCOD, {"loss.type": "vopd", "loss.baseline": "topk", "loss.k": "1"}, "greater than or equal to 2"),
    (ATOD, {"rollout.samples_per_task": "1"}, "a group of one says nothing"),
    (ATOD, {"rollout.samples_per_task": "1", "advantage.type": "gigpo"}, "a group of one says nothing"),
    (ATOD, {"rollout.samples_per_task": "1", "advantage.type": "adaptthink"}, "a group of one says nothing"),
    (TCOD, {"loss.type": "uni-opd"}, "compares the episodes of a task"),
    (TCOD, {"loss.type": "qcrd"}, "compares the episodes of a task"),
    (ATOD, {"step_weight.type": "turn-equal"}, "corrected twice"),
    (ATOD, {"step_weight.type": "sage"}, "no reward writes it"),
    (TCOD, {"fusion.type": "scope"}, "has nothing to join"),
    (TCOD, {"advantage.type": "grpo"}, "has no rewards to compare"),
    (TCOD, {"surrogate.type": "bapo", "loss.support": "full"}, "has no advantage to shape"),
    (TCOD, {"surrogate.type": "bapo", "loss.type": "eopd"}, "has no advantage to shape"),
    (TCOD, {"token_weight.type": "role-weights", "token_weight.text": "0", "token_weight.action": "0",
            "token_weight.special": "0"}, "no token would be trained"),
    (ATOD, {"fusion.type": "additive", "fusion.kd": "0", "fusion.rl": "0"}, "nothing is learned"),
]  # fmt: skip

ALLOWED: list[tuple[str, dict[str, str]]] = [
    (ATOD, {"rollout.samples_per_task": "1", "advantage.type": "reinforce"}),
    (ATOD, {"surrogate.type": "bapo"}),
    (ATOD, {"surrogate.type": "trrd", "loss.support": "full"}),
    (TCOD, {"surrogate.type": "truncated"}),
    (TCOD, {"loss.divergence": "forward-kl", "loss.gradient": "direct", "loss.estimator": "k3"}),
    (TCOD, {"loss.support": "teacher-topk", "loss.tail": "stop-gradient", "loss.k": "1"}),
]


def dry_run(recipe: str, options: dict[str, str]) -> int:
    more = [word for key, value in options.items() for word in (f"--{key}", value)]
    with pytest.raises(SystemExit) as ended:
        main(["train", recipe, "--dry-run", *more])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(("recipe", "options", "reason"), REFUSED)
def test_refused_in_one_paragraph(recipe: str, options: dict[str, str], reason: str, capsys) -> None:
    assert dry_run(recipe, options) != 0
    printed = capsys.readouterr()
    assert reason in printed.err and printed.err.strip().count("\n") == 0 and not printed.out


@pytest.mark.parametrize(("recipe", "options"), ALLOWED)
def test_what_works_is_not_refused(recipe: str, options: dict[str, str], capsys) -> None:
    assert dry_run(recipe, options) == 0
    assert "[loss]" in capsys.readouterr().out
