"""The environment: contract, goals, splits, expert, and hostile input."""

from __future__ import annotations

import time

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentdistill  # noqa: F401 - registers the id
from agentdistill.envs.check import check_environment
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill.plugins.check import check_plugins
from agentdistill_webshop.config import GeneratedConfig, WebshopConfig
from agentdistill_webshop.env import WebshopEnv
from agentdistill_webshop.generate.rows import GeneratedRows, make_asin
from agentdistill_webshop.panels import test_goals as goals_of_test
from agentdistill_webshop.shop import SEARCH_HINT, Visit, parse_action
from agentdistill_webshop.source import WebshopSource


def shop_with(shop, **options):
    return WebshopSource(shop.config.model_copy(update=options))


def expert_episode(env, task):
    """Plays an episode with the expert: rewards and the last info."""
    _, info = env.reset(options={"task": task, "expert": True})
    rewards, over = [], False
    while not over:
        _, reward, over, _, info = env.step(info["expert_action"])
        rewards.append(reward)
    return rewards, info


@pytest.mark.parametrize("observation", ["text", "text_rich"])
def test_every_check_passes(shop, observation):
    results = check_environment(shop_with(shop, observation=observation), "test")
    assert [result for result in results if not result.passed] == []


def test_the_plugin_passes_the_conformance_kit():
    findings = check_plugins(PluginRegistry.load(), ["agentdistill_webshop"])
    assert [finding for finding in findings if finding.level != "ok"] == []


def test_gymnasium_makes_it_by_name():
    env = gymnasium.make("agentdistill/WebShop-v0", split="test", generated=GeneratedConfig(products=420))
    observation, info = env.reset(seed=3)
    assert observation.startswith("WebShop [SEP] Instruction: [SEP] ") and observation.endswith(" [SEP] Search")
    assert info["admissible_actions"][0] == SEARCH_HINT and info["split"] == "test"
    env.close()


def test_the_expert_reaches_every_generated_goal_it_is_tried_on(shop):
    env, tasks = shop.make(), shop.tasks("test")
    for task in tasks[::10]:
        rewards, info = expert_episode(env, task)
        assert rewards[-1] == 1.0 and info["won"] and info["score"] == 1.0, task
        assert not any(rewards[:-1]) and len(rewards) <= 15
    assert shop.unreachable("test") == []


def test_the_expert_reaches_synthetic_goals_too(shop):
    source = shop_with(shop, goals="synthetic")
    env, tasks = source.make(), source.tasks("test")
    assert all(expert_episode(env, task)[1]["won"] for task in tasks[::25])


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_the_expert_recovers_from_anything(shop, seed):
    """After a random walk, wherever it led."""
    import random

    rng = random.Random(seed)
    env, tasks = shop.make(), shop.tasks("train")
    _, info = env.reset(options={"task": tasks[rng.randrange(len(tasks))], "expert": True})
    for _ in range(12):
        offered = [action for action in info["admissible_actions"] if action != "click[buy now]"]
        *_, info = env.step(rng.choice([*offered, "search[gift]", "nonsense"]))
    steps = 0
    while not info["won"] and steps < 15:
        *_, info = env.step(info["expert_action"])
        steps += 1
    assert info["won"]


def test_a_wrong_purchase_is_scored_and_not_won(shop):
    env, task = shop.make(), shop.tasks("test")[0]
    env.reset(options={"task": task})
    env.step("search[granola bars herbal tea coffee]")
    first = next(name for name in env.visit.clicks if name.startswith("b0"))
    env.step(f"click[{first}]")
    observation, reward, terminated, truncated, info = env.step("click[buy now]")
    assert terminated and not truncated and not info["won"] and 0 <= reward < 1
    assert info["score"] == reward == info["score_details"]["reward"] and info["admissible_actions"] == []
    assert observation.startswith("Thank you for shopping with us!")
    with pytest.raises(EnvironmentFailure, match="over"):
        env.step("click[buy now]")


def test_the_step_limit_truncates(shop):
    env = shop_with(shop, step_limit=2).make()
    env.reset(seed=0)
    assert env.step("nonsense")[2:4] == (False, False)
    assert env.step("nonsense")[2:4] == (False, True)


def test_splits_follow_the_protocols(shop):
    spans = {name: shop.tasks(name).span for name in ("test", "eval", "train")}
    assert spans == {"test": range(0, 500), "eval": range(500, 1500), "train": range(1500, 1680)}
    other = shop_with(shop, protocol="verl-agent")
    assert other.tasks("train").span == range(500, 1680)
    with pytest.raises(DataError, match="no split `eval` under the protocol `verl-agent`"):
        other.tasks("eval")
    with pytest.raises(DataError, match="1680 human goals"):
        shop_with(shop, protocol="tcod").tasks("train")
    assert len(shop_with(shop, protocol="all").tasks("eval")) == 1680
    with pytest.raises(DataError, match="Did you mean"):
        shop.tasks("tets")


def test_the_panel_has_500_goals_and_says_what_makes_numbers_incomparable(shop):
    panel = goals_of_test(shop, PluginConfig())
    assert panel.name == "webshop/test" and len(panel.tasks) == 500
    facts = panel.provenance
    assert (facts["protocol"], facts["success"], facts["unreachable"]) == ("webshop", "reward == 1", 0)
    assert facts["nouns"] and facts["goals"]["kind"] == "human" and facts["observation"] == "text"
    assert panel.hash == goals_of_test(WebshopSource(shop.config), PluginConfig()).hash


