"""Layers, overrides, provenance, and errors at the user's own path."""

from __future__ import annotations

import sys

import pytest

from agentdistill.config import load_config
from agentdistill.errors import ConfigError, PluginError
from agentdistill.provenance import collect


def origin(resolved, path: str) -> str:
    return str(resolved.provenance[path])


def test_a_recipe_is_found_by_name_and_by_path(registry, recipe, tmp_path, monkeypatch):
    assert load_config(["toy"], registry=registry).config.run.name == "toy"
    monkeypatch.chdir(tmp_path)
    path = recipe("[run]\nname = 'mine'")
    assert load_config(["toy", path], registry=registry).config.run.name == "mine"
    with pytest.raises(ConfigError, match=r"no recipe named `toi`\. Did you mean `toy`\?"):
        load_config(["toi"], registry=registry)
    with pytest.raises(ConfigError, match=r"a file `layer0\.toml` here: write it with its ending"):
        load_config(["layer0"], registry=registry)
    with pytest.raises(ConfigError, match=r"no recipe file `absent/x\.toml`"):
        load_config(["absent/x.toml"], registry=registry)


def test_a_broken_file_is_named_with_its_line(registry, recipe):
    with pytest.raises(ConfigError, match=r"layer0\.toml` is not valid TOML\..*line 2"):
        load_config([recipe("[run]\nname = \nseed = 1")], registry=registry)


def test_layers_merge_left_to_right_and_overrides_come_last(registry, recipe):
    layers = ["toy", recipe("[optim]\nlr = 1e-4\nsteps = 9"), recipe("[optim]\nsteps = 10")]
    resolved = load_config(layers, {"optim.lr": "1e-5", "env.context.steps": "7"}, registry=registry)
    assert (resolved.config.optim.lr, resolved.config.optim.steps) == (1e-5, 10)
    assert resolved.get("env.context") == {"type": "toy-context", "steps": 7, "think": False}


def test_every_value_says_where_it_came_from(registry, recipe):
    resolved = load_config(["toy", recipe("[optim]\nsteps = 9")], {"student.lora.rank": "4"}, registry=registry)
    assert origin(resolved, "env.max_steps") == "toy.toml"
    assert origin(resolved, "optim.steps") == "layer0.toml"
    assert origin(resolved, "student.lora.rank") == "command line"
    assert origin(resolved, "student.lora.dropout") == "default"
    assert origin(resolved, "env.split") == "default"
    assert origin(resolved, "env.engine") == "plugin default of toy-env"
    assert origin(resolved, "env.context.think") == "plugin default of toy-context"
    assert origin(resolved, "optim.betas") == "default"
    assert {path for path, _ in resolved.leaves()} == set(resolved.provenance)


def test_changing_a_type_drops_the_other_keys_of_that_section(registry):
    resolved = load_config(["toy"], {"teacher.type": "toy-local", "teacher.model": "m"}, registry=registry)
    own = {"type": "toy-local", "model": "m", "clip": 5.0}
    assert resolved.get("teacher") == {**own, "cache": None, "cache_folder": None}
    same = load_config(["toy"], {"teacher.type": "toy-served"}, registry=registry)
    assert same.get("teacher")["url"] == "http://localhost:8000/v1"


def test_changing_the_type_of_a_nested_section_keeps_the_outer_one(registry):
    resolved = load_config(["toy"], {"env.context.type": "toy_plugin:Any_"}, registry=registry)
    assert resolved.get("env.max_steps") == 12
    assert resolved.get("env.context") == {"type": "toy_plugin:Any_"}


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"curriculum.evry": "3"}, r"\[curriculum\] evry \(from command line\): unknown key\. Did you mean `every`\?"),
        ({"curiculum.every": "3"}, r"\[curiculum\] .*unknown section\. Did you mean `curriculum`\?"),
        ({"optim.learning_rate": "3"}, r"\[optim\] learning_rate .*: unknown key\. Known: `lr`, `steps`"),
        ({"optim.lr": "fast"}, r"\[optim\] lr \(from command line\): input should be a valid number.*'fast'"),
        ({"optim.lr": "-1"}, r"\[optim\] lr .*greater than 0.*got -1"),
        ({"optim.lr": "nan"}, r"\[optim\] lr"),
        ({"student.lora.rnk": "3"}, r"\[student\.lora\] rnk .*Did you mean `rank`\?"),
        ({"env.context.stps": "3"}, r"\[env\.context\] stps .*Did you mean `steps`\?"),
        ({"env.context.steps": "many"}, r"\[env\.context\] steps .*'many'"),
        ({"eval.panel": "nothing"}, r"\[eval\] panel .*<environment>/<panel>"),
        ({"eval.env.engin": "real"}, r"\[eval\.env\] engin .*Did you mean `engine`\?"),
        ({"eval.env.type": "x"}, r"\[eval\.env\] type"),
        ({"step_weight.delta": "1"}, r"\[step_weight\] delta .*`toy-weight` takes no options"),
        ({"teacher.type": "toy-local"}, r"\[teacher\] model: is missing"),
        ({"run": "x"}, r"\[run\]"),
        ({"optim.": "x"}, "no configuration key"),
        ({"optim.lr": "1", "optim.lr.x": "1"}, "as a value and as a section"),
    ],
)
def test_a_wrong_value_is_told_at_the_users_path(registry, overrides, error):
    with pytest.raises(ConfigError, match=error):
        load_config(["toy"], overrides, registry=registry)


