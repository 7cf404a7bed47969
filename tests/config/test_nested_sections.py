"""Sections of plugins inside the options of plugins: checked when a recipe is read, at the user's own path."""

import pytest

from agentdistill.config.load import load_config
from agentdistill.errors import ConfigError

MIXED = {
    "teacher": {
        "type": "mixture",
        "members": {"big": {"type": "local", "model": "m"}, "rules": {"type": "expert", "cache": "on"}},
    }
}
SHOWN = {"teacher": {"type": "privileged", "view": {"type": "sdpo"}, "teacher": {"type": "self", "rate": 0.1}}}


@pytest.mark.parametrize(
    ("recipe", "overrides", "error"),
    [
        (MIXED, {"teacher.members.big.modle": "x"}, r"\[teacher\.members\.big\] modle .*Did you mean `model`\?"),
        (MIXED, {"teacher.members.big.cache": "often"}, r"\[teacher\.members\.big\] cache .*'off', 'on' or 'only'"),
        (MIXED, {"teacher.members.new.model": "x"}, r"\[teacher\.members\.new\] type: is missing"),
        (MIXED, {"teacher.members.big.type": "lokal"}, r"\[teacher\.members\.big\] type .*Did you mean `local`\?"),
        (
            {"teacher": {"type": "route", "default": "bok", "members": {"book": {"type": "expert"}}}},
            {},
            r"\[teacher\].*: `default` names the teacher `bok`; the members are `book`\. Did you mean `book`\?",
        ),
        (SHOWN, {"teacher.view.treshold": "1"}, r"\[teacher\.view\] treshold .*Did you mean `threshold`\?"),
        (SHOWN, {"teacher.teacher.rate": "2"}, r"\[teacher\.teacher\] rate .*less than or equal to 1"),
        (
            {"teacher": {"type": "cross", "teacher": {"type": "mixture", "members": {"a": {"type": "local"}}}}},
            {},
            r"\[teacher\.teacher\.members\.a\] model: is missing",
        ),
        (
            {"env": {"type": "alfworld", "context": {"type": "retrieval", "store": "x"}}},
            {"env.context.context.type": "window", "env.context.context.stps": "3"},
            r"\[env\.context\.context\] stps .*Did you mean `steps`\?",
        ),
        (
            {"engine": {"type": "cascade", "teacher": {"model": "m", "sampler": {"type": "hf", "cash": 1}}}},
            {},
            r"\[engine\.teacher\.sampler\] cash .*unknown key",
        ),
    ],
)
def test_a_wrong_option_of_an_inner_plugin_is_told_at_its_own_path(recipe, overrides, error):
    with pytest.raises(ConfigError, match=error):
        load_config([recipe], overrides)


def test_defaults_of_inner_plugins_are_filled_in_and_say_whose_they_are(tmp_path):
    resolved = load_config([SHOWN])
    assert resolved.get("teacher.teacher.weights") == "frozen"
    assert str(resolved.provenance["teacher.teacher.weights"]) == "plugin default of self"
    assert str(resolved.provenance["teacher.teacher.rate"]) == "given"
    assert str(resolved.provenance["teacher.view.feedback"]) == "plugin default of sdpo"
    written = tmp_path / "again.toml"
    written.write_text(resolved.to_toml())
    assert load_config([str(written)]).hash == resolved.hash


def test_another_inner_type_drops_the_options_of_the_old_one():
    resolved = load_config([SHOWN], {"teacher.teacher.type": "local", "teacher.teacher.model": "m"})
    assert "rate" not in resolved.get("teacher.teacher")
    assert resolved.get("teacher.view.type") == "sdpo"


def test_what_may_be_spent_and_where_scores_lie_is_not_what_a_run_is():
    judge = {"type": "llm-judge", "url": "http://x/v1", "model": "m", "price_in": 1.0, "price_out": 1.0, "budget": 1.0}
    chat = {"type": "chat", "url": "http://x/v1", "model": "m", "price_in": 1.0, "price_out": 1.0, "budget": 1.0}
    teacher = {
        "type": "route",
        "default": "a",
        "act": "b",
        "members": {"a": {"type": "local", "model": "m"}, "b": chat},
    }
    recipe = {"reward": [{"type": "outcome"}, judge], "teacher": teacher}
    base = load_config([recipe])
    more = load_config(
        [recipe],
        {"reward.1.budget": "5", "teacher.members.b.budget": "5", "teacher.members.a.cache": "on"},
    )
    assert more.hash == base.hash and more.differences(base.values) == []
    other = load_config([recipe], {"reward.1.weight": "0.5"})
    assert other.hash != base.hash and other.differences(base.values) == ["reward"]
