from __future__ import annotations

from collections import Counter

from agentdistill.training.data import episode_seed, indices_of_step


def test_an_epoch_visits_every_item_once_in_an_order_of_its_own() -> None:
    flat = [i for step in range(10) for i in indices_of_step(20, 4, step, seed=5)]
    assert Counter(flat[:20]) == Counter(range(20)) == Counter(flat[20:])
    assert flat[:20] != flat[20:] != sorted(flat[20:])


def test_a_step_may_straddle_epochs_and_exceed_them() -> None:
    flat = [i for step in range(3) for i in indices_of_step(5, 7, step, seed=0)]
    for epoch in range(4):
        assert sorted(flat[5 * epoch : 5 * epoch + 5]) == list(range(5))


def test_a_step_is_a_function_of_seed_and_step_alone() -> None:
    assert indices_of_step(50, 8, 3, seed=1) == indices_of_step(50, 8, 3, seed=1)
    assert indices_of_step(50, 8, 3, seed=1) != indices_of_step(50, 8, 3, seed=2)


def test_episode_seeds_are_distinct() -> None:
    seeds = {episode_seed(s, n, k, j) for s in range(3) for n in range(10) for k in range(10) for j in range(3)}
    assert len(seeds) == 900
