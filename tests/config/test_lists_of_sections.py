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
