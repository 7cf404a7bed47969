"""A teacher with another tokenizer: spans of the same bytes carry scores, the same bits where tokens are the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_conversations import TURNS, append, conversation, loaded, spelled, window
from made_episodes import make_episode, naive_logprobs
from made_tokenizers import CHATML, THINKING, byte_level, sentence_piece, word_level, word_piece

from agentdistill.conversation.template import renderer_for
from agentdistill.errors import ConfigError, TokenizationError, TrainingError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest
from agentdistill.teachers.crossed import CrossTeacher
from agentdistill_teachers.cross import CrossConfig, cross_teacher
from agentdistill_teachers.local import LocalConfig, LocalTeacher

CONTEXTS = {"append": append, "window": window}


def local(model: LoadedModel, **options) -> LocalTeacher:
    return LocalTeacher(LocalConfig(model="tiny", **options), model)


def cross(student: LoadedModel, inner, context, **options) -> CrossTeacher:
    renderer = renderer_for(student.tokenizer, context)
    return CrossTeacher(inner, student, context=context, renderer=renderer, **options)


@pytest.fixture(scope="module")
def student():
    return loaded(word_level(), 1)


@pytest.fixture(scope="module")
def other():
    return loaded(byte_level(), 2, hidden=96)


def text_logprob(model: LoadedModel, before: str, response: str) -> float:
    """The naive way: tokenise prompt and response, one full forward pass, add up."""
    prompt = model.tokenizer.encode(before, add_special_tokens=False)
    ids = prompt + model.tokenizer.encode(response, add_special_tokens=False)
    with torch.no_grad():
        return float(naive_logprobs(model.model, ids)[len(prompt) :].double().sum())


def rendered(model: LoadedModel, context, episode, position: int) -> str:
    """What the teacher's template makes of the messages before a turn."""
    from agentdistill.conversation.base import Situation

    step = episode.steps[position]
    situation = Situation(
        episode.meta["goal"], step.observation, step.info["admissible_actions"], episode.steps[:position]
    )
    messages = [{"role": m.role, "content": m.content} for m in context.messages(situation)]
    return model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.mark.oracle
@pytest.mark.parametrize("policy", CONTEXTS)
@pytest.mark.parametrize("share", ["surprise", "bytes"])
def test_a_response_has_the_log_probability_of_its_text(student, other, policy, share):
    context = CONTEXTS[policy]()
    episode = conversation(student, context)
    (scores,) = cross(student, local(other), context, share=share).score([episode], ScoreRequest())
    for position, step in enumerate(episode.steps):
        expected = text_logprob(other, rendered(other, context, episode, position), step.response)
        got = scores[step.row].sampled_logprob[step.start : step.end - 1].astype(np.float64)
        assert np.isfinite(got).all() and (got <= 0).all()
        assert got.sum() == pytest.approx(expected, abs=1e-4)
        assert np.isnan(scores[step.row].sampled_logprob[step.end - 1])


@pytest.mark.parametrize("policy", CONTEXTS)
def test_everything_but_responses_is_nan_and_invalid(student, other, policy):
    context = CONTEXTS[policy]()
    episode = conversation(student, context, cut=[1])
    (scores,) = cross(student, local(other), context).score([episode], ScoreRequest())
    for row, opinion in zip(episode.rows, scores, strict=True):
        assert np.array_equal(opinion.valid, np.isfinite(opinion.sampled_logprob))
        assert not opinion.valid[~row.mask].any()
        assert opinion.valid[row.mask & (row.token_ids != student.tokenizer.eos_token_id)].all()


@pytest.mark.oracle
def test_spans_share_by_surprise_and_single_tokens_keep_their_number(student, other):
    context = append()
    episode = conversation(student, context, [TURNS[0]])
    inner = local(other)
    teacher = cross(student, inner, context)
    (scores,) = teacher.score([episode], ScoreRequest())
    row, opinion, step = episode.rows[0], scores[0], episode.steps[0]
    starts = np.flatnonzero(opinion.span[step.start : step.end - 1] == 0) + step.start
    for begin, end in zip(starts, [*starts[1:], step.end - 1], strict=True):
        ratio = opinion.sampled_logprob[begin:end] / row.old_logprob[begin:end]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
        assert opinion.rest[begin] <= 0


