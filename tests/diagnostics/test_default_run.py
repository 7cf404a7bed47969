"""A run that says nothing about diagnostics has all of them, and trains what one without them trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import households, metrics_of, runs_of, save_models, weights_of

WITHOUT_A_SWITCH = {
    "turn/0/kl_sum",
    "turn/0/teacher_logprob_sum",
    "turn/0/weight_sum",
    "depth/1/loss_share",
    "tokens/distill",
    "tokens/imitate",
    "tokens/context",
    "tokens/unused",
    "tokens/dead_rate",
    "rows/dead_rate",
    "rollout/repetition_rate",
    "rollout/truncated_rate",
    "gap/logprob_mean",
    "weight/token_ess",
}
SWITCHED = {
    "turn/0/overlap_sum",
    "turn/0/teacher_entropy_sum",
    "overlap/mean",
    "entropy/teacher",
    "entropy/student",
    "tokens/distill/text",
    "tokens/distill/action",
    "tokens/distill/special",
}


@pytest.mark.parametrize("curriculum", ["full", "guided"])
def test_every_number_is_there_by_default_and_changes_nothing(curriculum: str, tmp_path: Path) -> None:
    models = save_models(tmp_path, student=1, teacher=2)
    make = runs_of(households(models, curriculum={"type": curriculum}), tmp_path)
    for name, values in (("default", {}), ("without", {"run__diagnostics": False})):
        make(name, **values).train()
    with_them, without = (metrics_of(tmp_path / name)[-1] for name in ("default", "without"))
    assert set(with_them) >= WITHOUT_A_SWITCH | SWITCHED
    assert set(without) >= WITHOUT_A_SWITCH and not set(without) & SWITCHED
    for objective in ("distill", "imitate"):
        parts = [with_them.get(f"tokens/{objective}/{role}", 0.0) for role in ("text", "action", "special")]
        assert sum(parts) == with_them[f"tokens/{objective}"]
    assert {key: with_them[key] for key in without if "time" not in key and key != "tokens_per_second"} == {
        key: value for key, value in without.items() if "time" not in key and key != "tokens_per_second"
    }
    assert weights_of(tmp_path / "default") == weights_of(tmp_path / "without")
