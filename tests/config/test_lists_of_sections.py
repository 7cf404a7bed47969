"""Sections that may be given once, [name], or several times, [[name]]."""

import pytest

from agentdistill.config.load import load_config
from agentdistill.errors import ConfigError


def test_one_section_stays_one_in_every_view():
    resolved = load_config([{"reward": {"type": "outcome", "weight": 2.0}}])
    assert [section.weight for section in resolved.config.reward] == [2.0]
    assert resolved.get("reward.weight") == 2.0
    assert "[reward]" in resolved.to_toml()
    assert load_config([], {"step_weight.type": "sod"}).get("step_weight.delta") == 0.2


def test_several_sections_survive_being_written_and_read(tmp_path):
    recipe = {"reward": [{"type": "outcome"}, {"type": "outcome", "weight": 0.5}]}
    resolved = load_config([recipe])
    path = tmp_path / "written.toml"
    path.write_text(resolved.to_toml())
    again = load_config([str(path)])
    assert again.hash == resolved.hash
    assert [section.weight for section in again.config.reward] == [1.0, 0.5]


def test_what_nobody_gave_is_not_there():
    resolved = load_config([])
    assert resolved.config.reward == () and resolved.get("reward") is None and resolved.get("filter") is None
    assert resolved.get("step_weight.type") == "uniform"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"reward": {"type": "outcome", "wieght": 1}}, r"\[reward\] wieght"),
        ({"reward": [{"type": "outcome"}, {"type": "outcome", "weight": "x"}]}, r"\[reward.1\] weight"),
        ({"step_weight": {"delta": 1}}, r"\[step_weight\] type: is missing"),
        ({"step_weight": [{"type": "sod", "delta": -1}]}, r"\[step_weight.0\] delta"),
    ],
)
def test_errors_are_told_at_the_users_own_path(recipe, message):
    with pytest.raises(ConfigError, match=message):
        load_config([recipe])


TWO = {"reward": [{"type": "outcome"}, {"type": "step-penalty", "weight": 0.1}]}


def test_one_of_several_sections_is_overridden_by_its_position():
    resolved = load_config([TWO], {"reward.1.weight": "0.5", "reward.2.type": "score"})
    assert [(r.type, r.weight) for r in resolved.config.reward] == [
        ("outcome", 1.0),
        ("step-penalty", 0.5),
        ("score", 1.0),
    ]
    assert str(resolved.provenance["reward"]) == "given, command line"


def test_another_type_at_a_position_drops_the_options_of_the_old_one():
    resolved = load_config([TWO], {"reward.1.type": "outcome"})
    assert [(r.type, r.weight) for r in resolved.config.reward] == [("outcome", 1.0), ("outcome", 1.0)]


def test_a_single_section_becomes_the_first_of_several():
    resolved = load_config([{"reward": {"type": "outcome", "weight": 2.0}}], {"reward.1.type": "step-penalty"})
    assert [(r.type, r.weight) for r in resolved.config.reward] == [("outcome", 2.0), ("step-penalty", 1.0)]
    fresh = load_config([], {"reward.0.type": "outcome", "reward.1.type": "score"})
    assert [r.type for r in fresh.config.reward] == ["outcome", "score"]


def test_a_position_beyond_the_next_is_refused():
    with pytest.raises(ConfigError, match=r"are 2 sections.*Write reward\.2"):
        load_config([TWO], {"reward.5.type": "outcome"})
