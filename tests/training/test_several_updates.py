"""Several optimiser updates from one batch, in a whole run."""

from __future__ import annotations

import pytest
from tiny_runs import metrics_of, weights_of

from agentdistill import hookimpl
from agentdistill.errors import ConfigError


def test_epochs_move_further_from_the_same_batch(make_run) -> None:
    gaps = {}
    for epochs in (1, 3):
        run = make_run(f"e{epochs}", optim__epochs=epochs, optim__minibatches=2, optim__steps=1)
        run.train()
        metrics = metrics_of(run)[0]
        gaps[epochs] = metrics["updates/gap_mean"]
        assert metrics["updates/count"] == 2 * epochs
        assert metrics["gap/logprob_mean"] < 1e-4
    assert gaps[3] > gaps[1] > 0


def test_several_updates_resume_to_the_bit(make_run) -> None:
    options = {"optim__epochs": 2, "optim__minibatches": 2, "optim__steps": 4, "run__checkpoint_every": 2}

    class Killed(BaseException):
        pass

    class Stopper:
        @hookimpl
        def agentdistill_step_end(self, event) -> None:
            if event.step == 3:
                raise Killed

    whole, part = make_run("whole", **options), make_run("part", **options)
    whole.train()
    part.registry._loader.manager.register(Stopper())
    with pytest.raises(Killed):
        part.train()
    make_run("part", run__resume=True, **options).train()
    assert weights_of(whole) == weights_of(part)


def test_more_minibatches_than_tasks_are_refused(make_run) -> None:
    with pytest.raises(ConfigError, match="minibatches"):
        make_run(optim__minibatches=99).train()


def test_bounds_are_searched_with_the_ratios_of_now(make_run, monkeypatch) -> None:
    import torch

    from agentdistill_surrogates.bapo import Bapo

    seen = []
    prepare = Bapo.prepare

    def watched(self, tokens, advantage, logprob=None):
        seen.append(None if logprob is None else float((logprob - tokens.old_logprob).abs().max()))
        assert logprob is None or bool(torch.isfinite(logprob).all())
        return prepare(self, tokens, advantage, **({} if logprob is None else {"logprob": logprob}))

    monkeypatch.setattr(Bapo, "prepare", watched)
    run = make_run(surrogate__type="bapo", optim__epochs=3, optim__steps=1, run__self_test=False)
    run.train()
    assert seen[0] is None and 0 < seen[1] < seen[2]
