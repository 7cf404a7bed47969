from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import metrics_of, save_models, weights_of

from agentdistill import hookimpl
from agentdistill.errors import CheckpointError, ConfigError, TokenizationError, TrainingError
from agentdistill.records import StopReason
from agentdistill.store import TrajectoryStore


def test_a_run_leaves_what_it_promises(make_run) -> None:
    run = make_run(eval__panel="alfworld/generated-unseen", eval__limit=3)
    result = run.train()
    assert [m["step"] for m in metrics_of(run)] == [1, 2, 3, 4, 5, 6]
    stored = list(TrajectoryStore(run.directory / "episodes").read())
    assert len(stored) == 24
    assert {t.policy_version for t in stored} == set(range(6))
    assert result.before is not None and result.after is not None and result.comparison is not None
    document = json.loads((run.directory / "results.json").read_text())
    assert document["totals"]["episodes"] == 24
    assert document["totals"]["env_steps"] == sum(len(t.steps) for t in stored)
    assert document["provenance"]["config_hash"]
    assert str(Path.home()) not in json.dumps(document)
    assert (run.directory / "config.toml").is_file()


def test_the_curriculum_deepens_and_cut_episodes_say_so(make_run) -> None:
    run = make_run(env__max_steps=3)
    run.train()
    assert [m["curriculum/depth"] for m in metrics_of(run)] == [1, 1, 2, 2, 3, 3]
    for trajectory in TrajectoryStore(run.directory / "episodes").read():
        depth = 1 + trajectory.policy_version // 2
        assert len(trajectory.steps) <= depth
        if not trajectory.success:
            cut_by_environment = depth == 3
            assert trajectory.stop is (StopReason.ENV_LIMIT if cut_by_environment else StopReason.HORIZON)


def test_same_seed_same_weights_and_another_seed_others(make_run) -> None:
    first, again, other = make_run("a"), make_run("b"), make_run("c", run__seed=4)
    for run in (first, again, other):
        run.train()
    assert weights_of(first) == weights_of(again) != weights_of(other)
    drop_time = [
        [{k: v for k, v in m.items() if "time" not in k and "second" not in k} for m in metrics_of(run)]
        for run in (first, again)
    ]
    assert drop_time[0] == drop_time[1]


def test_a_student_that_is_its_own_teacher_has_no_gradient(make_run, models: Path) -> None:
    # One step only: Adam divides by the gradient's own size and would turn rounding into motion.
    run = make_run(teacher__model=str(models / "student"), optim__steps=1)
    run.train()
    assert metrics_of(run)[0]["optim/grad_norm"] < 1e-5


def test_full_depth_f2b_is_plain_opd(make_run) -> None:
    plain = make_run("plain", curriculum__type="full")
    deep = make_run("deep", curriculum__start=4)
    for run in (plain, deep):
        run.train()
    assert weights_of(plain) == weights_of(deep)


def test_zero_prefix_b2f_is_plain_opd(make_run) -> None:
    plain = make_run("plain", curriculum__type="full", env__max_steps=20, optim__steps=2)
    back = make_run("back", curriculum__type="tcod-b2f", curriculum__start=20, env__max_steps=20, optim__steps=2)
    for run in (plain, back):
        run.train()
    assert weights_of(plain) == weights_of(back)


def test_b2f_replays_a_prefix_that_is_not_trained_on(make_run) -> None:
    run = make_run(curriculum__type="tcod-b2f", env__max_steps=20, optim__steps=2)
    run.train()
    stored = list(TrajectoryStore(run.directory / "episodes").read())
    assert any(t.plan.prefix for t in stored)
    for trajectory in stored:
        replayed = [s for s in trajectory.steps if s.actor == "expert"]
        assert [s.action for s in replayed] == list(trajectory.plan.prefix)[: len(replayed)]
        for row in trajectory.rows:
            assert not any(row.mask[row.step_of_token == s.index].any() for s in replayed)


def test_lifecycle_hooks_fire_in_order(make_run) -> None:
    seen: list[str] = []

    class Watcher:
        @hookimpl
        def agentdistill_run_start(self, event):
            seen.append("start")

        @hookimpl
        def agentdistill_batch_ready(self, event):
            seen.append(f"batch {event.step}")

        @hookimpl
        def agentdistill_episode_end(self, event):
            seen.append("episode")

        @hookimpl
        def agentdistill_step_end(self, event):
            seen.append(f"step {event.step}")

        @hookimpl
        def agentdistill_checkpoint(self, event):
            seen.append(f"checkpoint {event.step}")

        @hookimpl
        def agentdistill_run_end(self, event):
            seen.append("end")

    run = make_run(optim__steps=2)
    run.registry._loader.manager.register(Watcher())
    run.train()
    episodes = ["episode"] * 4
    assert seen == [
        "start", "checkpoint 0", *episodes, "batch 0", "step 1", *episodes, "batch 1", "step 2", "checkpoint 2", "end",
    ]  # fmt: skip


