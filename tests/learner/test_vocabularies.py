"""One step of the learner under a teacher with another tokenizer; the plain step where the tokenizers are one."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from made_conversations import TURNS, append, conversation, loaded, spelled, window
from made_episodes import gradients
from made_tokenizers import CHATML, byte_level, word_level, wrapped
from tokenizers import Tokenizer

from agentdistill.conversation.template import renderer_for
from agentdistill.errors import ConfigError, TrainingError
from agentdistill.learner.batch import assemble
from agentdistill.learner.learner import Learner
from agentdistill.learner.settings import LearnerSettings
from agentdistill.models import LoadedModel
from agentdistill.records import ScoreRequest
from agentdistill.teachers.crossed import CrossTeacher
from agentdistill_losses.gold import GoldConfig, GoldLoss
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_losses.uld import UldConfig, UldLoss
from agentdistill_teachers.local import LocalConfig, LocalTeacher

LOSSES = {
    "sampled": lambda: OpdLoss(OpdConfig()),
    "k2": lambda: OpdLoss(OpdConfig(gradient="direct", estimator="k2")),
    "uld": lambda: UldLoss(UldConfig()),
    "gold": lambda: GoldLoss(GoldConfig()),
}
PLAIN = {
    "sampled": LOSSES["sampled"],
    "k2": LOSSES["k2"],
    "uld": lambda: OpdLoss(OpdConfig(divergence="uld", support="full")),
    "gold": lambda: OpdLoss(OpdConfig(divergence="jsd", beta=0.5, support="full")),
}
EVERY = pytest.mark.parametrize("name", LOSSES)


def teacher_of(model: LoadedModel, **options) -> LocalTeacher:
    return LocalTeacher(LocalConfig(model="tiny", **options), model)


def crossed(student: LoadedModel, inner, context, **options) -> CrossTeacher:
    renderer = renderer_for(student.tokenizer, context)
    return CrossTeacher(inner, student, context=context, renderer=renderer, **options)


def learner_of(student: LoadedModel, loss, teacher, **settings) -> Learner:
    fresh = copy.deepcopy(student.model)
    ids = teacher.student_ids() if hasattr(teacher, "student_ids") and loss.request.hidden else None
    weight = teacher.output_weight() if loss.request.hidden else None
    options = LearnerSettings(grad_clip=0.0, **settings)
    return Learner(fresh, loss=loss, settings=options, teacher_weight=weight, teacher_ids=ids)


def step(student: LoadedModel, loss, teacher, episodes, **settings) -> tuple[float, torch.Tensor]:
    learner = learner_of(student, loss, teacher, **settings)
    metrics = learner.accumulate(episodes, teacher.score(episodes, loss.request))
    return metrics["loss"], gradients(learner.parts.model)


@EVERY
@pytest.mark.parametrize("policy", [append, window])
def test_one_tokenizer_gives_the_bits_of_the_plain_path(name, policy):
    student, inner, context = loaded(byte_level(), 1), teacher_of(loaded(byte_level(), 2)), policy()
    unusual = spelled(student.tokenizer, "go to desk 1")
    episodes = [conversation(student, context), conversation(student, context, responses=[unusual], cut=[1])]
    through = step(student, LOSSES[name](), crossed(student, inner, context), episodes)
    plain = step(student, LOSSES[name](), inner, episodes)
    established = step(student, PLAIN[name](), inner, episodes)
    for other in (plain, established):
        assert through[0] == other[0] and torch.equal(through[1], other[1])


@pytest.mark.parametrize("name", ["sampled", "k2"])
def test_aligned_all_the_same_sampled_losses_keep_their_bits(name):
    student, inner, context = loaded(byte_level(), 1), teacher_of(loaded(byte_level(), 2)), append()
    episodes = [conversation(student, context)]
    aligned = crossed(student, inner, context, always=True, terminators="map")
    a, b = step(student, LOSSES[name](), aligned, episodes), step(student, LOSSES[name](), inner, episodes)
    assert a[0] == b[0] and torch.equal(a[1], b[1])


@pytest.mark.parametrize("name", ["uld", "gold"])
def test_aligned_all_the_same_distances_are_near_the_plain_ones(name):
    """Spans of one token each; what is left is the order in which a chunk is computed, and special tokens apart."""
    student, inner, context = loaded(byte_level(), 1), teacher_of(loaded(byte_level(), 2)), append()
    episodes = [conversation(student, context)]
    aligned = crossed(student, inner, context, always=True, terminators="map")
    a, b = step(student, LOSSES[name](), aligned, episodes), step(student, LOSSES[name](), inner, episodes)
    if name == "uld":
        assert a[0] == pytest.approx(b[0], rel=1e-6)
        torch.testing.assert_close(a[1], b[1], rtol=1e-3, atol=1e-6)
    else:
        assert a[0] == pytest.approx(b[0], rel=0.15)  # GOLD weighs by the share of matched tokens, padding is none


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["uld", "gold"])
@pytest.mark.parametrize("chunk", [2, 64])
def test_a_step_between_two_vocabularies_is_the_naive_sum(name, chunk):
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2, hidden=96), append()
    episode = conversation(student, context, TURNS, responses=[spelled(student.tokenizer, "go to desk 1")])
    teacher = crossed(student, teacher_of(other), context)
    loss = LOSSES[name]()
    scores = teacher.score([episode], loss.request)
    learner = learner_of(student, loss, teacher, head_chunk=chunk)
    got = learner.accumulate([episode], scores)["loss"]
    grad = gradients(learner.parts.model)

    model = copy.deepcopy(student.model)
    row, opinion = episode.rows[0], scores[0][0]
    logits = model(torch.as_tensor(row.token_ids[None].astype("int64"))).logits[0]
    distance, total = loss.objective.distance, torch.zeros(())
    ids = torch.as_tensor(teacher.student_ids())
    places = np.flatnonzero(opinion.valid)
    for begin in places[opinion.span[places] == 0]:
        q, at = logits[begin - 1].log_softmax(-1), begin + 1
        while at < len(row) and opinion.valid[at] and opinion.span[at] == at - begin:
            q = q + logits[at - 1].log_softmax(-1)[int(row.token_ids[at])]
            at += 1
        p = (opinion.hidden[int(begin)] @ teacher.output_weight().T).log_softmax(-1) + float(opinion.rest[begin])
        total = total + distance(q[None], p[None], ids)[0]
    total = total / len(places)
    total.backward()
    assert got == pytest.approx(float(total.detach()), rel=1e-5)
    assert int(opinion.span.max()) > 0  # some spans have several tokens of the student
    torch.testing.assert_close(grad, gradients(model), rtol=2e-3, atol=2e-6)


@EVERY
def test_a_student_learns_from_a_teacher_of_another_family(name):
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2), append()
    episodes = [conversation(student, context, TURNS[:2])]
    teacher, loss = crossed(student, teacher_of(other), context), LOSSES[name]()
    scores = teacher.score(episodes, loss.request)
    learner = learner_of(student, loss, teacher, lr=3e-3, steps=40)
    values = [learner.step(episodes, scores)["loss"] for _ in range(20)]
    assert np.isfinite(values).all() and values[-1] < values[0]


def test_uld_goes_with_the_sampled_tokens():
    """What the distance cannot teach, content, the sampled tokens do; both cross."""
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2), append()
    episodes = [conversation(student, context)]
    teacher = crossed(student, teacher_of(other), context)
    both = step(student, UldLoss(UldConfig(sampled=5.0)), teacher, episodes)
    distance, sampled = (step(student, LOSSES[name](), teacher, episodes) for name in ("uld", "sampled"))
    assert both[0] == pytest.approx(distance[0] + 5.0 * sampled[0], rel=1e-5)
    torch.testing.assert_close(both[1], distance[1] + 5.0 * sampled[1], rtol=1e-3, atol=1e-6)


def test_dead_tokens_are_counted_and_spans_are_whole():
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2), append()
    broken = student.tokenizer.convert_tokens_to_ids("<0xFF>")
    words = student.tokenizer.encode("go to desk 1", add_special_tokens=False)
    episode = conversation(student, context, TURNS[:2], responses=[[*words[:2], broken, *words[2:]]])
    scores = crossed(student, teacher_of(other), context).score([episode], ScoreRequest(hidden=True))
    batch = assemble([episode], scores, hidden=True)
    assert batch.counts["tokens/dead"] == 3  # the byte and two terminators
    tokens = batch.tokens
    later = tokens.span > 0
    assert bool((tokens.teacher_rest[later] == 0).all())
    assert bool((tokens.span[1:] <= tokens.span[:-1] + 1).all())


def test_a_divergence_by_ids_is_refused():
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2), append()
    teacher = crossed(student, teacher_of(other), context)
    with pytest.raises(ConfigError, match="a vocabulary of its own"):
        learner_of(student, PLAIN["gold"](), teacher)


def test_a_larger_vocabulary_on_either_side_is_kept_whole():
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2), append()
    assert len(student.tokenizer) != len(other.tokenizer)
    for mine, theirs in ((student, other), (other, student)):
        teacher = crossed(mine, teacher_of(theirs), context)
        learner = learner_of(mine, LOSSES["uld"](), teacher)
        assert learner.vocabulary == len(learner.parts.weight)
        assert learner.teacher_weight is not None and len(learner.teacher_weight) == len(teacher.output_weight())


def test_kept_spans_without_a_vocabulary_are_refused():
    student, other, context = loaded(word_level(), 1), loaded(byte_level(), 2), append()
    teacher, episode = crossed(student, teacher_of(other), context), conversation(student, context)
    learner = Learner(
        copy.deepcopy(student.model),
        loss=LOSSES["uld"](),
        settings=LearnerSettings(),
        teacher_weight=teacher.output_weight(),
    )
    with pytest.raises(TrainingError, match="what its vocabulary is to the student"):
        learner.accumulate([episode], teacher.score([episode], ScoreRequest(hidden=True)))


def shuffled(model: LoadedModel) -> LoadedModel:
    """The same model under other token ids: nothing that it says of texts changes."""
    order = np.random.default_rng(0).permutation(len(model.tokenizer))
    rules = json.loads(model.tokenizer.backend_tokenizer.to_str())
    rules["model"]["vocab"] = {token: int(order[i]) for token, i in rules["model"]["vocab"].items()}
    for token in rules["added_tokens"]:
        token["id"] = int(order[token["id"]])
    tokenizer = wrapped(Tokenizer.from_str(json.dumps(rules)), "<|im_end|>", "<|endoftext|>", CHATML)
    other = copy.deepcopy(model.model)
    rows = other.get_input_embeddings().weight
    with torch.no_grad():
        rows[torch.from_numpy(order)] = rows[: len(order)].clone()
    return LoadedModel(other, tokenizer, "shuffled", None, "shuffled")


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["sampled", "k2", "uld"])
def test_a_teacher_under_other_ids_teaches_the_same(name):
    """Everything of the way between two vocabularies is used, and the answer is known: that of the plain path."""
    student, model, context = loaded(byte_level(), 1), loaded(byte_level(), 2), append()
    other = shuffled(model)
    episodes = [conversation(student, context)]
    teacher = crossed(student, teacher_of(other), context, terminators="map")
    assert not teacher.plain and teacher.difference
    a = step(student, LOSSES[name](), teacher, episodes)
    b = step(student, LOSSES[name](), teacher_of(model), episodes)
    assert a[0] == pytest.approx(b[0], rel=1e-5)
    torch.testing.assert_close(a[1], b[1], rtol=2e-3, atol=2e-5)
    ids = teacher.student_ids()
    met = np.flatnonzero(ids >= 0)
    for index in met[:50]:
        mine = student.tokenizer.convert_ids_to_tokens(int(ids[index]))
        assert mine == other.tokenizer.convert_ids_to_tokens(int(index))