@pytest.mark.parametrize("policy", CONTEXTS)
def test_the_same_tokenizer_is_passed_through_to_the_bit(policy):
    same = loaded(byte_level(), 3)
    teacher_model = loaded(byte_level(), 4)
    context, inner = CONTEXTS[policy](), local(teacher_model)
    # Also for tokens that the tokenizer itself would not have chosen.
    unusual = spelled(same.tokenizer, "go to desk 1")
    episode = conversation(same, context, responses=[unusual], cut=[2])
    request = ScoreRequest(top_k=3, hidden=True, entropy=True, confidence=True)
    teacher = cross(same, inner, context)
    assert teacher.plain and teacher.capabilities == inner.capabilities and teacher.fingerprint == inner.fingerprint
    assert teacher.student_ids() is None
    (got,), (plain,) = teacher.score([episode], request), inner.score([episode], request)
    for a, b in zip(got, plain, strict=True):
        for name in ("sampled_logprob", "valid", "topk_ids", "topk_logprobs", "entropy", "confidence"):
            assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name not in ("topk_ids", "valid"))
        assert torch.equal(a.hidden.states, b.hidden.states) and a.span is None and a.rest is None


@pytest.mark.parametrize("policy", CONTEXTS)
@pytest.mark.parametrize("family", [byte_level, word_level])
def test_aligning_identical_tokenizers_gives_the_same_bits_too(policy, family):
    """The whole way round, rendering, scoring, aligning and sharing, changes nothing where tokens are the same."""
    same, teacher_model = loaded(family(), 3), loaded(family(), 4)
    context, inner = CONTEXTS[policy](), local(teacher_model)
    episode = conversation(same, context)
    teacher = cross(same, inner, context, always=True, terminators="map")
    assert not teacher.plain
    request = ScoreRequest(hidden=True)
    (got,), (plain,) = teacher.score([episode], request), inner.score([episode], request)
    for a, b in zip(got, plain, strict=True):
        assert np.array_equal(a.sampled_logprob, b.sampled_logprob, equal_nan=True)
        assert np.array_equal(a.valid, b.valid)
        assert torch.equal(a.hidden.positions, b.hidden.positions) and torch.equal(a.hidden.states, b.hidden.states)
        assert not a.span.any() and not a.rest.any()
    ids = teacher.student_ids()
    met = np.flatnonzero(ids >= 0)
    assert np.array_equal(ids[met], met) and same.tokenizer.eos_token_id in met
    assert len(met) >= len(same.tokenizer) - 2 - 128  # special tokens, and letters that are bytes as well


def test_the_starters_with_themselves_are_the_plain_path():
    registry = PluginRegistry.load(third_party=False)
    from agentdistill.models import load_model

    student = load_model("starter-35", registry=registry)
    context = append()
    renderer = renderer_for(student.tokenizer, context)
    parts = {"student": student, "context": context, "renderer": renderer, "registry": registry}
    options = {"type": "local", "model": "starter-teacher"}
    plain = registry.build("teacher", options, "teacher", **parts)
    through = registry.build("teacher", {"type": "cross", "teacher": options}, "teacher", **parts)
    aligned = registry.build(
        "teacher", {"type": "cross", "teacher": options, "align": "always", "terminators": "map"}, "teacher", **parts
    )
    turns = [(f"You arrive at desk {n}. On the desk {n}, you see a mug {n}.", f"go to desk {n}") for n in range(1, 5)]
    episode = conversation(student, context, turns)
    (expected,) = plain.score([episode], ScoreRequest())
    for teacher in (through, aligned):
        (got,) = teacher.score([episode], ScoreRequest())
        assert np.array_equal(got[0].sampled_logprob, expected[0].sampled_logprob, equal_nan=True)
        assert got[0].valid[episode.rows[0].mask].all()
    assert not aligned.metrics()["mismatch"] and "mismatch" not in through.metrics()


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (word_level, sentence_piece),
        (sentence_piece, word_level),
        (byte_level, sentence_piece),
        (lambda: byte_level(300), byte_level),
        (word_level, word_piece),
    ],
)
def test_every_family_teaches_every_other(mine, theirs):
    student, other, context = loaded(mine(), 1), loaded(theirs(), 2), append()
    episode = conversation(student, context, TURNS[:2] if theirs is not word_piece else TURNS)
    teacher = cross(student, local(other), context)
    (scores,) = teacher.score([episode], ScoreRequest())
    assert not teacher.plain
    shares = teacher.metrics()
    if theirs is word_piece:  # it writes spaces of its own around tags, and knows no Japanese
        assert 0.0 < shares["mismatch"] < 1.0
        return
    assert shares["mismatch"] == 0.0 and shares["terminators"] > 0
    assert scores[0].valid[episode.rows[0].mask].sum() == episode.rows[0].mask.sum() - 2
    assert not teacher.metrics()  # counted anew


def test_tokens_the_student_chose_unusually_are_scored_as_their_text(student, other):
    context = append()
    usual = conversation(student, context, [TURNS[0]])
    unusual = conversation(student, context, [TURNS[0]], responses=[spelled(student.tokenizer, TURNS[0][1])])
    teacher = cross(student, local(other), context)
    (a,), (b,) = teacher.score([usual, unusual], ScoreRequest())
    total = [float(np.nansum(s.sampled_logprob.astype(np.float64))) for s in (a, b)]
    assert total[0] == pytest.approx(total[1], abs=1e-5)
    assert b.valid.sum() > a.valid.sum() and b.span.max() > 0


