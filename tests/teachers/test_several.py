"""Several teachers in one: members are checked one by one, fail by name, and keep their own numbers and states."""

from __future__ import annotations

import numpy as np
import pytest
from made_episodes import make_episode, random_scores
from pydantic import ValidationError
from tiny import tiny_model, tiny_tokenizer

from agentdistill.errors import ConfigError, TeacherOutage, TokenizationError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginRegistry
from agentdistill.records import ScoreRequest
from agentdistill_teachers.mixture import MixtureConfig, MixtureTeacher, mixture_teacher
from agentdistill_teachers.route import RouteConfig, RouteTeacher, route_teacher


class Known:
    """A teacher with given scores, that remembers what happened to it."""

    needs: frozenset[str] = frozenset()
    tokenizer = None

    def __init__(self, seed: int = 0, capabilities=("sampled",), fingerprint: str = "known"):
        self.seed, self.capabilities, self.fingerprint = seed, frozenset(capabilities), fingerprint
        self.asked: list[list] = []
        self.steps: list[int] = []
        self.closed = False
        self.down = False

    def score(self, trajectories, request):
        if self.down:
            raise TeacherOutage("It is down.", "Nobody answers.", "Wait.")
        self.asked.append(list(trajectories))
        return random_scores(trajectories, self.seed)

    def metrics(self):
        return {"calls": float(len(self.asked))}

    def after_step(self, step):
        self.steps.append(step)

    def state_dict(self):
        return {"seed": self.seed}

    def load_state_dict(self, state):
        self.seed = state["seed"]

    def check(self, trajectories):
        return [f"seed {self.seed}"]

    def close(self):
        self.closed = True

    def policy(self):
        return f"model {self.seed}"


def two(**capabilities):
    return {"a": Known(1, **capabilities), "b": Known(2, **capabilities)}


def tables(*names: str) -> dict[str, dict[str, str]]:
    return {name: {"type": "any"} for name in names}


MADE = pytest.mark.parametrize(
    "make",
    [
        lambda members, **options: MixtureTeacher(MixtureConfig(members=tables(*members), **options), members),
        lambda members, **options: RouteTeacher(
            RouteConfig(members=tables(*members), default=next(iter(members)), **options), members
        ),
    ],
    ids=["mixture", "route"],
)


@MADE
def test_members_are_told_asked_and_restored_one_by_one(make):
    members = two()
    teacher = make(members)
    assert teacher.members == ("a", "b") and teacher.tokenizer is None
    assert teacher.check([]) == ["a: seed 1", "b: seed 2"]
    teacher.after_step(3)
    assert [m.steps for m in members.values()] == [[3], [3]]
    assert {k: v for k, v in teacher.metrics().items() if k.endswith("calls")} == {"a/calls": 0.0, "b/calls": 0.0}
    state = teacher.state_dict()
    again = make({"a": Known(8), "b": Known(9)})
    again.load_state_dict(state)
    assert [m.seed for m in again.teachers.values()] == [1, 2]
    teacher.close()
    assert all(m.closed for m in members.values())


@MADE
def test_capabilities_are_the_intersection_and_fingerprints_cover_everybody(make):
    unequal = {"a": Known(1, ("sampled", "top_k", "act")), "b": Known(2, ("sampled", "act"))}
    assert make(unequal).capabilities == {"sampled"}
    assert make(unequal, act="b").capabilities == {"sampled", "act"} and make(unequal, act="b").policy() == "model 2"
    with pytest.raises(ConfigError, match=r"teacher\.act"):
        make(unequal).policy()
    other = {"a": unequal["a"], "b": Known(2, fingerprint="other")}
    assert make(unequal).fingerprint != make(other).fingerprint
    swapped = dict(reversed(unequal.items()))
    assert make(unequal | {"b": Known(2)}).fingerprint != make(swapped | {"a": Known(1, fingerprint="x")}).fingerprint


