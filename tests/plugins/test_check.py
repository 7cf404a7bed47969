"""The conformance kit finds what it is for."""

from __future__ import annotations

import pytest

from agentdistill.errors import PluginError
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.check import Finding, check_plugins

HEAD = """
import torch
from agentdistill import hookimpl
from agentdistill.plugins import PluginConfig

class C(PluginConfig):
    '''Options.

    Attributes:
        x: a number,
            over two lines.
    '''
    x: float = 1.0
"""


def findings_of(install, body: str, plural: str, names: str = "thing") -> list[Finding]:
    hook = f"""
@hookimpl
def agentdistill_register_{plural}(register):
    register("{names}", "toy_checked:thing", config="toy_checked:C", summary="a thing")
"""
    install("toy-checked", toy_checked=HEAD + body + hook)
    return check_plugins(PluginRegistry.load(), ["toy_checked"])


def test_our_own_methods_pass():
    registry = PluginRegistry.load()
    methods = [plugin.name for plugin in registry.plugins if plugin.first_party and not _has_models(plugin)]
    assert "step_weights" in methods
    assert [finding for finding in check_plugins(registry, methods) if finding.level != "ok"] == []


def _has_models(plugin) -> bool:
    return any(kind == "model" for kind, _ in plugin.provided)


def test_a_good_step_weight_passes(install):
    body = "def thing(steps, config: C):\n    return config.x ** steps.index.float()\n"
    findings = findings_of(install, body, "step_weights")
    warnings = [finding.message for finding in findings if finding.level != "ok"]
    # The module of these tests imports torch; a plugin for others leaves that to its targets.
    assert len(warnings) == 1 and "importing `toy_checked` imports `torch`" in warnings[0]


@pytest.mark.parametrize(
    ("plural", "body", "message"),
    [
        ("step_weights", "def thing(steps, config): return [1.0]", "returned a list"),
        ("step_weights", "def thing(steps, config): return torch.ones(3)", r"shape \[3\] for input of \[3, 4\]"),
        ("step_weights", "def thing(steps, config): return steps.index", "returned torch.int64"),
        ("step_weights", "def thing(steps, config): return torch.log(steps.log_ratio)", "not finite"),
        ("step_weights", "def thing(steps, config): return -torch.ones(3, 4)", "negative"),
        ("step_weights", "def thing(steps, config): return torch.rand(3, 4)", "other weights when asked again"),
        (
            "step_weights",
            "def thing(steps, config):\n    steps.log_ratio.zero_()\n    return torch.ones(3, 4)",
            "changed its input `log_ratio`",
        ),
        ("step_weights", "def thing(): ...", "no positional argument"),
        ("step_weights", "thing = 3", "cannot be called"),
        ("step_weights", "def thing(steps, config): return steps.nothing", "AttributeError"),
        ("step_weights", "def other(steps, config): ...", "no attribute `thing`"),
        ("token_weights", "def thing(tokens, config): return torch.ones(2)", r"shape \[2\]"),
        ("rewards", "def thing(trajectory, config): return [0.0, 1.0]", r"shape \[2\] for an episode of 3 steps"),
        ("engines", "def thing(config, modle): ...", "asks for `modle`, which it is not given"),
        ("losses", "class thing:\n    def __init__(self, config): ...", "is no agentdistill.learner.losses.Loss"),
        (
            "trackers",
            "class thing:\n    def __init__(self, config, directory): ...\n    def log(self, s, m): 1 / 0",
            "ZeroDivisionError",
        ),
        ("commands", "thing = print", "not a click command"),
    ],
)
def test_a_bad_plugin_is_found_out(install, plural, body, message):
    import re

    errors = [finding for finding in findings_of(install, body, plural) if finding.level == "error"]
    assert len(errors) == 1 and re.search(message, errors[0].message), errors


CURRICULUM = """
from agentdistill.records import EpisodePlan
class thing:
    def __init__(self, config): self.seen = 0
    needs = frozenset()
    def plan(self, task, progress): return EpisodePlan(horizon={horizon})
    def observe(self, metrics): self.seen += 1
    def state_dict(self): return {state}
    def load_state_dict(self, state): self.seen = state["seen"]
"""


@pytest.mark.parametrize(
    ("horizon", "state", "message"),
    [
        ("0", "{'seen': self.seen}", "horizon of 0"),
        ("1 + self.seen", "{'seen': 0}", "a restored copy plans other episodes"),
        ("1", "{'seen': object()}", "not JSON serializable"),
    ],
)
def test_a_curriculum_must_survive_a_restart(install, horizon, state, message):
    findings = findings_of(install, CURRICULUM.format(horizon=horizon, state=state), "curricula")
    assert any(finding.level == "error" and message in finding.message for finding in findings), findings


def test_a_context_that_loses_the_task_is_found_out(install):
    body = """
from agentdistill.conversation.base import Message, ParsedAction
class thing:
    prompt_hash = "x"
    def __init__(self, config): ...
    def messages(self, situation):
        first = situation.task + " " if not situation.steps else ""
        return [Message("user", first + situation.observation)]
    def parse(self, response): return ParsedAction(response, bool(response))
    def render_action(self, action): return action
"""
    findings = findings_of(install, body, "contexts")
    assert any("turn 1 does not contain the task" in finding.message for finding in findings)


def test_courtesies_are_warnings(install):
    source = """
from agentdistill import hookimpl
from agentdistill.plugins import PluginConfig
class Bare(PluginConfig):
    x: float = 1.0
def weight(steps, config): return steps.mask.float()
@hookimpl
def agentdistill_register_step_weights(register):
    register("bare", "toy_bare:weight", config="toy_bare:Bare")
"""
    install("toy-bare", toy_bare=source)
    findings = check_plugins(PluginRegistry.load(), ["toy_bare"])
    warnings = [finding.message for finding in findings if finding.level == "warning"]
    assert any("no summary" in text for text in warnings)
    assert any("does not describe `x`" in text for text in warnings)
    assert not [finding for finding in findings if finding.level == "error"]


def test_a_clash_is_an_error_of_the_kit(install, registering):
    install("first-dist", first_plugin=registering("same", "a:b"))
    install("second-dist", second_plugin=registering("same", "c:d"))
    findings = check_plugins(PluginRegistry.load(), ["first_plugin"])
    assert any(finding.level == "error" and "second-dist" in finding.message for finding in findings)


def test_an_unknown_name_is_an_error():
    with pytest.raises(PluginError, match=r"no plugin or module `step_weight`\. Did you mean `step_weights`"):
        check_plugins(PluginRegistry.load(), ["step_weight"])