def test_all_problems_are_told_at_once(registry):
    with pytest.raises(ConfigError, match=r"2 values.*\[env\] sice.*`size`.*\[curriculum\] evry"):
        load_config(["toy"], {"curriculum.evry": "1", "env.sice": "1"}, registry=registry)


def test_an_unknown_plugin_is_told(registry):
    with pytest.raises(PluginError, match=r"no teacher named `toy-locl`.*Did you mean `toy-local`\?"):
        load_config(["toy"], {"teacher.type": "toy-locl"}, registry=registry)


def test_override_values_are_toml_scalars_or_text(registry):
    overrides = {
        "teacher.names": '["a", "b"]',
        "optim.bf16": "true",
        "student.model": "7",
        "run.name": "2026",
        "optim.betas": "[0.9, 0.95]",
        "teacher.url": "http://host/#part",
        "env.context.think": True,
    }
    config = load_config(["toy"], overrides, registry=registry)
    assert config.get("teacher.names") == ["a", "b"]
    assert config.config.optim.bf16 is True and config.config.optim.betas == (0.9, 0.95)
    assert config.config.student is not None and config.config.student.model == "7"
    assert config.config.run.name == "2026"
    assert config.get("teacher.url") == "http://host/#part"
    assert config.get("env.context.think") is True


def test_dashes_in_overrides_are_underscores(registry):
    resolved = load_config(
        ["toy"], {"rollout.tasks-per-step": "3", "step-weight.type": "toy-weight"}, registry=registry
    )
    assert resolved.config.rollout.tasks_per_step == 3


def test_false_unsets_what_may_be_none(registry):
    resolved = load_config(["toy"], {"student.lora": "false", "optim.grad_clip": "false"}, registry=registry)
    assert resolved.config.student is not None and resolved.config.student.lora is None
    assert resolved.config.optim.grad_clip is None
    assert load_config(["toy"], {"env.size": "false"}, registry=registry).get("env.size") is None


def test_the_dump_is_a_recipe_that_resolves_to_the_same(registry, recipe):
    overrides = {
        "optim.grad_clip": "false",
        "env.size": "false",
        "eval.env.engine": "real",
        "run.name": "a.b",
        "teacher.names": '["\\u007f\\"", "é"]',
        "token_weight": "false",
    }
    first = load_config(["toy"], overrides, registry=registry)
    for provenance in (False, True):
        again = load_config([recipe(first.to_toml(provenance))], registry=registry)
        assert again.values == first.values
        assert again.hash == first.hash


def test_the_hash_is_about_what_a_run_does(registry):
    base = load_config(["toy"], registry=registry)
    assert load_config(["toy"], {"run.directory": "x", "run.resume": "true"}, registry=registry).hash == base.hash
    assert collect(base.values)["config_hash"] == base.hash  # results say what --dry-run says
    other = load_config(["toy"], {"curriculum.every": "5"}, registry=registry)
    assert other.hash != base.hash
    assert other.differences(base.values) == ["curriculum.every"]
    # A plugin's default that is written out is the same run.
    assert load_config(["toy"], {"curriculum.every": "4"}, registry=registry).hash == base.hash


def test_sections_that_a_command_needs(registry):
    resolved = load_config([], {"curriculum.type": "toy-curriculum", "engine.type": "toy-engine"}, registry=registry)
    with pytest.raises(ConfigError, match=r"no \[env\] and \[teacher\].*--env\.type"):
        resolved.require("env", "run", "teacher")


def test_core_keys_reach_a_plugin_that_declares_them(registry):
    resolved = load_config(["toy"], {"env.split": "held-out"}, registry=registry)
    env = resolved.config.env
    assert env is not None
    built = registry.build("environment", env, "env")
    assert built.config.split == "held-out"
    assert "max_steps" not in type(built.config).model_fields


def test_evaluation_sees_its_own_environment(registry):
    overrides = {"eval.env.engine": "real", "eval.env.split": "held-out", "eval.max_steps": "50"}
    config = load_config(["toy"], overrides, registry=registry).config
    env = config.evaluation_env()
    assert (env.split, env.max_steps, env.options()["engine"]) == ("held-out", 50, "real")
    assert env.context.options() == {"steps": 3}
    assert registry.build("environment", env, "env").config.engine == "real"


def test_modules_given_with_p_are_recorded_for_resuming(registry, recipe, tmp_path, monkeypatch):
    (tmp_path / "recency_plugin.py").write_text(
        "from agentdistill import hookimpl\n@hookimpl\n"
        "def agentdistill_register_step_weights(register): register('recency', 'recency_plugin:f')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    resolved = load_config(["toy"], {"step_weight.type": "recency"}, registry=registry, plugins=["recency_plugin"])
    assert resolved.config.run.plugins == ("recency_plugin",)
    from agentdistill.plugins import PluginRegistry

    again = load_config([recipe(resolved.to_toml())], registry=PluginRegistry.load())
    assert again.hash == resolved.hash
    with pytest.raises(PluginError, match="Cannot load the plugin `absent_module_y`"):
        load_config(["toy"], registry=registry, plugins=["absent_module_y"])