@MADE
def test_an_outage_passes_through_and_names_the_member(make):
    members = two()
    members["a"].down = True
    with pytest.raises(TeacherOutage, match=r"`a`, one of several: It is down\. Nobody answers\. Wait\.") as caught:
        make(members).score([make_episode()], ScoreRequest())
    assert type(caught.value)(caught.value.what, caught.value.why, caught.value.do).what.startswith("The teacher `a`")


@MADE
def test_who_only_plays_may_only_play(make):
    members = {"a": Known(1), "api": Known(2, ("act",))}
    with pytest.raises(ConfigError, match='Let it play with act = "api"'):
        make(members)
    teacher = make(members, act="api")
    assert teacher.scorers == ("a",) and teacher.capabilities == {"sampled", "act"}
    scores = teacher.score([make_episode()], ScoreRequest())
    assert not members["api"].asked and set(np.unique(scores[0][0].source)) == {-1, 0}


def test_a_guide_is_there_only_where_the_player_has_one():
    class Guided(Known):
        def guide(self, context, renderer):
            return "guide"

    members = {"a": Known(1), "api": Guided(2, ("act",))}
    config = RouteConfig(members=tables("a", "api"), default="a", act="api")
    assert RouteTeacher(config, members).guide(None, None) == "guide"
    assert not hasattr(RouteTeacher(RouteConfig(members=tables("a", "b"), default="a"), two()), "guide")


def test_built_members_are_told_apart_by_their_paths_and_tokenizers(tmp_path):
    tokenizer = tiny_tokenizer()
    student = LoadedModel(tiny_model(0, hidden=32), tokenizer, "student", None, "f")
    for name, seed in (("one", 1), ("two", 2)):
        tiny_model(seed, hidden=32).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    registry = PluginRegistry.load()
    local = {"type": "local", "model": str(tmp_path / "one")}
    members = {"one": local, "two": {"type": "local", "model": str(tmp_path / "two")}}
    for make, config in ((mixture_teacher, MixtureConfig), (route_teacher, RouteConfig)):
        extra = {} if config is MixtureConfig else {"default": "two"}
        teacher = make(config(members=members, **extra), student, registry=registry)
        assert "hidden" in teacher.capabilities and teacher.fingerprint == teacher.fingerprint
        with pytest.raises(ConfigError, match=r"\[teacher\.members\.one\] modle: unknown key"):
            wrong = {**members, "one": {"type": "local", "modle": "x"}}
            make(config(members=wrong, **extra), student, registry=registry)
    file = tmp_path / "two" / "tokenizer.json"
    file.write_text(file.read_text().replace('"a":', '"a!":', 1))
    with pytest.raises(TokenizationError, match="The teacher `two`, one of several"):
        mixture_teacher(MixtureConfig(members=members), student, registry=registry)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"members": {}}, "at least 1"),
        ({"members": {"a b": {"type": "local"}}}, "metrics are named after members"),
        ({"members": {"a": {}}, "weights": {"b": 1.0}}, "positive weight of one of"),
        ({"members": {"a": {}}, "weights": {"a": 0.0}}, "positive weight"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MixtureConfig(**options)


def test_names_of_nobody_are_refused():
    for options in ({"default": "c"}, {"default": "a", "fill": "c"}, {"rules": [{"teacher": "c"}]}, {"act": "c"}):
        with pytest.raises(ValidationError, match="names the teacher `c`; the members are `a`, `b`"):
            RouteConfig(members=tables("a", "b"), **{"default": "a", **options})
    with pytest.raises(ValidationError, match="routes nothing"):
        RouteConfig(members=tables("a"))
    with pytest.raises(ConfigError, match=r"`teacher\.fill` names the teacher `b`.*Those that score are `a`"):
        silent = Known()
        silent.capabilities = frozenset({"act"})
        RouteTeacher(RouteConfig(members=tables("a", "b"), default="a", fill="b", act="b"), {"a": Known(), "b": silent})