def test_an_existing_run_is_never_overwritten(make_run) -> None:
    make_run(optim__steps=1).train()
    with pytest.raises(ConfigError, match="exists already"):
        make_run(optim__steps=1).train()


def test_resuming_needs_a_run_and_the_same_configuration(make_run) -> None:
    with pytest.raises(ConfigError, match="nothing to resume"):
        make_run("absent", run__resume=True).train()
    make_run(optim__steps=2).train()
    with pytest.raises(CheckpointError, match="another configuration"):
        make_run(optim__steps=2, optim__lr=2e-3, run__resume=True).train()


def test_a_finished_run_resumes_to_the_same_result(make_run) -> None:
    first = make_run(optim__steps=2)
    first.train()
    weights = weights_of(first)
    make_run(optim__steps=2, run__resume=True).train()
    assert weights_of(first) == weights
    assert len(metrics_of(first)) == 2


def test_what_a_killed_writer_left_goes_with_the_next_checkpoint(make_run) -> None:
    run = make_run(optim__steps=2, run__checkpoint_every=1, run__keep_checkpoints=3)
    run.train()
    weights, folder = weights_of(run), run.directory / "checkpoints"
    left = folder / ".step-000002.partial-1"
    (folder / "step-000002").rename(left)
    make_run(optim__steps=2, run__checkpoint_every=1, run__keep_checkpoints=3, run__resume=True).train()
    assert weights_of(run) == weights
    assert sorted(path.name for path in folder.iterdir()) == ["step-000000", "step-000001", "step-000002"]


def test_another_tokenizer_is_refused_by_its_ids(make_run, models: Path, tmp_path: Path) -> None:
    save_models(tmp_path, other=2)
    file = tmp_path / "other" / "tokenizer.json"
    document = json.loads(file.read_text())
    vocab = document["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    file.write_text(json.dumps(document))
    with pytest.raises(TokenizationError, match="differ in 2 of"):
        make_run(teacher__model=str(tmp_path / "other")).train()


def test_a_loss_the_teacher_cannot_serve_is_refused(make_run) -> None:
    run = make_run(teacher__type="expert", loss__support="full")
    with pytest.raises(ConfigError, match="hidden"):
        run.train()


def test_a_non_finite_loss_stops_the_run_and_keeps_the_weights(make_run) -> None:
    import torch

    run = make_run()
    with torch.no_grad():
        for parameter in run.parts.teacher.parts.model.parameters():  # type: ignore[attr-defined]
            parameter.mul_(float("nan"))
    before = {k: v.clone() for k, v in run.student.model.state_dict().items()}
    with pytest.raises(TrainingError):
        run.train()
    assert all(torch.equal(v, before[k]) for k, v in run.student.model.state_dict().items())


@pytest.mark.parametrize("divergence", ["reverse-kl", "forward-kl", "jsd"])
def test_full_vocabulary_losses_walk_the_same_way(make_run, divergence: str) -> None:
    run = make_run(loss__divergence=divergence, loss__support="full", optim__steps=2)
    run.train()
    assert len(metrics_of(run)) == 2


def test_lora_trains_adapters_only_and_resumes(make_run) -> None:
    import torch

    run = make_run(student__lora={"rank": 2}, optim__steps=4)
    run.train()
    assert not (run.directory / "student" / "model.safetensors").exists()
    adapter = (run.directory / "student" / "adapter_model.safetensors").read_bytes()
    base = {k: v for k, v in run.student.model.state_dict().items() if "lora" not in k}
    assert base and not any(p.requires_grad for n, p in run.student.model.named_parameters() if "lora" not in n)
    assert any(bool(torch.any(p != 0)) for n, p in run.student.model.named_parameters() if "lora_B" in n)
    resumed = make_run(student__lora={"rank": 2}, optim__steps=4, run__resume=True)
    resumed.train()
    assert (run.directory / "student" / "adapter_model.safetensors").read_bytes() == adapter


def test_imitation_lowers_the_cross_entropy_and_masks_mistakes(make_run) -> None:
    from agentdistill.records import LossRole
    from agentdistill.training.sft import demonstration_rows, imitate

    run = make_run(env__max_steps=30, optim__steps=8, optim__lr=1e-2)
    rows = demonstration_rows(run.parts)
    assert rows and all(t.success for t in rows)
    for trajectory in rows:
        assert all(s.loss_role is LossRole.IMITATE for s in trajectory.steps)
        assert not any(row.mask.any() for row in trajectory.rows)
    imitate(run.resolved, run.registry)
    losses = [m["loss/imitate"] for m in metrics_of(run)]
    assert losses[-1] < losses[0] - 0.5
