"""Loading and looking up: isolation, clashes, suggestions, lazy targets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentdistill.errors import ConfigError, PluginError
from agentdistill.plugins import PluginConfig, PluginRegistry

GOOD = """
from agentdistill import hookimpl
from agentdistill.plugins import PluginConfig

class GoodConfig(PluginConfig):
    '''Options.

    Attributes:
        gamma: growth.
    '''
    gamma: float = 1.5

def good(steps, config: GoodConfig):
    return [config.gamma] * steps

class Thing:
    def __init__(self, config: GoodConfig, extra=0):
        self.config, self.extra = config, extra

def fails(config):
    raise ValueError("inside")

@hookimpl
def agentdistill_register_step_weights(register):
    register("good", "good_plugin:good", config="good_plugin:GoodConfig", summary="good")
    register("plain", "good_plugin:good")
    register("fails", "good_plugin:fails")
    register("gone", "good_plugin:nothing")
"""


def row(registry: PluginRegistry, name: str):
    return next(plugin for plugin in registry.plugins if plugin.name == name)


def test_first_party_plugins_are_entry_points_of_our_own_distribution():
    registry = PluginRegistry.load()
    assert "uniform" in registry.names("step-weight")
    plugin = registry.get("step-weight", "uniform").plugin
    assert plugin is not None and plugin.first_party and plugin.distribution == "agentdistill"


def test_a_third_party_plugin_is_found_and_its_target_is_lazy(install, registering):
    install("third", third_plugin=registering("mine", "third_heavy:weight"))
    registry = PluginRegistry.load()
    assert "mine" in registry.names("step-weight")
    assert "third_heavy" not in sys.modules
    assert registry.versions()["third"] == "1.0"


def test_function_binds_the_config_last(install):
    install("good-dist", good_plugin=GOOD)
    registry = PluginRegistry.load()
    assert registry.function("step-weight", {"type": "good", "gamma": 2.0})(3) == [2.0, 2.0, 2.0]
    assert registry.function("step-weight", {"type": "good"})(1) == [1.5]


def test_a_plugin_without_config_gets_the_empty_one(install):
    install("good-dist", good_plugin=GOOD)
    registry = PluginRegistry.load()
    assert type(registry.options("step-weight", {"type": "plain"})) is PluginConfig
    with pytest.raises(ConfigError, match=r"\[step_weight\] gamma: unknown key.*`plain` takes no options"):
        registry.options("step-weight", {"type": "plain", "gamma": 1})


def test_a_target_works_without_registration_and_finds_its_config_by_annotation(install):
    install("good-dist", good_plugin=GOOD)
    registry = PluginRegistry.load()
    built = registry.build("loss", {"type": "good_plugin:Thing", "gamma": 3}, extra=4)
    assert (built.config.gamma, built.extra) == (3.0, 4)
    # A target takes those keywords that it names: offering more later breaks no plugin.
    assert registry.build("loss", {"type": "good_plugin:Thing"}, extra=5, newer=6).extra == 5


def test_a_typo_in_an_option_is_reported_at_the_users_path(install):
    install("good-dist", good_plugin=GOOD)
    registry = PluginRegistry.load()
    with pytest.raises(ConfigError, match=r"\[a\.b\] gama: unknown key\. Did you mean `gamma`\?"):
        registry.build("step-weight", {"type": "good", "gama": 2.0}, "a.b")
    with pytest.raises(ConfigError, match=r"\[a\] gamma: input should be a valid number.*got 'much'"):
        registry.build("step-weight", {"type": "good", "gamma": "much"}, "a")
    with pytest.raises(ConfigError, match=r"\[a\] has no `type`"):
        registry.build("step-weight", {"gamma": 2.0}, "a")


def test_an_unknown_name_gets_a_suggestion_and_the_list():
    registry = PluginRegistry.load()
    with pytest.raises(PluginError, match=r"no step-weight named `unifrom`.*`uniform`.*Did you mean `uniform`\?"):
        registry.get("step-weight", "unifrom")
    with pytest.raises(PluginError, match="Did you mean `step-weight`"):
        registry.get("step_weight", "uniform")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("import not_installed_thing", "imports `not_installed_thing`, which is not installed"),
        ("x = 1", "implements no hook"),
        (
            "from agentdistill import hookimpl\n@hookimpl\ndef agentdistill_register_step_weight(register): ...",
            "unknown hook `agentdistill_register_step_weight`. Did you mean `agentdistill_register_step_weights`",
        ),
        (
            "from agentdistill import hookimpl\n@hookimpl\ndef agentdistill_step_end(metrics): ...",
            "wrong arguments.*metrics",
        ),
        ("def agentdistill_step_end(event): ...", "not marked with @agentdistill.hookimpl"),
        (
            "from agentdistill import hookimpl\n@hookimpl\n"
            "def agentdistill_register_losses(register): register('x', object)",
            'must be a string that is imported later, "builtins:object"',
        ),
        (
            "from agentdistill import hookimpl\n@hookimpl\n"
            "def agentdistill_register_losses(register): register('x', 'no_colon')",
            'does not have the form "package.module:attribute"',
        ),
        (
            "from agentdistill import hookimpl\n@hookimpl\n"
            "def agentdistill_register_losses(register): register('x', 'a:b'); register('x', 'a:c')",
            "registered that name before",
        ),
    ],
)
def test_a_broken_plugin_is_a_row_and_others_go_on(install, registering, source, error):
    install("bad-dist", version="0.3", bad_plugin=source)
    install("good-dist", good_plugin=GOOD)
    registry = PluginRegistry.load()
    import re

    assert row(registry, "bad_plugin").status == "broken"
    assert re.search(error, row(registry, "bad_plugin").error)
    assert row(registry, "bad_plugin").traceback
    assert "good" in registry.names("step-weight")
    with pytest.raises(PluginError, match=r"no loss named `y`.*bad_plugin.*distribution bad-dist 0.3.*broken"):
        registry.get("loss", "y")


def test_a_plugin_that_breaks_after_registering_keeps_its_names_for_the_error(install):
    source = """
