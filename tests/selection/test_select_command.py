"""`agentdistill select` on real episodes and tiny real models, and its scores against a slow computation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from made_episodes import naive_logprobs
from tiny import tiny_tokenizer
from tiny_runs import households, save_models, write_recipe

from agentdistill.cli import main
from agentdistill.models import load_model
from agentdistill.plugins.check import check_plugins
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.store import TrajectoryStore, trajectory_to_dict
from agentdistill.training.candidates import imitable, scored_candidates, token_spans
from agentdistill_contexts.window import WindowConfig, WindowContext
from agentdistill_selection.divergence import DivergenceConfig, divergence
from agentdistill_selection.provenance import ProvenanceConfig, provenance


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recipe, three models and the expert's episodes."""
    folder = save_models(tmp_path_factory.mktemp("select"), student=1, teacher=2, distilled=3)
    world = {"max_steps": 30, "generated": {"train": 5, "seen": 4, "unseen": 4}}
    write_recipe(folder / "recipe.toml", households(folder, env=world, teacher=None, loss=None))
    command = ["collect", str(folder / "recipe.toml"), "--output", str(folder / "demos"), "--episodes", "10"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    return folder


@pytest.fixture
def run(folder, capsys, monkeypatch, tmp_path):
    """Runs `select` with a new output directory; returns exit code, stdout, stderr, output."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run_(*more: str, by: str = "provenance", teacher: str = "teacher", data: str = "demos", name: str = "out"):
        command = ["select", str(folder / "recipe.toml"), "--data", str(folder / data), "--by", by]
        command += ["--output", str(tmp_path / name), *(["--teacher", str(folder / teacher)] if teacher else []), *more]
        with pytest.raises(SystemExit) as ended:
            main(command)
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err, tmp_path / name

    return run_


@pytest.fixture(scope="module")
def loads(folder):
    return {part: (lambda p=part: load_model(str(folder / p))) for part in ("student", "teacher", "distilled")}


def test_the_package_passes_the_kit():
    findings = check_plugins(PluginRegistry.load(), ["agentdistill_selection"])
    assert [f for f in findings if f.level == "error"] == []


def test_the_best_episodes_are_copied_as_they_are(run, folder):
    code, out, err, target = run("--share", "0.5", "--set", "share=true")
    assert code == 0, err
    before = [trajectory_to_dict(t) for t in TrajectoryStore(folder / "demos").read()]
    after = [trajectory_to_dict(t) for t in TrajectoryStore(target).read()]
    record = json.loads((target / "selection.json").read_text())
    kept = [row["kept"] for row in record["episodes"]]
    assert after == [t for t, k in zip(before, kept, strict=True) if k] and sum(kept) == 5
    scores = [row["score"] for row in record["episodes"]]
    assert min(s for s, k in zip(scores, kept, strict=True) if k) >= max(
        s for s, k in zip(scores, kept, strict=True) if not k
    )
    assert record["by"] == "provenance" and record["options"] == ["share=true"]
    assert "episodes          10         5" in out and "teacher" in out


def test_the_same_command_gives_the_same_bytes(run):
    first, second = run("--count", "3", name="a")[3], run("--count", "3", name="b")[3]
    assert (first / "selection.json").read_bytes() == (second / "selection.json").read_bytes()
    assert [p.read_bytes() for p in first.glob("*.jsonl")] == [p.read_bytes() for p in second.glob("*.jsonl")]


def test_selected_episodes_can_be_imitated_and_limited_per_task(run):
    code, _, err, target = run("--per-task", "1", by="chance", teacher="")
    assert code == 0, err
    keys = [t.task.key for t in TrajectoryStore(target).read()]
    assert len(keys) == len(set(keys)) == 5


@pytest.mark.parametrize(
    ("more", "options", "words"),
    [
        ((), {"teacher": ""}, r"needs the model of the teacher.*Add --teacher MODEL"),
        ((), {"by": "provenence"}, r"no selection named `provenence`.*Did you mean"),
        (("--set", "alpha=0.5"), {}, r"would be shared"),
        (("--set", "alpha"), {}, r"Write --set KEY=VALUE"),
        (("--set", "gamma=1"), {}, r"\[selection\] gamma: unknown key"),
        (("--least", "1e9"), {}, r"No episode was selected\. The best of 10 has the score"),
        ((), {"data": "nowhere"}, r"nothing to select from"),
    ],
)
def test_what_cannot_be_selected_says_why(run, more, options, words):
    code, _, err, target = run(*more, **options)
    assert code == 2
    import re

    assert re.search(words, " ".join(err.split())), err
    assert not target.exists()


def test_an_output_is_never_mixed(run):
    assert run("--count", "1", by="chance", teacher="")[0] == 0
    code, _, err, _ = run("--count", "1", by="chance", teacher="")
    assert code == 2 and "not empty" in err


def test_log_probabilities_are_those_of_a_slow_computation(folder, loads):
    from agentdistill.conversation.template import renderer_for
    from agentdistill.rollout.demonstrate import tokenize_demonstration

    (episode,) = list(TrajectoryStore(folder / "demos").read())[:1]
    context = WindowContext(WindowConfig(admissible=False))
    (found,) = scored_candidates([episode], loads, context)
    assert len(found.responses) == len(episode.steps) and set(found.responses[0].views) == set(loads)
    model = loads["teacher"]()
    shown = tokenize_demonstration(imitable(episode), renderer_for(model.tokenizer, context), context)
    for step, response in zip(shown.steps, found.responses, strict=True):
        slow = naive_logprobs(model.model, shown.rows[step.row].token_ids)[step.start : step.end].detach().numpy()
        view = response.views["teacher"]
        assert np.allclose(view.logprob, slow[: len(view.logprob)], atol=1e-5)
        pieces = [response.text[a:b] for a, b in view.spans.tolist()]
        assert "".join(pieces) == response.text == step.response


def test_equal_models_share_everything(folder, loads):
    episodes = list(TrajectoryStore(folder / "demos").read())
    same = scored_candidates(
        episodes,
        {"student": loads["student"], "teacher": loads["student"]},
        WindowContext(WindowConfig(admissible=False)),
    )
    assert all(w.score == 0 for w in divergence(same, DivergenceConfig()))
    for worth in provenance(same, ProvenanceConfig()):
        assert worth.notes["shared"] == sum(worth.notes.values()) > 0


@pytest.mark.parametrize("text", ["go north", "héllo wörld", "日本語。はい", "🙂 ok", "a\n\nb  c ", ""])
def test_spans_of_any_text(text):
    tokenizer = tiny_tokenizer()
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    spans = token_spans(ids, text, tokenizer)
    assert "".join(text[a:b] for a, b in spans.tolist()) == text
    assert (np.diff(spans.ravel()) >= 0).all() and spans[-1].tolist() == [len(text), len(text)]