def test_a_template_that_adds_thoughts_does_not_break_the_alignment(student):
    """Qwen's way: an empty thought in the prompt that is not in the history, so that every turn is a row."""
    thinking = loaded(byte_level(420, THINKING), 2)
    context = append()
    episode = conversation(student, context)
    teacher = cross(student, local(thinking), context)
    assert not teacher.renderer.incremental
    (scores,) = teacher.score([episode], ScoreRequest())
    assert teacher.metrics()["mismatch"] == 0.0
    for position, step in enumerate(episode.steps):
        expected = text_logprob(thinking, rendered(thinking, context, episode, position), step.response)
        assert "<think>\n\n</think>" in rendered(thinking, context, episode, position)
        got = scores[0].sampled_logprob[step.start : step.end - 1].astype(np.float64).sum()
        assert got == pytest.approx(expected, abs=1e-4)
    (line,) = [line for line in teacher.check([episode]) if "rows" in line]
    assert line == "reads 4 rows where the student has 1"


def test_a_template_variable_reaches_the_teacher(student):
    asked = CHATML.replace(
        "{{ '<|im_start|>assistant\n' }}", "{{ '<|im_start|>assistant\n' + ('<think>' if thinking else '') }}"
    )
    model, context = loaded(byte_level(420, asked), 2), append()
    episode = conversation(student, context, [TURNS[0]])
    plain, thinking = (
        cross(student, local(model), context, template={"thinking": on}).score([episode], ScoreRequest())[0][0]
        for on in (False, True)
    )
    assert plain.valid.sum() == thinking.valid.sum()
    assert not np.array_equal(plain.sampled_logprob, thinking.sampled_logprob, equal_nan=True)


def test_a_template_that_trims_leaves_the_white_space_without_a_score(student):
    trimming = CHATML.replace("m['content']", "m['content'] | trim")
    model, context = loaded(byte_level(420, trimming), 2), append()
    episode = conversation(student, context, [(TURNS[0][0], "go to desk 1"), (TURNS[1][0], " open drawer 2\n")])
    teacher = cross(student, local(model), context)
    (scores,) = teacher.score([episode], ScoreRequest())
    assert scores[0].valid.sum() >= 7


def test_terminators_are_masked_or_mapped(student, other):
    context = append()
    episode = conversation(student, context, cut=[3])
    masked, mapped = (
        cross(student, local(other), context, terminators=how).score([episode], ScoreRequest(hidden=True))[0][0]
        for how in ("mask", "map")
    )
    ends = [step.end - 1 for step in episode.steps[:3]]
    assert not masked.valid[ends].any() and mapped.valid[ends].all()
    both = masked.valid & mapped.valid
    assert np.array_equal(both, masked.valid) and masked.valid[episode.steps[3].end - 1]
    assert len(mapped.hidden.positions) == len(masked.hidden.positions) + 3
    # It is the teacher's own terminator that was scored.
    step = episode.steps[0]
    before = rendered(other, context, episode, 0) + step.response
    assert mapped.sampled_logprob[ends[0]] == pytest.approx(text_logprob(other, before, "<|im_end|>"), abs=1e-5)


def test_special_tokens_inside_a_response_have_no_score(student, other):
    context = append()
    tokens = student.tokenizer.encode("go to<act> desk 1", add_special_tokens=False)
    episode = conversation(student, context, [TURNS[0]], responses=[tokens])
    (scores,) = cross(student, local(other), context).score([episode], ScoreRequest())
    at = episode.steps[0].start + tokens.index(student.tokenizer.convert_tokens_to_ids("<act>"))
    assert not scores[0].valid[at] and scores[0].valid[at - 1] and scores[0].valid[at + 1]


def test_bytes_that_are_no_character_are_a_mismatch(student, other):
    context = append()
    broken = student.tokenizer.convert_tokens_to_ids("<0xFF>")
    words = student.tokenizer.encode("go to desk 1", add_special_tokens=False)
    episode = conversation(student, context, [TURNS[0]], responses=[[*words[:2], broken, *words[2:]]])
    teacher = cross(student, local(other), context)
    (scores,) = teacher.score([episode], ScoreRequest())
    start = episode.steps[0].start
    assert scores[0].valid[start : start + len(words) + 1].tolist() == [True, True, False, *[True] * (len(words) - 2)]
    assert teacher.metrics()["mismatch"] == pytest.approx(1 / (len(words) + 1))