from agentdistill import hookimpl
@hookimpl
def agentdistill_register_losses(register):
    register("half", "a:b")
    raise KeyError("later")
"""
    install("half-dist", half_plugin=source)
    registry = PluginRegistry.load()
    assert "half" not in registry.names("loss")
    with pytest.raises(PluginError, match=r"loss `half` cannot be used.*half-dist.*KeyError"):
        registry.get("loss", "half")


def test_the_extra_that_brings_a_missing_module_is_named(install):
    requires = ("numpy", "absent_thing>=2 ; extra == 'speed'")
    install("bad-dist", requires=requires, bad_plugin="import absent_thing")
    assert "pip install 'bad-dist[speed]'" in row(PluginRegistry.load(), "bad_plugin").error


def test_a_clash_names_both_distributions_only_when_used(install, registering):
    install("first-dist", first_plugin=registering("same", "a:b"))
    install("second-dist", version="2.1", second_plugin=registering("same", "c:d"))
    registry = PluginRegistry.load()
    assert [[entry.target for entry in group] for group in registry.clashes()] == [["a:b", "c:d"]]
    with pytest.raises(PluginError, match=r"ambiguous.*first-dist 1.0.*second-dist 2.1.*-p no:first_plugin"):
        registry.get("step-weight", "same")
    assert PluginRegistry.load(disabled=["second_plugin"]).get("step-weight", "same").target == "a:b"


@pytest.mark.parametrize("name", ["third_plugin", "third"])
def test_a_plugin_is_turned_off_by_name_or_distribution(install, registering, name):
    install("third", third_plugin=registering("mine", "a:b"))
    registry = PluginRegistry.load(disabled=[name])
    assert row(registry, "third_plugin").status == "off"
    assert "third_plugin" not in sys.modules
    with pytest.raises(PluginError, match=f"turned off with -p no:{name}"):
        registry.get("step-weight", "mine")


def test_turning_off_nothing_is_an_error():
    with pytest.raises(PluginError, match=r"-p no:step_weight turns off nothing.*Did you mean `step_weights`"):
        PluginRegistry.load(disabled=["step_weight"])


def test_the_environment_variable_turns_third_party_plugins_off(install, registering, monkeypatch):
    install("third", third_plugin=registering("mine", "a:b"))
    monkeypatch.setenv("AGENTDISTILL_THIRD_PARTY_PLUGINS", "0")
    registry = PluginRegistry.load()
    assert row(registry, "third_plugin").status == "off" and "third_plugin" not in sys.modules
    assert "uniform" in registry.names("step-weight")
    assert "mine" in PluginRegistry.load(third_party=True).names("step-weight")
    assert "mine" in PluginRegistry.load(modules=["third_plugin"]).names("step-weight")
    monkeypatch.setenv("AGENTDISTILL_THIRD_PARTY_PLUGINS", "maybe")
    with pytest.raises(PluginError, match="neither on nor off"):
        PluginRegistry.load()


def test_a_module_in_the_current_directory_is_a_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registering: Callable[..., str]
):
    (tmp_path / "local_weights.py").write_text(registering("local", "local_weights:weight"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry = PluginRegistry.load(modules=["local_weights"])
    assert registry.get("step-weight", "local").plugin is row(registry, "local_weights")
    registry.extend(["local_weights"])
    assert [plugin.name for plugin in registry.plugins].count("local_weights") == 1
    sys.modules.pop("local_weights")


def test_a_plugin_can_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registering: Callable[..., str]):
    (tmp_path / "file_weights.py").write_text(registering("from-file", "file_weights:weight"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry = PluginRegistry.load(modules=[str(tmp_path / "file_weights.py")])
    assert "from-file" in registry.names("step-weight")
    sys.modules.pop("file_weights")


def test_a_module_that_is_not_there_is_an_error_for_who_named_it():
    registry = PluginRegistry.load(modules=["no_such_module_anywhere"])
    with pytest.raises(PluginError, match="no module `no_such_module_anywhere`"):
        registry.require_healthy(["no_such_module_anywhere"])


def test_targets_that_fail_say_why(install):
    install("good-dist", good_plugin=GOOD)
    registry = PluginRegistry.load()
    with pytest.raises(PluginError, match=r"step-weight `gone`.*good-dist.*no attribute `nothing`"):
        registry.build("step-weight", {"type": "gone"})
    with pytest.raises(ValueError, match="inside") as caught:
        registry.build("step-weight", {"type": "fails"})
    assert "while making the step-weight `fails`" in caught.value.__notes__[0]
    with pytest.raises(PluginError, match="no module `absent_package_x`"):
        registry.get("loss", "absent_package_x.losses:Loss").load()


def test_recipes_and_models_are_files_of_a_package(install, registering):
    site = install("files", files_plugin=registering("page", "files_data:recipes/page.toml", plural="recipes"))
    (site / "files_data" / "recipes").mkdir(parents=True)
    (site / "files_data" / "__init__.py").write_text("raise RuntimeError('never imported')")
    registry = PluginRegistry.load()
    with pytest.raises(PluginError, match=r"holds no `recipes/page\.toml`"):
        registry.path("recipe", "page")
    (site / "files_data" / "recipes" / "page.toml").write_text("")
    assert registry.path("recipe", "page") == site / "files_data" / "recipes" / "page.toml"


def test_hooks_are_called_with_their_event(install):
    source = """
from agentdistill import hookimpl
seen = []
@hookimpl
def agentdistill_step_end(event):
    if event.step == 13:
        raise ValueError("unlucky")
    seen.append(event.step)
"""
    install("watch", watch_plugin=source)
    from agentdistill.training.events import StepEnd

    registry = PluginRegistry.load()
    registry.emit(StepEnd(step=4, metrics={}))
    registry.hooks.agentdistill_step_end(event=StepEnd(step=5, metrics={}))
    assert sys.modules["watch_plugin"].seen == [4, 5]
    with pytest.raises(ValueError, match="unlucky") as caught:
        registry.emit(StepEnd(step=13, metrics={}))
    assert "agentdistill_step_end" in caught.value.__notes__[0]
