"""A run's student as a plain directory: merged, described, checked, and asked like the student was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model, tiny_tokenizer
from tiny_runs import households, runs_of, save_models
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from agentdistill.cli import main
from agentdistill.errors import ConfigError, DataError, MissingExtraError
from agentdistill.export import export_run, export_student
from agentdistill.plugins.registry import PluginRegistry


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, `full` and `lora`, in one folder."""
    folder = save_models(tmp_path_factory.mktemp("runs"), student=1, teacher=2)
    (folder / "student" / "README.md").write_text("---\nlicense: mit\ntags: [x]\n---\n# A card\n")
    recipe = households(
        folder,
        run={"checkpoint_every": 1, "diagnostics": False, "self_test": False, "seed": 0},
        optim={"lr": 1e-2},
        eval={"panel": "alfworld/generated-unseen", "limit": 3, "temperature": 0.0},
    )
    make = runs_of(recipe, folder)
    make("full").train()
    make("lora", student__lora={"rank": 4}).train()
    return folder


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_run_becomes_a_plain_directory_that_answers_like_its_student(runs, registry, tmp_path, kind):
    done = export_run(runs / kind, tmp_path / "out", registry=registry, check="none")
    files = {path.name for path in done.directory.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "README.md"} <= files
    assert "chat_template.jinja" in files and "config.toml" in files and not any("adapter" in name for name in files)
    model = AutoModelForCausalLM.from_pretrained(done.directory, dtype=torch.float32)
    student = runs / kind / "student"
    if kind == "full":
        kept = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    else:
        from peft import PeftModel

        base = AutoModelForCausalLM.from_pretrained(runs / "student", dtype=torch.float32)
        kept = PeftModel.from_pretrained(base, student).eval()
    ids = torch.tensor([[5, 60, 70, 80]])
    with torch.no_grad():
        gap = (model(ids).logits.log_softmax(-1) - kept(ids).logits.log_softmax(-1)).abs().max()
    assert gap == 0 if kind == "full" else gap < 1e-5
    untrained = load_file(runs / "student" / "model.safetensors")
    assert any(not torch.equal(tensor, untrained[name]) for name, tensor in model.state_dict().items())
    assert AutoTokenizer.from_pretrained(done.directory).chat_template
    stops = GenerationConfig.from_pretrained(done.directory)
    assert stops.eos_token_id == 2 and stops.pad_token_id == 0
    assert done.license == "mit"
    assert "the same" in done.checks[0] and "transformers" in done.checks[0] and "not asked for" in done.checks[1]


def test_the_card_says_what_it_reached_what_it_cost_and_whose_it_is(runs, registry, tmp_path):
    done = export_run(runs / "lora", tmp_path / "out", registry=registry, check="none")
    card = (done.directory / "README.md").read_text()
    results = json.loads((runs / "lora" / "results.json").read_text())
    after = results["after"]
    assert card.startswith("---\nlicense: mit\nlibrary_name: transformers\n")
    assert f"| after training | alfworld/generated-unseen (3 of 6) | `{after['panel']['hash']}` | 3 |" in card
    low, high = (after["summary"]["success"][key] for key in ("low", "high"))
    assert f"[{low:.1%}, {high:.1%}]" in card
    assert f"| environment steps | {results['totals']['env_steps']:,.0f} |" in card
    assert f"| tokens the teacher read | {results['totals']['teacher_tokens']:,.0f} |" in card
    assert "| teacher | `…/teacher` (local) |" in card and "LoRA of rank 4, merged here" in card
    assert results["provenance"]["config_hash"] in card and "Trained with agentdistill" in card
    assert "--panel alfworld/generated-unseen\n" in card and "no other engine: not asked for" in card
    assert str(runs) not in card and str(runs) not in (done.directory / "config.toml").read_text()


def test_it_is_asked_as_its_student_was(runs, registry, tmp_path):
    from agentdistill.training.evaluation import evaluate

    done = export_run(runs / "full", tmp_path / "out", registry=registry, check="none")
    overrides = {"env.engine": "fast", "env.generated": {"train": 12, "seen": 6, "unseen": 6}}
    result = evaluate(str(done.directory), "alfworld/generated-unseen", limit=3, overrides=overrides, registry=registry)
    kept = json.loads((runs / "full" / "results.json").read_text())["after"]
    assert result.panel_hash == kept["panel"]["hash"]
    assert [outcome.steps for outcome in result.outcomes] == [episode["steps"] for episode in kept["episodes"]]
    same = ("temperature", "max_new_tokens", "max_steps", "prompt_hash", "players")
    assert {key: result.protocol[key] for key in same} == {key: kept["protocol"][key] for key in same}
    sampled = [outcome.sampled_tokens for outcome in result.outcomes]
    assert sampled == [episode["sampled_tokens"] for episode in kept["episodes"]]