def test_turns_somebody_else_played_stay_in_the_conversation(student, other):
    context = append()
    episode = conversation(student, context, guided=[1])
    teacher = cross(student, local(other), context)
    (scores,) = teacher.score([episode], ScoreRequest())
    assert "reads 1 rows where the student has 1" in teacher.check([episode])
    step = episode.steps[2]
    expected = text_logprob(other, rendered(other, context, episode, 2), step.response)
    got = scores[0].sampled_logprob[step.start : step.end - 1].astype(np.float64).sum()
    assert got == pytest.approx(expected, abs=1e-4)


def test_hidden_states_stand_where_spans_begin(student, other):
    context = append()
    episode = conversation(student, context)
    inner = local(other)
    (scores,) = cross(student, inner, context).score([episode], ScoreRequest(hidden=True))
    opinion = scores[0]
    begins = np.flatnonzero(opinion.valid & (opinion.span == 0))
    assert opinion.hidden.positions.tolist() == begins.tolist() and opinion.hidden.states.shape[1] == 96
    step = episode.steps[0]
    prompt = other.tokenizer.encode(rendered(other, context, episode, 0), add_special_tokens=False)
    with torch.no_grad():
        expected = other.model(torch.tensor([prompt])).logits[0, -1]
    torch.testing.assert_close(opinion.hidden[step.start] @ inner.output_weight().T, expected, rtol=1e-4, atol=1e-4)


def test_two_vocabularies_meet_in_their_bytes(student, other):
    teacher = cross(student, local(other), append())
    ids = teacher.student_ids()
    assert len(ids) == len(other.model.get_output_embeddings().weight)
    met = np.flatnonzero(ids >= 0)
    assert len(np.unique(ids[met])) == len(met) > 50
    for index in met:
        mine = teacher._crossing.student.vocabulary()[int(ids[index])]
        assert mine == teacher._crossing.teacher.vocabulary()[int(index)]
    assert ids[other.tokenizer.eos_token_id] == -1
    mapped = cross(student, local(other), append(), terminators="map").student_ids()
    assert mapped[other.tokenizer.eos_token_id] == student.tokenizer.eos_token_id


def test_what_cannot_cross_is_refused(student, other):
    context = append()
    teacher = cross(student, local(other), context)
    assert teacher.capabilities == {"sampled", "hidden"} and teacher.tokenizer is None
    episode = conversation(student, context)
    with pytest.raises(TrainingError, match="no top k, entropy or confidence"):
        teacher.score([episode], ScoreRequest(top_k=4))
    with pytest.raises(TrainingError, match="cannot be rendered again"):
        teacher.score([conversation(student, append(system="Be brief."))], ScoreRequest())
    part = dataclasses.replace(episode, steps=episode.steps[2:])
    with pytest.raises(TrainingError):
        teacher.score([part], ScoreRequest())


def test_too_many_tokens_without_a_span_stop_the_run(student):
    words, context = loaded(word_piece(), 2), append()
    teacher = cross(student, local(words), context, max_mismatch=0.01)
    with pytest.raises(TokenizationError, match="text tokens are in spans of the same bytes"):
        teacher.check([conversation(student, context)])


def test_the_check_says_how_much_is_aligned(student, other):
    context = append()
    teacher = cross(student, local(other), context)
    lines = teacher.check([conversation(student, context)])
    assert "100.0% of the text tokens" in lines[0] and "terminators: mask" in lines[0]
    assert not teacher.metrics()


def test_fingerprint_and_key_follow_what_scores_depend_on(student, other):
    context = append()
    episode = conversation(student, context)
    teacher = cross(student, local(other), context)
    assert teacher.fingerprint != cross(student, local(other), context, share="bytes").fingerprint
    assert teacher.fingerprint != cross(student, local(other), window()).fingerprint
    assert teacher.cache_key(episode) == teacher.cache_key(conversation(student, context))
    again = conversation(student, context)
    again.rows[0].old_logprob[-2] -= 1.0
    assert teacher.cache_key(episode) != teacher.cache_key(again)
    assert teacher.cacheable


def test_a_teacher_without_a_tokenizer_cannot_be_asked(student):
    registry, context = PluginRegistry.load(third_party=False), append()
    renderer = renderer_for(student.tokenizer, context)
    config = CrossConfig(teacher={"type": "expert"})
    with pytest.raises(ConfigError, match="shows no tokenizer"):
        cross_teacher(config, student, context=context, renderer=renderer, registry=registry)
    with pytest.raises(ConfigError, match="context policy"):
        cross_teacher(config, student, registry=registry)


def test_random_rows_of_no_conversation_are_refused(student, other):
    with pytest.raises(TrainingError, match="cannot be rendered again"):
        cross(student, local(other), append()).score([make_episode(vocab=100)], ScoreRequest())
