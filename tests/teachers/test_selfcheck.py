"""The start-up checks catch what they are for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from made_episodes import make_episode
from tiny import CHAT_TEMPLATE, tiny_model, tiny_tokenizer

from agentdistill.errors import TokenizationError, TrainingError
from agentdistill.records import StopReason
from agentdistill.teachers.selfcheck import check_same_tokenizer, check_self_score

TURNS = [(6, 3), (2, 5), (3, 1)]


@pytest.fixture(scope="module")
def student():
    return tiny_model(0)


@pytest.fixture
def played(student):
    episodes = [make_episode(student, TURNS[: 1 + i], seed=i, one_row=i != 1) for i in range(3)]
    return [*episodes, make_episode(seed=9, stop=StopReason.ABORTED)]


def test_a_student_reproduces_its_own_rollouts(student, played):
    result = check_self_score(student, played)
    assert result.tokens == 3 + 8 + 9 and result.max_abs < 1e-5 and result.tolerance == 1e-3
    assert str(result).startswith("self-score |Δ| ") and str(result).endswith("over 20 tokens")


def _shift(row):
    row.old_logprob[row.mask] = np.roll(row.old_logprob[row.mask], 1)


def _temperature(row):
    row.old_logprob[row.mask] /= 0.7


def _nan(row):
    row.old_logprob[np.flatnonzero(row.mask)[0]] = np.nan


@pytest.mark.parametrize("fault", [_shift, _temperature, _nan])
def test_faults_are_caught_and_the_episode_is_named(student, played, fault):
    fault(played[2].rows[0])
    with pytest.raises(TrainingError, match="does not reproduce") as caught:
        check_self_score(student, played)
    assert "train/seed-2" in str(caught.value)


def test_stale_weights_are_caught(student, played):
    stale = copy.deepcopy(student)
    with torch.no_grad():
        for p in stale.parameters():
            p.mul_(1.01)
    with pytest.raises(TrainingError, match="other weights"):
        check_self_score(stale, played)


def test_sixteen_bit_models_get_a_wider_tolerance(student, played):
    low = copy.deepcopy(student).bfloat16()
    assert check_self_score(low, played).tolerance == 0.15


def test_nothing_to_compare_is_an_error(student, played):
    with pytest.raises(TrainingError, match="no token sampled"):
        check_self_score(student, played[3:])


def test_equal_tokenizers_pass_and_a_teacher_without_one_is_not_asked():
    check_same_tokenizer(tiny_tokenizer(), tiny_tokenizer())
    check_same_tokenizer(tiny_tokenizer(), None)


def test_other_ids_of_the_same_size_are_refused():
    other = tiny_tokenizer()
    vocab = other.get_vocab()
    a, b = "A", "B"
    swapped = {a: vocab[b], b: vocab[a]}

    class Swapped:
        def __getattr__(self, name):
            return getattr(other, name)

        def get_vocab(self):
            return vocab | swapped

    with pytest.raises(TokenizationError, match="2 of 259"):
        check_same_tokenizer(tiny_tokenizer(), Swapped())


def test_other_templates_are_refused():
    with pytest.raises(TokenizationError, match="template"):
        check_same_tokenizer(tiny_tokenizer(), tiny_tokenizer(CHAT_TEMPLATE + " "))


def test_other_segmentation_is_refused():
    other = tiny_tokenizer()

    class Reversed:
        def __getattr__(self, name):
            return getattr(other, name)

        def __call__(self, text, **options):
            return {"input_ids": other(text, **options)["input_ids"][::-1]}

    with pytest.raises(TokenizationError, match="cuts text differently"):
        check_same_tokenizer(tiny_tokenizer(), Reversed())
