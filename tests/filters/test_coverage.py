"""The coverage cap: which turns of an episode are kept."""

from __future__ import annotations

import numpy as np
import pytest
from made_episodes import make_episode, random_scores
from made_rewarded import scored

from agentdistill.config.load import load_config
from agentdistill.errors import ConfigError, TrainingError
from agentdistill.plugins import PluginRegistry
from agentdistill.records import LossRole, TeacherScores
from agentdistill.training.methods import Methods
from agentdistill.training.rewarded import filtered
from agentdistill_filters.coverage import CoverageConfig, coverage

pytestmark = pytest.mark.oracle

NAMES = ["coverage", "staleness", "outcomes", "balance", "progress", "truncated"]


def gaps(trajectory, scores) -> list[float]:
    """sum (old - teacher) over each turn, by its span."""
    found = []
    for step in trajectory.steps:
        row, opinion = trajectory.rows[step.row], scores[step.row]
        found.append(float((row.old_logprob - opinion.sampled_logprob)[step.start : step.end].sum()))
    return found


@pytest.mark.parametrize("one_row", [True, False])
@pytest.mark.parametrize("turns", [1, 2, 4, 9])
def test_the_largest_gaps_are_kept(one_row, turns):
    episodes = [make_episode(turns=[(3, 2 + k % 3) for k in range(6)], seed=s, one_row=one_row) for s in range(3)]
    scores = random_scores(episodes)
    kept = coverage(scored(episodes, scores), CoverageConfig(turns=turns))
    for mask, trajectory, opinions in zip(kept, episodes, scores, strict=True):
        best = np.argsort([-g for g in gaps(trajectory, opinions)], kind="stable")[:turns]
        assert np.flatnonzero(mask).tolist() == sorted(best.tolist())


def test_ties_keep_the_earlier_turn():
    episode = make_episode(turns=[(2, 1)] * 4)
    episode.rows[0].old_logprob[episode.rows[0].mask] = -1.0
    (kept,) = coverage(scored([episode], [[_same(episode)]]), CoverageConfig(turns=2))
    assert kept.tolist() == [True, True, False, False]


def _same(episode) -> TeacherScores:
    values = np.full(len(episode.rows[0]), -2.0, dtype=np.float32)
    return TeacherScores(values, np.isfinite(values))


def test_dead_turns_are_not_kept_and_dead_tokens_not_counted():
    episode = make_episode(turns=[(2, 2)] * 3)
    opinion = random_scores([episode])[0][0]
    first, second, third = episode.steps
    opinion.sampled_logprob[first.start : first.end] = np.nan
    opinion.valid[second.start] = False
    opinion.sampled_logprob[second.start + 1] = -100.0
    opinion.sampled_logprob[third.start : third.end] = -1.0
    (kept,) = coverage(scored([episode], [[opinion]]), CoverageConfig(turns=1))
    assert kept.tolist() == [False, True, False]
    (kept,) = coverage(scored([episode], [[opinion]]), CoverageConfig(turns=3))
    assert kept.tolist() == [False, True, True]


def test_first_and_last_need_no_scores():
    episodes = [make_episode(turns=[(2, 1)] * 5)]
    assert coverage(scored(episodes), CoverageConfig(turns=2, rank="first"))[0].tolist() == [True] * 2 + [False] * 3
    assert coverage(scored(episodes), CoverageConfig(turns=2, rank="last"))[0].tolist() == [False] * 3 + [True] * 2
    with pytest.raises(TrainingError, match="nothing was scored"):
        coverage(scored(episodes), CoverageConfig())


def test_imitated_turns_are_neither_counted_nor_dropped():
    roles = [LossRole.IMITATE, LossRole.DISTILL, LossRole.DISTILL]
    episodes = [make_episode(turns=[(2, 1)] * 3, roles=roles)]
    (kept,) = coverage(scored(episodes), CoverageConfig(turns=1, rank="first"))
    assert kept.tolist() == [True, True, False]


def test_filters_stack():
    """The second sees what the first left, and counts only that."""
    episodes = [make_episode(turns=[(2, 1)] * 4)]
    episodes[0].steps[0].info["finish"] = "length"
    registry = PluginRegistry.load()
    filters = {
        "truncated": registry.function("filter", {"type": "truncated"}),
        "coverage": registry.function("filter", {"type": "coverage", "turns": 2, "rank": "first"}),
    }
    (left,), metrics = filtered(filters, scored(episodes))
    assert [s.loss_role is LossRole.DISTILL for s in left.steps] == [False, True, True, False]
    assert metrics["filter/truncated"] == 0.25 and metrics["filter/coverage"] == pytest.approx(1 / 3)
    assert all(s.loss_role is LossRole.DISTILL for s in episodes[0].steps)


@pytest.mark.parametrize("name", NAMES)
def test_every_filter_survives_nothing_and_single_turns(name):
    choose = PluginRegistry.load().function("filter", {"type": name})
    assert list(choose(scored([], []))) == []
    episodes = [make_episode(turns=[(3, 2)]), make_episode(turns=[], seed=1)]
    kept = choose(scored(episodes, random_scores(episodes)))
    assert [k.tolist() for k in kept] == [[True], []] and all(k.dtype == np.bool_ for k in kept)


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({"filter.type": "coverage"}, True),
        ({"filter.type": "coverage", "filter.rank": "first"}, False),
        ({"filter.type": "quota"}, False),
        ({"filter.type": "quota", "filter.at_most": {"teacher": 0.5}}, True),
    ],
)
def test_a_filter_that_looks_at_scores_is_refused_at_start_where_nobody_scores(options, asks):
    registry = PluginRegistry.load(third_party=False)

    def needs(**more):
        return Methods(load_config([], {**options, **more}, registry=registry).config, registry).needs

    assert needs(**{"loss.type": "opd"}) == frozenset()
    if asks:
        with pytest.raises(ConfigError, match="looks at the teacher's scores, and the recipe has no"):
            needs()
    else:
        assert needs() == frozenset()