def test_the_engines_contract_checks_it_too(runs, registry, tmp_path):
    done = export_run(runs / "lora", tmp_path / "out", registry=registry, check="hf", engine={"max_sessions": 4})
    assert done.checks[1].startswith("hf: the same") and "within" in done.checks[1]


def test_a_checkpoint_or_any_model_can_be_exported_with_what_is_known(runs, registry, tmp_path):
    checkpoint = runs / "lora" / "checkpoints" / "step-000001" / "student"
    done = export_student(checkpoint, tmp_path / "one", registry=registry, check="none", license="apache-2.0")
    card = (done.directory / "README.md").read_text()
    assert "license: apache-2.0" in card and "It was not evaluated by its run." in card and "# lora" in card
    plain = export_student(runs / "teacher", tmp_path / "two", registry=registry, check="none")
    card = (plain.directory / "README.md").read_text()
    assert plain.license == "" and "that model's licence" in card and "license:" not in card
    assert not (plain.directory / "config.toml").exists()
    same = load_file(plain.directory / "model.safetensors"), load_file(runs / "teacher" / "model.safetensors")
    assert all(torch.equal(same[0][name], tensor) for name, tensor in same[1].items())


@pytest.mark.parametrize(
    ("change", "words"), [(-30.0, "answers otherwise in transformers"), (1.02, "other probabilities")]
)
def test_what_was_written_wrong_never_appears(runs, registry, tmp_path, monkeypatch, change, words):
    import agentdistill.export.run as module

    whole = module._write

    def spoiled(source, directory, stop_ids):
        whole(source, directory, stop_ids)
        path = directory / "model.safetensors"
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        tensors["model.layers.0.mlp.up_proj.weight"] *= change
        save_file(tensors, path, metadata={"format": "pt"})

    monkeypatch.setattr(module, "_write", spoiled)
    with pytest.raises(DataError, match=words):
        export_run(runs / "full", tmp_path / "out", registry=registry, check="none")
    assert list(tmp_path.iterdir()) == []


def test_stop_ids_of_the_template_end_its_responses(runs, registry, tmp_path, monkeypatch):
    import agentdistill.export.run as module

    def forgetful(source, directory, stop_ids):
        whole(source, directory, [1])

    whole = module._write
    monkeypatch.setattr(module, "_write", forgetful)
    monkeypatch.setattr("agentdistill.export.check.TEXTS", ("stop at once",))
    model = tiny_model(seed=1, hidden=32, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.weight[2] = model.model.embed_tokens.weight.mean(0)
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(DataError, match="answers otherwise in transformers"):
        export_student(tmp_path / "model", tmp_path / "out", registry=registry, check="none")


def test_bad_input_is_told(runs, registry, tmp_path):
    with pytest.raises(DataError, match=r"There is no run in .*config\.toml"):
        export_run(tmp_path, tmp_path / "out", registry=registry)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.toml").write_text((runs / "full" / "config.toml").read_text())
    with pytest.raises(DataError, match=r"has no finished student.*--student"):
        export_run(tmp_path / "begun", tmp_path / "out", registry=registry)
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError, match="exists"):
        export_run(runs / "full", tmp_path / "taken", registry=registry)
    with pytest.raises(MissingExtraError, match="has no vLLM"):
        import sys

        export_run(runs / "full", tmp_path / "out", registry=registry, check="vllm", engine={"python": sys.executable})
    with pytest.raises(ConfigError):
        export_run(runs / "full", tmp_path / "out", registry=registry, check="hf", engine={"no_such": 1})
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_was_checked_and_where_it_is(runs, tmp_path, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["export", *arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    out = str(tmp_path / "out")
    code, said, _ = run(str(runs / "full"), "--output", out, "--check", "hf", "--engine.max_sessions", "2")
    assert code == 0 and said.splitlines()[-1] == f"saved    {out} (mit)"
    assert said.count("check    ") == 2 and "check    hf: the same" in said
    code, _, said = run(str(runs / "full"), "--output", out)
    assert code == 2 and "exists" in said
    code, _, said = run("--output", out)
    assert code == 2 and "Say what to export" in said
    code, _, said = run(str(runs / "full"), "--student", "x", "--output", out)
    assert code == 2 and "Both were given" in said
    code, _, said = run(str(runs / "full"), "--output", str(tmp_path / "new"), "--env.type", "alfworld")
    assert code == 2 and "only --engine.KEY does" in said
    code, _, said = run(str(runs / "full"), "--output", str(tmp_path / "new"), "--check", "vlm")
    assert code == 2 and "Did you mean `vllm`?" in said and not (tmp_path / "new").exists()