def test_prices_and_limits_are_the_same_for_a_seed_and_differ_for_another(shop):
    again, other = WebshopSource(shop.config), shop_with(shop, seed=1)
    goals = [[source.book.goal(n) for n in range(80)] for source in (shop, again, other)]
    assert goals[0] == goals[1] != goals[2]
    for goal in goals[0]:
        price = shop.catalogue.price(goal.place)
        assert price < goal.price_upper <= price + 40 or goal.price_upper == 1e6
        assert goal.instruction.endswith(f", and price lower than {goal.price_upper:.2f} dollars")


def test_a_larger_generated_catalogue_begins_with_a_smaller_one():
    small, large = list(GeneratedRows(5, 1).items()), list(GeneratedRows(9, 1).items())
    assert large[:5] == small and list(GeneratedRows(5, 2).items()) != small
    assert len({make_asin(0, number) for number in range(20_000)}) == 20_000


@pytest.mark.parametrize(
    ("action", "parsed"),
    [
        ("search[red shoes]", ("search", "red shoes")),
        (" click[< prev]\n", ("click", "< prev")),
        ("search[a] and more", ("search", "a")),
        ("click[black [2 pack]]", ("click[black ", "2 pack]")),
        ("search[a][b]", ("search[a]", "b")),
        ("search[]", ("search[]", None)),
        ("[x]", ("[x]", None)),
        ("search[a\nb]", ("search[a\nb]", None)),
        ("search", ("search", None)),
        ("", ("", None)),
    ],
)
def test_actions_are_read_as_the_authors_read_them(action, parsed):
    assert parse_action(action) == parsed


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="[]ab\n ", max_size=14))
def test_reading_actions_agrees_with_the_authors_expression(action):
    import re

    found = re.match(r"(.+)\[(.+)\]", action.strip())
    assert parse_action(action) == (found.groups() if found else (action, None))


@pytest.mark.parametrize("unit", ["[", "]", "a", "search[", "☕", "[a]", "\n", "click[b", "shoe "])
def test_an_action_of_a_megabyte_is_answered_at_once(shop, unit):
    env = shop.make()
    env.reset(seed=0)
    for action in (unit * (1_000_000 // len(unit)), f"search[{unit * (1_000_000 // len(unit))}]"):
        started = time.process_time()
        observation, *_ = env.step(action)
        assert time.process_time() - started < 2.0 and len(observation) < 20_000
    assert env.step("search[shampoo]")[4]["valid"]


@settings(deadline=None, max_examples=120)
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=40), max_size=6))
def test_any_unicode_is_survived(shop, texts):
    env = shop.make()
    env.reset(seed=1)
    for text in texts:
        for action in (text, f"search[{text}]", f"click[{text}]"):
            observation, _, terminated, _, info = env.step(action)
            assert observation in env.observation_space and not terminated
            assert all(offered in env.action_space for offered in info["admissible_actions"])


def test_wrong_uses_are_explained(shop):
    env = shop.make()
    with pytest.raises(EnvironmentFailure, match="reset"):
        env.step("search[x]")
    with pytest.raises(ConfigError, match="Did you mean `expert`"):
        env.reset(options={"expertt": True})
    with pytest.raises(DataError, match="human-99999"):
        env.reset(options={"task": "human-99999"})
    with pytest.raises(DataError, match="synthetic-00001"):
        env.reset(options={"task": "synthetic-00001"})
    with pytest.raises(ConfigError, match="Did you mean `observation`"):
        WebshopEnv(observatoin="text")
    with pytest.raises(ConfigError, match="no spaCy model"):
        assert shop_with(shop, nouns="no_such_model").tagger


def test_a_goal_that_cannot_be_reached_is_counted_and_still_shopped_for(transcripts, transcript_files):
    config = WebshopConfig(data=str(transcript_files), protocol="all", split="test")
    source = WebshopSource(config)
    keys = source.unreachable("test")
    assert 0 < len(keys) < len(source.tasks("test"))
    panel = goals_of_test(source, PluginConfig())
    assert panel.provenance["unreachable"] == len(keys)
    env = source.make()
    rewards, info = expert_episode(env, source.task(keys[0]))
    assert 0 <= rewards[-1] < 1 and not info["won"]


def test_synthetic_goals_are_drawn_by_their_weights(shop):
    source = shop_with(shop, goals="synthetic")
    weights = source.book.weights(source.tasks("train").span)
    assert weights is not None and weights.min() > 0 and len(weights) == len(source.tasks("train"))
    assert shop.book.weights(shop.tasks("train").span) is None
    env = source.make()
    first = [env.reset(seed=seed)[1]["task_key"] for seed in range(5)]
    assert first == [env.reset(seed=seed)[1]["task_key"] for seed in range(5)] and len(set(first)) > 1


def test_a_visit_goes_back_and_forth(shop):
    visit = Visit(shop.catalogue, shop.book.goal(0), shop.tagger[1])
    assert visit.act("search[size]") and len(visit.results) == 50
    assert list(visit.clicks)[:2] == ["back to search", "next >"]
    assert visit.act("click[Next >]") and visit.number == 2 and list(visit.clicks)[1] == "< prev"
    link = f"click[{shop.catalogue.product(visit.shown[3]).asin}]"
    assert visit.act(link) and visit.page == "item"
    assert visit.act("click[features]") and visit.page == "sub" and not visit.act("click[buy now]")
    assert visit.act("click[< prev]") and visit.page == "item"
    assert visit.act("click[< prev]") and visit.page == "results" and visit.number == 2
    for _ in range(6):
        assert visit.act("click[next >]")
    assert visit.shown == () and "Page 8 (Total results: 50)" in visit.observation()
    assert visit.act("click[back to search]") and not visit.act("click[search]")
